// Bad tensor tables: shapes, sizes, types, offsets, overlaps, gaps, missing data.
#include <gtest/gtest.h>

#include "engine/io/gguf_test_bytes.h"

namespace rowmax::engine {
namespace {

constexpr std::uint32_t kQ8_0 = 8;

// A file of one tensor, with data_bytes zeros as its data.
GgufBytes one_tensor(std::initializer_list<std::int64_t> dims, std::uint32_t type, std::uint64_t offset = 0,
                     std::size_t data_bytes = 4096) {
  return GgufBytes::header(1, 0).tensor("blk.0.w", dims, type, offset).pad().zeros(data_bytes);
}

TEST(GgufTensor, BadNames) {
  const auto named = [](std::string_view name) {
    return GgufBytes::header(1, 0).tensor(name, {4}, kF32, 0).pad().zeros(32);
  };
  expect_refused(named(std::string(64, 'x')), kCorrupt,
                 {"name of tensor 0 of 1", "64 bytes, more than the limit of 63"});
  expect_refused(named(""), kCorrupt, {"name of tensor 0 of 1 is empty"});
  expect_refused(named("a\nb"), kCorrupt, {"name of tensor 0 of 1 is not printable UTF-8: 'a\\x0ab'"});
  expect_refused(GgufBytes::header(1, 0).u64(~std::uint64_t{0}).zeros(60), kCorrupt,
                 {"name of tensor 0 of 1", "18446744073709551615"});
  EXPECT_TRUE(GgufFile::parse(named(std::string(63, 'x')).bytes(), "63").ok());
}

TEST(GgufTensor, DuplicateName) {
  GgufBytes file = GgufBytes::header(2, 0);
  file.tensor("blk.0.w", {8}, kF32, 0).tensor("blk.0.w", {8}, kF32, 32).pad().zeros(64);
  expect_refused(file, kCorrupt, {"tensor 'blk.0.w' stands twice"});
}

TEST(GgufTensor, BadDimensionCount) {
  for (const std::uint32_t n_dims : {0u, 5u, 0xFFFFFFFFu}) {
    GgufBytes file = GgufBytes::header(1, 0);
    file.str("blk.0.w").u32(n_dims).zeros(4096);
    expect_refused(file, kCorrupt, {"tensor 'blk.0.w' has " + std::to_string(n_dims) + " dimensions, expected 1 to 4"});
  }
  expect_refused(GgufBytes::header(1, 0).str("blk.0.w").u32(4).zeros(16), kCorrupt, {"ends inside tensor 'blk.0.w'"});
}

TEST(GgufTensor, BadDimensions) {
  constexpr std::int64_t k32 = std::int64_t{1} << 32;
  expect_refused(one_tensor({4, -1}, kF32), kCorrupt, {"tensor 'blk.0.w' has -1 as dimension 1"});
  expect_refused(one_tensor({0, 4}, kF32), kCorrupt, {"tensor 'blk.0.w' has 0 as dimension 0"});
  expect_refused(one_tensor({INT64_MIN, 2}, kF32), kCorrupt, {"has -9223372036854775808 as dimension 0"});
  // 2^32 * 2^32 wraps to exactly 0: an "empty" tensor for a loader that multiplies first.
  expect_refused(one_tensor({k32, k32}, kF32), kCorrupt,
                 {"tensor 'blk.0.w' has dimensions whose product exceeds 2^63 - 1"});
  // ... and to a small number.
  expect_refused(one_tensor({k32 + 1, k32}, kF32), kCorrupt, {"dimensions whose product exceeds"});
  expect_refused(one_tensor({k32, k32, k32, 1}, kF32), kCorrupt, {"dimensions whose product exceeds"});
  // The count fits 63 bits, the bytes do not.
  expect_refused(one_tensor({std::int64_t{1} << 62}, kF32), kCorrupt,
                 {"tensor 'blk.0.w' has more than 2^63 - 1 bytes"});
}

TEST(GgufTensor, RowsOfWholeBlocks) {
  expect_refused(one_tensor({33, 2}, kQ8_0), kCorrupt,
                 {"tensor 'blk.0.w' has rows of 33 elements", "whole blocks of 32", "Q8_0"});
  const auto file = GgufFile::parse(one_tensor({64, 2}, kQ8_0).bytes(), "blocks");
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->tensors()[0].data.size(), 4u * 34u);
  EXPECT_EQ(file->tensors()[0].n_elements(), 128);
}

TEST(GgufTensor, TypesThatCannotBeReadAreNamed) {
  const auto refused = [](std::uint32_t type, std::string_view text) {
    expect_refused(one_tensor({256}, type), kUnsupported, {"tensor 'blk.0.w' has ", text});
  };
  refused(26, "type 26 (I32), which is not supported");
  refused(4, "type 4 (Q4_2, removed from the format)");
  refused(5, "Q4_3, removed");
  refused(31, "Q4_0_4_4, removed");
  refused(37, "IQ4_NL_4_8, removed");
  refused(44, "the unknown type 44");
  refused(0xFFFFFFFF, "unknown type 4294967295");
}

TEST(GgufTensor, BadOffsets) {
  expect_refused(one_tensor({8}, kF32, 16), kCorrupt,
                 {"tensor 'blk.0.w' has offset 16", "multiple of the alignment 32"});
  expect_refused(one_tensor({8}, kF32, ~std::uint64_t{0} - 31), kCorrupt,
                 {"its end exceeds 2^63 - 1"});  // + size wraps to 0
  expect_refused(one_tensor({8}, kF32, (std::uint64_t{1} << 63) - 64), kCorrupt, {"its end exceeds 2^63 - 1"});
  expect_refused(one_tensor({8}, kF32, std::uint64_t{1} << 40), kCorrupt, {"bytes short", "tensor 'blk.0.w'"});
}

TEST(GgufTensor, SumOfSizesBeyond64Bits) {
  GgufBytes file = GgufBytes::header(3, 0);
  const std::int64_t n = std::int64_t{1} << 60;  // 2^62 bytes each: the third one ends beyond 2^63
  file.tensor("a", {n}, kF32, 0)
      .tensor("b", {n}, kF32, std::uint64_t{1} << 62)
      .tensor("c", {n}, kF32, std::uint64_t{1} << 63);
  expect_refused(file.pad().zeros(64), kCorrupt, {"tensor 'b' has offset 4611686018427387904", "exceeds 2^63 - 1"});
}

TEST(GgufTensor, Overlap) {
  GgufBytes file = GgufBytes::header(3, 0);
  file.tensor("late", {16}, kF32, 64).tensor("first", {24}, kF32, 0).tensor("third", {8}, kF32, 128);
  expect_refused(file.pad().zeros(160), kCorrupt,
                 {"tensor 'late' has offset 64 and overlaps tensor 'first', which ends at 96"});

  GgufBytes same = GgufBytes::header(2, 0);
  same.tensor("a", {8}, kF32, 0).tensor("b", {8}, kF32, 0);
  expect_refused(same.pad().zeros(64), kCorrupt, {"overlaps tensor"});
}

TEST(GgufTensor, AnyOrderWithGapsIsReadAndNoticed) {
  GgufBytes file = GgufBytes::header(2, 0);
  file.tensor("second", {2}, kF32, 128).tensor("first", {2}, kF32, 32).pad();
  file.zeros(32).put(1.0f).put(2.0f).pad().zeros(64).put(3.0f).put(4.0f).zeros(24 + 5);
  const auto parsed = GgufFile::parse(file.bytes(), "gaps.gguf");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  float values[2];
  std::memcpy(values, parsed->find_tensor("second")->data.data(), sizeof(values));
  EXPECT_EQ(values[0], 3.0f);
  std::memcpy(values, parsed->find_tensor("first")->data.data(), sizeof(values));
  EXPECT_EQ(values[1], 2.0f);
  ASSERT_EQ(parsed->notices().size(), 3u);
  EXPECT_EQ(parsed->notices()[0], "gaps.gguf: 32 unused bytes before tensor 'first'");
  EXPECT_EQ(parsed->notices()[1], "gaps.gguf: 64 unused bytes before tensor 'second'");
  EXPECT_EQ(parsed->notices()[2], "gaps.gguf: 5 unused bytes after the last tensor");
  ASSERT_EQ(parsed->rests().size(), 1u);
  EXPECT_EQ(parsed->rests()[0].file, "gaps.gguf");
  EXPECT_EQ(parsed->rests()[0].bytes.size(), 5u);
  EXPECT_EQ(parsed->rests()[0].offset + 5, parsed->file_bytes());
}

TEST(GgufTensor, TheLastTensorNeedsNoPadding) {
  const auto file = GgufFile::parse(one_tensor({3}, kF32, 0, 12).bytes(), "unpadded");
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_TRUE(file->notices().empty());
}

TEST(GgufTensor, MissingDataIsCounted) {
  expect_refused(one_tensor({1024}, kF32, 0, 4096 - 17), kCorrupt,
                 {"the file is 17 bytes short", "tensor 'blk.0.w' ends at byte 4160", "incomplete download?"});
  // Nothing but the table of contents.
  expect_refused(GgufBytes::header(1, 0).tensor("blk.0.w", {8}, kF32, 0), kCorrupt,
                 {"bytes short", "tensor 'blk.0.w'"});
}

TEST(GgufTensor, AVocabularyOnlyFileNeedsNoData) {
  GgufBytes file = GgufBytes::header(0, 1);
  file.key("general.name", 8).str("vocab");
  EXPECT_TRUE(GgufFile::parse(file.bytes(), "vocab").ok());
}

TEST(GgufTensor, OnePartOfASplitModelIsNoticed) {
  GgufBytes file = GgufBytes::header(0, 1);
  file.key("split.count", 2).put(std::uint16_t{3});
  const auto parsed = GgufFile::parse(file.bytes(), "part.gguf");
  ASSERT_TRUE(parsed.ok());
  ASSERT_EQ(parsed->notices().size(), 1u);
  EXPECT_NE(parsed->notices()[0].find("split over 3 files"), std::string::npos);
}

TEST(GgufTensor, AlignmentOfTheFileCounts) {
  GgufBytes file = GgufBytes::header(2, 1);
  file.key("general.alignment", 4)
      .u32(8)
      .tensor("a", {2}, kF32, 0)
      .tensor("b", {2}, kF32, 8)
      .pad(8)
      .put(1.f)
      .put(2.f)
      .put(3.f)
      .put(4.f);
  const auto parsed = GgufFile::parse(file.bytes(), "eight");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  float b[2];
  std::memcpy(b, parsed->find_tensor("b")->data.data(), sizeof(b));
  EXPECT_EQ(b[0], 3.0f);
  EXPECT_TRUE(parsed->notices().empty());
}

}  // namespace
}  // namespace rowmax::engine
