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
  for (const char* name : {"a.tmp.123.0", "a.tmp.77.15", "b.tmp.123.0", "a.tmp.mine", "a.tmp.1x.2", "a.tmp.3"}) {
    save(path(name), "left");
  }
  const int held = ::open(path("a.tmp.77.15").c_str(), O_RDONLY);
  ASSERT_EQ(::flock(held, LOCK_EX), 0);
  EXPECT_TRUE(write(path("a"), "new").ok());
  EXPECT_FALSE(fs::exists(path("a.tmp.123.0")));
  for (const char* name : {"a.tmp.77.15", "b.tmp.123.0", "a.tmp.mine", "a.tmp.1x.2", "a.tmp.3"}) {
    EXPECT_TRUE(fs::exists(path(name))) << name;
  }
  ::close(held);
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
