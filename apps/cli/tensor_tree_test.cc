#include "apps/cli/tensor_tree.h"

#include <gtest/gtest.h>

#include "apps/cli/metadata_value.h"

namespace rowmax::cli {
namespace {

engine::GgufTensor tensor(std::string_view name, std::vector<std::int64_t> shape, std::uint32_t type = 0) {
  engine::GgufTensor result;
  result.name = name;
  result.type = type;
  result.shape = std::move(shape);
  return result;
}

int count(const std::string& text, std::string_view part) {
  int n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(TensorTree, FoldsLayersThatAreAlikeAndNoOthers) {
  const std::vector<engine::GgufTensor> tensors = {
      tensor("token_embd.weight", {8, 32}, 8),
      tensor("blk.0.a.weight", {8, 8}, 3),
      tensor("blk.0.b", {8}),
      tensor("blk.10.b", {8}),
      tensor("blk.10.a.weight", {8, 8}, 3),
      tensor("blk.2.b", {8}),
      tensor("blk.2.a.weight", {8, 16}, 3),
      tensor("blk.1.a.weight", {8, 8}, 3),
      tensor("blk.1.b", {8}),
  };
  const std::string folded = tensor_tree(tensors, true);
  EXPECT_NE(folded.find("blk.0 to blk.1, alike\n"), std::string::npos) << folded;
  EXPECT_NE(folded.find("blk.2\n"), std::string::npos);
  EXPECT_NE(folded.find("blk.10\n"), std::string::npos);
  EXPECT_LT(folded.find("blk.2\n"), folded.find("blk.10\n"));
  EXPECT_EQ(count(folded, "a.weight"), 3);
  EXPECT_EQ(count(tensor_tree(tensors, false), "a.weight"), 4);
  EXPECT_EQ(count(folded, "Q4_1"), 3);
  EXPECT_EQ(count(folded, "[8, 16]"), 1);
}

TEST(TensorTree, NamesWithoutLayersStayWhole) {
  for (const char* name : {"output.weight", "a", "", ".", "blk..x", "blk.1", "blk.x.y", "blk.99999999999.y"}) {
    const std::vector<engine::GgufTensor> tensors = {tensor(name, {1})};
    EXPECT_EQ(tensor_tree(tensors, true).find(name), 0u) << name;
  }
}

TEST(TensorTree, TypesAreAddedUp) {
  const std::vector<std::byte> data(40);
  std::vector<engine::GgufTensor> tensors = {tensor("a", {1}), tensor("b", {1}, 3), tensor("c", {1}, 3)};
  tensors[1].data = data;
  EXPECT_EQ(tensor_types(tensors), "Q4_1       2 tensors      40 B\nF32        1 tensors       0 B\n");
}

TEST(MetadataValue, EveryKindAsTextAndJson) {
  engine::GgufWriter writer;
  writer.set_uint32("u", 7);
  writer.set_float32("f", 1e-5f);
  writer.set_bool("b", true);
  writer.set_string("s", "a\"b\x1b");
  writer.set_int32s("i", {1, -2, 3});
  writer.set_strings("t", {"x", "y"});
  writer.set_float32s("g", {0.1f});
  const auto bytes = writer.bytes();
  ASSERT_TRUE(bytes.ok());
  const auto file = engine::GgufFile::parse(*bytes, "memory");
  ASSERT_TRUE(file.ok()) << file.error().message;
  const auto text = [&](const char* key) { return metadata_text(*file->find(key), 2, 2); };
  EXPECT_EQ(text("u"), "7");
  EXPECT_EQ(text("f"), "1e-05");
  EXPECT_EQ(text("b"), "true");
  EXPECT_EQ(text("s"), "\"a\\\"…\"");
  EXPECT_EQ(text("i"), "3 x [1, -2, …]");
  EXPECT_EQ(text("t"), "2 x [\"x\", \"y\"]");
  EXPECT_EQ(metadata_json(*file->find("i"), 2).dump(), R"({"type":"array of i32","size":3,"first":[1,-2]})");
  EXPECT_EQ(metadata_json(*file->find("g"), 2).dump(), R"({"type":"array of f32","size":1,"value":[0.1]})");
  EXPECT_EQ(metadata_json(*file->find("f"), 2).dump(), R"({"type":"f32","value":1e-05})");
}

}  // namespace
}  // namespace rowmax::cli
