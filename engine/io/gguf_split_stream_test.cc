// A model written over several files: names, keys, sizes, and that all of them appear or none.
#include "engine/io/gguf_split_stream.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace rowmax::engine {
namespace {

namespace fs = std::filesystem;

class GgufSplitStreamTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "rowmax_parts_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    keys_.set_string("general.architecture", "llama");
    keys_.set_string("text", std::string(300, 'x'));
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::size_t n_files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  // Tensors of 400, 400, 400 and 4000 bytes; 416 and 4000 with padding.
  static std::vector<GgufTensorPlan> plans() {
    return {{"a", 0, {100}, 400}, {"b", 0, {100}, 400}, {"c", 0, {100}, 400}, {"d", 0, {1000}, 4000}};
  }
  Result<GgufSplitStream> create(std::uint64_t max, bool overwrite = false) const {
    return GgufSplitStream::create(path("m.gguf"), keys_, plans(), max, {.overwrite = overwrite, .inputs = {}});
  }
  static void fill(GgufSplitStream& stream) {
    std::byte value{1};
    for (const GgufTensorPlan& plan : plans()) {
      ASSERT_TRUE(stream.append(std::vector<std::byte>(plan.n_bytes, value)).ok());
      value = std::byte(static_cast<unsigned char>(value) + 1);
    }
  }
  fs::path folder_;
  GgufWriter keys_;
};

