#include "apps/cli/embedded_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <vector>

namespace rowmax::cli {
namespace {

TEST(EmbeddedModel, IsTheFileAndAtMostFourMegabytes) {
  std::ifstream file(ROWMAX_STORIES_FILE, std::ios::binary);
  const std::vector<char> want((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::span<const std::byte> got = stories_bytes();
  ASSERT_EQ(got.size(), want.size());
  EXPECT_TRUE(std::equal(want.begin(), want.end(), reinterpret_cast<const char*>(got.data())));
  EXPECT_GT(got.size(), 100'000u);
  EXPECT_LE(got.size(), 4'000'000u);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(got.data()) % 64, 0u);
}

TEST(EmbeddedModel, IsReadAsAFileIs) {
  const auto built_in = open_model("stories", {});
  const auto file = open_model(ROWMAX_STORIES_FILE, {});
  ASSERT_TRUE(built_in.ok()) << built_in.error().message;
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(built_in->name(), "stories (built in)");
  EXPECT_EQ(built_in->file_bytes(), file->file_bytes());
  ASSERT_EQ(built_in->tensors().size(), file->tensors().size());
  EXPECT_EQ(*built_in->get_string("general.architecture"), "bitnet-b1.58");
  // Options reach the parser.
  const auto other = open_model("stories", {{"I2_S_64"}});
  ASSERT_TRUE(other.ok()) << other.error().message;
  const engine::GgufTensor* tensor = other->find_tensor("blk.0.attn_q.weight");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(engine::gguf_tensor_format_name(*tensor), "I2_S_64");
  EXPECT_FALSE(open_model("stories", {{"no such format"}}).ok());
}

TEST(EmbeddedModel, OtherNamesAreFiles) {
  const auto missing = open_model("no-such-story.gguf", {});
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace rowmax::cli
