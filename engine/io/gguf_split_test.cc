// A model in several files: any part opens the whole, and parts that do not belong together are named.
#include "engine/io/gguf_split.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "engine/io/gguf_test_bytes.h"

namespace rowmax::engine {
namespace {

namespace fs = std::filesystem;
constexpr std::uint32_t kString = 8, kU16 = 2, kI32 = 5;

struct Part {
  std::uint16_t no = 0, count = 3;
  std::int32_t n_tensors = 3;
  std::string architecture = "llama";
  std::string tensor;
  float value = 0;
};

GgufBytes bytes_of(const Part& part) {
  GgufBytes file = GgufBytes::header(1, 4);
  file.key("general.architecture", kString).str(part.architecture);
  file.key("split.no", kU16).put(part.no).key("split.count", kU16).put(part.count);
  file.key("split.tensors.count", kI32).i32(part.n_tensors);
  return file.tensor(part.tensor, {1}, kF32, 0).pad().put(part.value);
}

class GgufSplitFiles : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "rowmax_split_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    save(1, {.no = 0, .tensor = "a", .value = 1});
    save(2, {.no = 1, .tensor = "b", .value = 2});
    save(3, {.no = 2, .tensor = "c", .value = 3});
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(int part) const { return (folder_ / ("m-0000" + std::to_string(part) + "-of-00003.gguf")).string(); }
  void save(int as, const Part& part) const { save(path(as), bytes_of(part)); }
  static void save(const std::string& path, const GgufBytes& file) {
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(file.bytes().data()), file.size());
  }
  static void expect_error(const std::string& path, ErrorCode code, std::initializer_list<std::string> texts) {
    const auto file = GgufFile::open(path);
    ASSERT_FALSE(file.ok()) << "accepted";
    EXPECT_EQ(file.error().code, code) << file.error().message;
    for (const std::string& text : texts) {
      EXPECT_NE(file.error().message.find(text), std::string::npos) << text << " in: " << file.error().message;
    }
  }
  fs::path folder_;
};

TEST_F(GgufSplitFiles, AnyPartOpensTheWhole) {
  for (int part = 1; part <= 3; ++part) {
    const auto file = GgufFile::open(path(part));
    ASSERT_TRUE(file.ok()) << file.error().message;
    EXPECT_EQ(file->name(), path(1));
    EXPECT_EQ(file->paths().size(), 3u);
    EXPECT_EQ(file->file_bytes(), fs::file_size(path(1)) * 3);
    ASSERT_EQ(file->tensors().size(), 3u);
    const char* const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; ++i) {
      const GgufTensor* tensor = file->find_tensor(names[i]);
      ASSERT_NE(tensor, nullptr) << names[i];
      float value = 0;
      std::memcpy(&value, tensor->data.data(), sizeof value);
      EXPECT_EQ(value, static_cast<float>(i + 1));
      file->drop_pages(tensor->data);
    }
    EXPECT_TRUE(file->notices().empty());
  }
}

TEST_F(GgufSplitFiles, MissingPartsAreNamed) {
  fs::remove(path(1));
  expect_error(path(2), ErrorCode::kNotFound, {"3 files", "1 is missing", path(1)});
  fs::remove(path(3));
  expect_error(path(2), ErrorCode::kNotFound, {"2 are missing", path(1), path(3)});
}

TEST_F(GgufSplitFiles, PartsOfOtherModelsAreRefused) {
  save(3, {.no = 1, .tensor = "c"});
  expect_error(path(1), ErrorCode::kCorrupt, {path(3), "split.no", "expected 2", "found 1"});
  save(3, {.no = 2, .count = 4, .tensor = "c"});
  expect_error(path(1), ErrorCode::kCorrupt, {path(3), "split.count", "expected 3", "found 4"});
  save(3, {.no = 2, .n_tensors = 9, .tensor = "c"});
  expect_error(path(1), ErrorCode::kCorrupt, {path(3), "split.tensors.count", "expected 3", "found 9"});
  save(3, {.no = 2, .architecture = "qwen2", .tensor = "c"});
  expect_error(path(1), ErrorCode::kCorrupt, {path(3), "general.architecture", "llama", "qwen2"});
  save(3, {.no = 2, .tensor = "a"});
  expect_error(path(1), ErrorCode::kCorrupt, {"tensor 'a'", "two parts"});
  save(3, {.no = 7, .tensor = "c"});
  expect_error(path(1), ErrorCode::kCorrupt, {path(3), "split.no", "less than", "found 7"});
  save(path(3), GgufBytes::header(0, 0));  // whole in itself
  expect_error(path(1), ErrorCode::kCorrupt, {path(3), "split.count", "found 1"});
}

TEST_F(GgufSplitFiles, TheTotalCounts) {
  save(1, {.no = 0, .n_tensors = 4, .tensor = "a"});
  save(2, {.no = 1, .n_tensors = 4, .tensor = "b"});
  save(3, {.no = 2, .n_tensors = 4, .tensor = "c"});
  expect_error(path(1), ErrorCode::kCorrupt, {"split.tensors.count", "expected 4", "found 3"});
}

TEST_F(GgufSplitFiles, ANameThatTellsNothingOfTheOthers) {
  const std::string renamed = (folder_ / "second.gguf").string();
  save(renamed, bytes_of({.no = 1, .tensor = "b"}));
  expect_error(renamed, ErrorCode::kInvalidArgument, {renamed, "part 2 of 3", "-00001-of-00003.gguf"});
  // The name says three files, the keys four.
  save(1, {.no = 0, .count = 4, .tensor = "a"});
  expect_error(path(1), ErrorCode::kInvalidArgument, {"part 1 of 4", "-of-00004"});
}

TEST(GgufSplit, Names) {
  const auto paths = split_paths("d/x-00002-of-00002.gguf", 2);
  ASSERT_TRUE(paths.has_value());
  EXPECT_EQ(*paths, (std::vector<std::string>{"d/x-00001-of-00002.gguf", "d/x-00002-of-00002.gguf"}));
  for (const char* other : {"x-00003-of-00002.gguf", "x-00000-of-00002.gguf", "x-0001-of-00002.gguf",
                            "00001-of-00002.gguf", "x-00001-of-00003.gguf", "x-00001-of-00002.bin",
                            "x_00001-of-00002.gguf", "-of-00002.gguf", "x-+0001-of-00002.gguf", ""}) {
    EXPECT_FALSE(split_paths(other, 2).has_value()) << other;
  }
}

}  // namespace
}  // namespace rowmax::engine
