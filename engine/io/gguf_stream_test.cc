#include "engine/io/gguf_stream.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace rowmax::engine {
namespace {

namespace fs = std::filesystem;

class GgufStreamTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "rowmax_stream_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  static std::string content(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  fs::path folder_;
};

// Every key with its type and every tensor of a file that PyPI's gguf wrote, written again: the same bytes.
TEST_F(GgufStreamTest, AForeignFileComesOutAsItWas) {
  const std::string source = ROWMAX_SOURCE_DIR "/engine/io/testdata/by_gguf_py.gguf";
  const auto file = GgufFile::open(source);
  ASSERT_TRUE(file.ok()) << file.error().message;
  GgufWriter keys;
  for (const auto& [key, value] : file->metadata()) keys.set_value(std::string(key), value);
  std::vector<GgufTensorPlan> plans;
  for (const GgufTensor& tensor : file->tensors()) {
    plans.push_back({std::string(tensor.name), tensor.type, tensor.shape, tensor.data.size()});
  }
  const std::string path = (folder_ / "copy.gguf").string();
  auto stream = GgufStream::create(path, keys, plans);
  ASSERT_TRUE(stream.ok()) << stream.error().message;
  for (const GgufTensor& tensor : file->tensors()) {
    // In two pieces.
    const std::size_t half = tensor.data.size() / 2;
    ASSERT_TRUE(stream->append(tensor.data.first(half)).ok());
    EXPECT_FALSE(fs::exists(path));
    ASSERT_TRUE(stream->append(tensor.data.subspan(half)).ok());
  }
  ASSERT_TRUE(stream->commit().ok());
  EXPECT_EQ(content(path), content(source));
}

TEST_F(GgufStreamTest, PiecesMustBeThoseOfTheTensors) {
  const std::vector<std::byte> bytes(16);
  const std::string path = (folder_ / "m.gguf").string();
  {
    auto stream = GgufStream::create(path, GgufWriter(), {{"a", 0, {2}, 8}, {"b", 0, {1}, 4}});
    ASSERT_TRUE(stream.ok()) << stream.error().message;
    ASSERT_TRUE(stream->append(std::span(bytes).first(4)).ok());
    EXPECT_FALSE(stream->append(std::span(bytes).first(5)).ok());
    ASSERT_TRUE(stream->append(std::span(bytes).first(4)).ok());
    const Status early = stream->commit();
    ASSERT_FALSE(early.ok());
    EXPECT_NE(early.error().message.find("'b' is not complete"), std::string::npos) << early.error().message;
    ASSERT_TRUE(stream->append(std::span(bytes).first(4)).ok());
    EXPECT_FALSE(stream->append(std::span(bytes).first(1)).ok());
  }
  EXPECT_TRUE(fs::is_empty(folder_));  // never committed
  EXPECT_FALSE(GgufStream::create(path, GgufWriter(), {{"a", 0, {2}, 7}}).ok());
  EXPECT_FALSE(GgufStream::create(path, GgufWriter(), {{"a", 0, {2}, 8}, {"a", 0, {2}, 8}}).ok());
}

TEST_F(GgufStreamTest, RemovedKeysAreGone) {
  GgufWriter keys;
  keys.set_uint32("a", 1);
  keys.set_uint32("b", 2);
  keys.remove("a");
  keys.remove("c");
  keys.set_uint32("a", 3);
  const auto bytes = keys.bytes();
  ASSERT_TRUE(bytes.ok()) << bytes.error().message;
  const auto file = GgufFile::parse(*bytes, "m");
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->metadata().size(), 2u);
  EXPECT_EQ(*file->get_uint("a"), 3u);
}

}  // namespace
}  // namespace rowmax::engine