TEST_F(GgufSplitStreamTest, PartsOfTheSizeWithTheKeysOfGgufSplit) {
  auto stream = create(1100);
  ASSERT_TRUE(stream.ok()) << stream.error().message;
  ASSERT_EQ(stream->paths(), (std::vector<std::string>{path("m-00001-of-00003.gguf"), path("m-00002-of-00003.gguf"),
                                                       path("m-00003-of-00003.gguf")}));
  EXPECT_EQ(stream->n_larger(), 1u);  // d
  fill(*stream);
  for (const std::string& part : stream->paths()) EXPECT_FALSE(fs::exists(part));
  ASSERT_TRUE(stream->commit().ok());
  EXPECT_EQ(n_files(), 3u);
  EXPECT_LE(fs::file_size(path("m-00001-of-00003.gguf")), 1100u);
  EXPECT_LE(fs::file_size(path("m-00002-of-00003.gguf")), 1100u);

  std::uint64_t no = 0;
  const std::size_t n_keys[] = {5, 3, 3}, n_tensors[] = {1, 2, 1};
  for (const std::string& part : stream->paths()) {
    std::ifstream in(part, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const auto file = GgufFile::parse(std::as_bytes(std::span(text)), part);
    ASSERT_TRUE(file.ok()) << file.error().message;
    EXPECT_EQ(file->metadata().size(), n_keys[no]);
    EXPECT_EQ(file->tensors().size(), n_tensors[no]);
    EXPECT_EQ(*file->get_uint("split.no"), no++);
    EXPECT_EQ(file->find("split.no")->type, GgufType::kU16);
    EXPECT_EQ(file->find("split.count")->type, GgufType::kU16);
    EXPECT_EQ(*file->get_uint("split.count"), 3u);
    EXPECT_EQ(file->find("split.tensors.count")->type, GgufType::kI32);
    EXPECT_EQ(*file->get_uint("split.tensors.count"), 4u);
  }
  const auto whole = GgufFile::open(stream->paths()[1]);
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  ASSERT_EQ(whole->tensors().size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(whole->tensors()[i].name, std::string(1, static_cast<char>('a' + i)));
    EXPECT_EQ(whole->tensors()[i].data.back(), std::byte(static_cast<unsigned char>(i + 1)));
  }
}

// Neither a byte more than it may be nor a part more than it needs.
TEST_F(GgufSplitStreamTest, TheSizeIsThatOfTheFile) {
  auto stream = create(std::uint64_t{1} << 30);
  ASSERT_TRUE(stream.ok());
  ASSERT_EQ(stream->paths(), std::vector<std::string>{path("m-00001-of-00001.gguf")});
  fill(*stream);
  ASSERT_TRUE(stream->commit().ok());
  const std::uint64_t size = fs::file_size(stream->paths()[0]);
  EXPECT_TRUE(GgufFile::open(stream->paths()[0]).ok());
  // The head is counted to its padding.
  EXPECT_EQ(create(size + 32, true)->paths().size(), 1u);
  EXPECT_EQ(create(size - 1, true)->paths().size(), 2u);
  EXPECT_EQ(create(1, true)->paths().size(), 4u);
}

TEST_F(GgufSplitStreamTest, AllAppearOrNone) {
  {
    auto stream = create(1100);
    ASSERT_TRUE(stream.ok());
    fill(*stream);
    std::ofstream(path("m-00002-of-00003.gguf")) << "came meanwhile";
    const Status status = stream->commit();
    ASSERT_FALSE(status.ok());
    EXPECT_NE(status.error().message.find("--force"), std::string::npos) << status.error().message;
  }
  EXPECT_EQ(n_files(), 1u);
  const auto there = create(1100);
  ASSERT_FALSE(there.ok());
  EXPECT_NE(there.error().message.find("m-00002-of-00003.gguf"), std::string::npos) << there.error().message;
  EXPECT_EQ(n_files(), 1u);
  {
    auto stream = create(1100, true);
    ASSERT_TRUE(stream.ok());
    fill(*stream);
    // Found before any part has its name. (Found later: OutputFile's test.)
    fs::remove(stream->temporaries()[0]);
    EXPECT_FALSE(stream->check_there().ok());
    EXPECT_FALSE(stream->commit().ok());
  }
  EXPECT_EQ(n_files(), 1u);
  EXPECT_EQ(fs::file_size(path("m-00002-of-00003.gguf")), 14u);  // as it was
}

TEST_F(GgufSplitStreamTest, PartsOfAnotherCountAreRefusedOrRemoved) {
  const auto write = [&](std::uint64_t max, bool overwrite) {
    auto stream = create(max, overwrite);
    if (!stream.ok()) return Status(stream.error());
    fill(*stream);
    return stream->commit();
  };
  ASSERT_TRUE(write(1, false).ok());  // 4 parts
  const auto refused = write(1100, false);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  for (const char* said : {"m-00001-of-00004.gguf", "3 more", "--force"}) {
    EXPECT_NE(refused.error().message.find(said), std::string::npos) << refused.error().message;
  }
  EXPECT_EQ(n_files(), 4u);
  // As the input they stay, whatever is asked for.
  const auto input = GgufSplitStream::create(path("m.gguf"), keys_, plans(), 1100,
                                             {.overwrite = true, .inputs = {path("m-00003-of-00004.gguf")}});
  ASSERT_FALSE(input.ok());
  EXPECT_NE(input.error().message.find("m-00003-of-00004.gguf"), std::string::npos) << input.error().message;
  EXPECT_EQ(n_files(), 4u);

  // What looks like one and is none: other names, other contents, a link.
  std::ofstream(path("m-00001-of-00009.gguf")) << "mine";
  fs::copy_file(path("m-00002-of-00004.gguf"), path("m-00002-of-00007.gguf"));  // says 2 of 4
  fs::copy_file(path("m-00002-of-00004.gguf"), path("n-00002-of-00004.gguf"));
  fs::copy_file(path("m-00002-of-00004.gguf"), path("m-x-00002-of-00004.gguf"));
  fs::copy_file(path("m-00002-of-00004.gguf"), path("m-00002-of-00004.gguf.old"));
  fs::copy_file(path("m-00001-of-00004.gguf"), path("m-00003-of-00004.gguf"), fs::copy_options::overwrite_existing);
  fs::rename(path("m-00004-of-00004.gguf"), path("moved"));
  fs::create_symlink("moved", path("m-00004-of-00004.gguf"));
  auto stream = create(1100, true);
  ASSERT_TRUE(stream.ok()) << stream.error().message;
  fill(*stream);
  EXPECT_TRUE(fs::exists(path("m-00001-of-00004.gguf")));  // until the new ones are complete
  ASSERT_TRUE(stream->commit().ok());
  EXPECT_EQ(n_files(), 8u + 3u);
  EXPECT_EQ(stream->removed(),
            (std::vector<std::string>{path("m-00001-of-00004.gguf"), path("m-00002-of-00004.gguf")}));
  EXPECT_EQ(stream->kept(), (std::vector<std::string>{path("m-00001-of-00009.gguf"), path("m-00002-of-00007.gguf"),
                                                      path("m-00003-of-00004.gguf"), path("m-00004-of-00004.gguf")}));
  EXPECT_TRUE(GgufFile::open(stream->paths()[0]).ok());
}

TEST_F(GgufSplitStreamTest, ANameOfAPartIsRefused) {
  EXPECT_FALSE(check_split_prefix("d/x-00001-of-00002.gguf").ok());
  EXPECT_FALSE(check_split_prefix("x-12345-of-99999").ok());
  for (const char* good : {"x.gguf", "x", "x-0001-of-00002.gguf", "x-00001-of-0000a.gguf", "x-00001-of-00002.bin"}) {
    EXPECT_TRUE(check_split_prefix(good).ok()) << good;
  }
  const auto stream = GgufSplitStream::create(path("x-00001-of-00002.gguf"), keys_, plans(), 1000, {});
  EXPECT_FALSE(stream.ok());
}

}  // namespace
}  // namespace rowmax::engine
