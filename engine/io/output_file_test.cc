// Against the operating system: what lies in the folder afterwards.
#include "rowmax/engine/output_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace rowmax::engine {
namespace {

namespace fs = std::filesystem;

class Output : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "rowmax_output_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  static void save(const std::string& path, const std::string& text) { std::ofstream(path) << text; }
  static std::string content(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::size_t count() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  static Status write(const std::string& path, const std::string& text, const OutputOptions& options = {}) {
    auto file = OutputFile::create(path, options);
    if (!file.ok()) return file.error();
    const Status status = file->append(std::as_bytes(std::span(text)));
    return status.ok() ? file->commit() : status;
  }
  static void refused(const std::string& path, const OutputOptions& options, const std::string& says) {
    for (const Status& status : {check_output(path, options), write(path, "new", options)}) {
      ASSERT_FALSE(status.ok()) << path;
      EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
      EXPECT_NE(status.error().message.find(says), std::string::npos) << status.error().message;
    }
  }

  fs::path folder_;
};

const OutputOptions kForce{.overwrite = true, .inputs = {}};

TEST_F(Output, AppearsWholeOrNotAtAll) {
  {
    auto file = OutputFile::create(path("a"), {});
    ASSERT_TRUE(file.ok());
    EXPECT_FALSE(fs::exists(path("a")));
    EXPECT_TRUE(fs::exists(file->temporary()));
  }
  EXPECT_EQ(count(), 0u);
  EXPECT_TRUE(write(path("a"), "one").ok());
  EXPECT_EQ(content(path("a")), "one");
  EXPECT_EQ(count(), 1u);
}

TEST_F(Output, ExistingFilesWithForceAloneAndTheyKeepTheirMode) {
  save(path("a"), "old");
  ::chmod(path("a").c_str(), 0600);
  refused(path("a"), {}, "--force");
  EXPECT_EQ(content(path("a")), "old");
  EXPECT_TRUE(write(path("a"), "new", kForce).ok());
  EXPECT_EQ(content(path("a")), "new");
  struct stat found = {};
  ASSERT_EQ(::stat(path("a").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600u);
}

TEST_F(Output, AFileThatCameMeanwhileStays) {
  auto file = OutputFile::create(path("a"), {});
  ASSERT_TRUE(file.ok());
  save(path("a"), "theirs");
  EXPECT_FALSE(file->commit().ok());
  EXPECT_EQ(content(path("a")), "theirs");
}

TEST_F(Output, NoInputUnderAnyName) {
  save(path("in"), "weights");
  fs::create_hard_link(path("in"), path("hard"));
  fs::create_symlink("in", path("soft"));
  for (const std::string name : {"in", "hard", "soft"}) {
    refused(path(name), {.overwrite = true, .inputs = {path("in")}}, "the output is the input");
  }
  EXPECT_EQ(content(path("in")), "weights");
  EXPECT_EQ(count(), 3u);
}

TEST_F(Output, NothingButFiles) {
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  fs::create_symlink("nowhere", path("dangling"));
  fs::create_symlink("/dev/null", path("null"));
  refused(path("fifo"), kForce, "device, pipe");
  refused(path("null"), kForce, "device, pipe");
  refused("/dev/null", kForce, "device, pipe");
  refused(path("dangling"), kForce, "leads nowhere");
  refused(folder_.string(), kForce, "a folder");
  refused("-", kForce, "standard output");
  refused("", kForce, "file name");
  EXPECT_EQ(count(), 3u);
}

TEST_F(Output, ALinkStandsForItsFile) {
  fs::create_directory(path("there"));
  save(path("there/file"), "old");
  fs::create_symlink("there/file", path("link"));
  refused(path("link"), {}, "--force");
  EXPECT_TRUE(write(path("link"), "new", kForce).ok());
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_EQ(content(path("there/file")), "new");
}

TEST_F(Output, LeftoversOfTheSameFileGoWhereNobodyHoldsThem) {
  const auto mark = [&](const std::string& name) {
    auto file = OutputFile::create(path(name), {});
    const std::string temporary = fs::path(file->temporary()).filename();
    return temporary.substr(0, temporary.rfind('-', temporary.rfind('-') - 1));
  };
  const std::string a = mark("a"), b = mark("b"), left = a + "-123-0.tmp", locked = a + "-77-15.tmp";
  // Whatever a person may call a file.
  const std::vector<std::string> others = {b + "-123-0.tmp",
                                           a + "-1x-2.tmp",
                                           a + "-3.tmp",
                                           a + "-1-1",
                                           a + "-1-1.tmp.mine",
                                           a + "--.tmp",
                                           a + ".tmp",
                                           a,
                                           "a.tmp.1.1",
                                           "a.tmp",
                                           "a.rowmax-0123456789abcdef-1-1.tmp"};
  for (const std::string& name : {left, locked}) save(path(name), "left");
  for (const std::string& name : others) save(path(name), "left");
  const int held = ::open(path(locked).c_str(), O_RDONLY);
  ASSERT_EQ(::flock(held, LOCK_EX), 0);
  EXPECT_TRUE(write(path("a"), "new").ok());
  EXPECT_FALSE(fs::exists(path(left)));
  EXPECT_TRUE(fs::exists(path(locked)));
  for (const std::string& name : others) EXPECT_TRUE(fs::exists(path(name))) << name;
  ::close(held);
}

TEST_F(Output, ANameMayBeAsLongAsTheFileSystemAllows) {
  std::string umlauts;
  for (int i = 0; i < 127; ++i) umlauts += "\xC3\xBC";  // cut inside none of them
  for (const std::string& name : {std::string(255, 'a'), std::string(250, 'b'), "x" + umlauts, umlauts}) {
    {
      auto file = OutputFile::create(path(name), {});
      ASSERT_TRUE(file.ok()) << file.error().message;
      const std::string temporary = fs::path(file->temporary()).filename();
      EXPECT_LE(temporary.size(), 120u);
      EXPECT_TRUE(name.starts_with(temporary.substr(0, temporary.find(".rowmax-"))));
      const auto lead = static_cast<unsigned char>(temporary[temporary.find(".rowmax-") - 1]);
      EXPECT_TRUE(lead < 0x80 || (lead & 0xC0) == 0x80) << "the end of a character";
    }
    EXPECT_TRUE(write(path(name), "new").ok());
    EXPECT_EQ(content(path(name)), "new");
  }
  // Names that begin alike have leftovers of their own.
  const std::string one = path(std::string(200, 'c') + "1"), other = path(std::string(200, 'c') + "2");
  const std::string left = OutputFile::create(one, {})->temporary();
  save(left, "left");
  EXPECT_TRUE(write(other, "new").ok());
  EXPECT_TRUE(fs::exists(left));
  EXPECT_TRUE(write(one, "new").ok());
  EXPECT_FALSE(fs::exists(left));
}

TEST_F(Output, SeveralGetTheirNamesOrNone) {
  // One name twice: that it is taken is found when the others have theirs already.
  auto first = OutputFile::create(path("a"), {});
  auto second = OutputFile::create(path("b"), {});
  auto third = OutputFile::create(path("a"), {});
  ASSERT_TRUE(first.ok() && second.ok() && third.ok());
  std::vector<OutputFile*> files = {&*first, &*second, &*third};
  const Status status = OutputFile::commit_all(files);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message.find(path("a")), std::string::npos) << status.error().message;
  for (const char* name : {"a", "b"}) EXPECT_FALSE(fs::exists(path(name))) << name;
}

TEST_F(Output, AFolderThatIsRemovedIsSaidOfTheOutput) {
  fs::create_directory(path("d"));
  auto file = OutputFile::create(path("d/a"), {});
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(file->check_there().ok());
  fs::remove_all(path("d"));
  for (const Status& status : {file->check_there(), file->commit()}) {
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, ErrorCode::kIo);
    EXPECT_TRUE(status.error().message.starts_with(path("d/a") + ": ")) << status.error().message;
    EXPECT_NE(status.error().message.find("its folder"), std::string::npos) << status.error().message;
  }
  // Another file at the temporary name is not ours.
  auto replaced = OutputFile::create(path("b"), {});
  fs::remove(replaced->temporary());
  save(replaced->temporary(), "theirs");
  EXPECT_FALSE(replaced->commit().ok());
  EXPECT_FALSE(fs::exists(path("b")));
}

TEST_F(Output, TwoAtATimeLeaveEachOtherAlone) {
  auto first = OutputFile::create(path("a"), kForce);
  auto second = OutputFile::create(path("a"), kForce);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_TRUE(fs::exists(first->temporary()));
  EXPECT_TRUE(first->commit().ok());
  EXPECT_TRUE(second->commit().ok());
}

TEST_F(Output, UnfinishedOnesCanBeRemovedAtAnyTime) {
  save(path("done"), "");
  auto a = OutputFile::create(path("a"), {});
  auto b = OutputFile::create(path("b"), {});
  auto done = OutputFile::create(path("done"), kForce);
  ASSERT_TRUE(a.ok() && b.ok() && done.ok() && done->commit().ok());
  EXPECT_EQ(count(), 3u);
  remove_unfinished_outputs();
  EXPECT_EQ(count(), 1u);
  EXPECT_FALSE(a->commit().ok());
  EXPECT_FALSE(fs::exists(path("a")));
}

}  // namespace
}  // namespace rowmax::engine
