// Files built byte by byte from the format's description; one that the Python package safetensors wrote is among the
// test data of engine/convert.
#include "engine/io/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace rowmax::engine {
namespace {

std::vector<std::byte> with_header(std::string_view header, std::size_t data_bytes, std::int64_t length = -1) {
  const std::uint64_t n = length < 0 ? header.size() : static_cast<std::uint64_t>(length);
  std::vector<std::byte> out(8 + header.size() + data_bytes);
  for (int i = 0; i < 8; ++i) out[static_cast<std::size_t>(i)] = static_cast<std::byte>(n >> (8 * i) & 0xFF);
  std::memcpy(out.data() + 8, header.data(), header.size());
  for (std::size_t i = 0; i < data_bytes; ++i) out[8 + header.size() + i] = static_cast<std::byte>(i);
  return out;
}

void expect_unreadable(const std::vector<std::byte>& bytes, std::string_view says) {
  const auto file = SafetensorsFile::parse(bytes, "m.safetensors");
  ASSERT_FALSE(file.ok()) << says;
  EXPECT_EQ(file.error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(file.error().message.find("m.safetensors: "), 0u) << file.error().message;
  EXPECT_NE(file.error().message.find(says), std::string::npos) << file.error().message;
}

// One tensor "t" with this dtype, shape and place; `rest` is more of the header.
std::string one(std::string_view dtype, std::string_view shape, std::string_view offsets, std::string_view rest = "") {
  return "{\"t\":{\"dtype\":\"" + std::string(dtype) + "\",\"shape\":" + std::string(shape) +
         ",\"data_offsets\":" + std::string(offsets) + "}" + std::string(rest) + "}";
}

TEST(Safetensors, ReadsTensorsInTheOrderOfTheirPlaces) {
  const auto bytes = with_header(
      R"({"__metadata__":{"format":"pt","tokens":"[1, 2]","n":3},"a":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
      R"("b":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
      R"("c":{"dtype":"U8","shape":[0,7],"data_offsets":[16,16]}}   )",
      16);
  const auto file = SafetensorsFile::parse(bytes, "m");
  ASSERT_TRUE(file.ok()) << file.error().message;
  ASSERT_EQ(file->tensors().size(), 3u);
  EXPECT_EQ(file->tensors()[0].name, "b");
  EXPECT_TRUE(file->tensors()[0].shape.empty());
  const SafetensorsTensor* a = file->find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->dtype, "BF16");
  EXPECT_EQ(a->shape, (std::vector<std::int64_t>{2, 3}));
  ASSERT_EQ(a->data.size(), 12u);
  EXPECT_EQ(a->data[0], std::byte{4});
  EXPECT_EQ(file->find("c")->data.size(), 0u);
  EXPECT_EQ(file->find("d"), nullptr);
  EXPECT_EQ(file->metadata(), (std::map<std::string, std::string>{{"format", "pt"}, {"tokens", "[1, 2]"}}));
}

TEST(Safetensors, HeaderLengthIsBoundedByTheFile) {
  const std::string header = one("U8", "[4]", "[0,4]");
  EXPECT_TRUE(SafetensorsFile::parse(with_header(header, 4), "m").ok());
  expect_unreadable({}, "0 bytes are no safetensors file");
  expect_unreadable(std::vector<std::byte>(7), "no safetensors file");
  expect_unreadable(with_header(header, 4, static_cast<std::int64_t>(header.size()) + 5),
                    "header length: expected at most");
  expect_unreadable(with_header(header, 4, INT64_MAX), "header length");
  std::vector<std::byte> all_ones = with_header(header, 4);
  std::fill_n(all_ones.begin(), 8, std::byte{0xFF});
  expect_unreadable(all_ones, "header length");
  expect_unreadable(with_header(header, 4, static_cast<std::int64_t>(header.size()) - 1), "malformed JSON");
  expect_unreadable(with_header("[]", 0), "expected a JSON object");
}

TEST(Safetensors, EntriesMustBeWhole) {
  expect_unreadable(with_header(one("F33", "[1]", "[0,4]"), 4), "tensor 't': expected a known dtype, found 'F33'");
  expect_unreadable(with_header(one("F32", "[-1]", "[0,4]"), 4), "shape: expected");
  expect_unreadable(with_header(one("F32", "[1.0]", "[0,4]"), 4), "shape: expected");
  expect_unreadable(with_header(one("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4), "shape: expected up to 8");
  expect_unreadable(with_header(one("F32", "1", "[0,4]"), 4), "shape: expected");
  expect_unreadable(with_header(one("F32", "[1]", "[0,4,8]"), 4), "data_offsets: expected two");
  expect_unreadable(with_header(one("F32", "[1]", "[0,-4]"), 4), "data_offsets: expected two");
  expect_unreadable(with_header(R"({"t":{"dtype":"U8","shape":[1]}})", 1),
                    "expected exactly dtype, shape and data_offsets");
  expect_unreadable(with_header(R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}})", 1),
                    "expected exactly");
  expect_unreadable(with_header(R"({"t":7})", 1), "expected exactly");
  expect_unreadable(with_header(R"({"a\u0000":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1), "printable");
  expect_unreadable(with_header(R"({"t":[[[[[1]]]]]})", 1), "nested deeper");
}

TEST(Safetensors, SizesMustAgreeAndNotWrap) {
  expect_unreadable(with_header(one("F32", "[2]", "[0,4]"), 4),
                    "expected 8 bytes for its dtype and shape, found 0 to 4");
  expect_unreadable(with_header(one("F32", "[1]", "[4,0]"), 4), "data_offsets");
  // 2^62 * 4 bytes are 0 modulo 2^64; 2^32 * 2^32 also.
  expect_unreadable(with_header(one("F32", "[4611686018427387904]", "[0,0]"), 0), "product exceeds");
  expect_unreadable(with_header(one("U8", "[4294967296,4294967296]", "[0,0]"), 0), "product exceeds");
  expect_unreadable(with_header(one("U8", "[9223372036854775807]", "[0,9223372036854775807]"), 4), "ends at byte");
  expect_unreadable(with_header(one("U8", "[18446744073709551615]", "[0,4]"), 4), "shape: expected");
}

TEST(Safetensors, PlacesMustNotOverlapOrLeaveHoles) {
  const auto second = [](std::string_view offsets) {
    return ",\"u\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":" + std::string(offsets) + "}";
  };
  EXPECT_TRUE(SafetensorsFile::parse(with_header(one("U8", "[4]", "[0,4]", second("[4,6]")), 6), "m").ok());
  expect_unreadable(with_header(one("U8", "[4]", "[0,4]", second("[3,5]")), 6), "two tensors overlap");
  expect_unreadable(with_header(one("U8", "[4]", "[0,4]", second("[0,2]")), 4), "overlap");
  expect_unreadable(with_header(one("U8", "[4]", "[0,4]", second("[5,7]")), 7), "a hole");
  expect_unreadable(with_header(one("U8", "[4]", "[1,5]"), 5), "a hole");
  expect_unreadable(with_header(one("U8", "[4]", "[0,4]", second("[4,6]")), 5), "ends at byte 6 of 5");
  expect_unreadable(with_header(one("U8", "[4]", "[0,4]"), 5), "expected 4 bytes of data, found 5");
}

TEST(Safetensors, ATensorNamedTwiceIsRefused) {
  expect_unreadable(
      with_header(one("U8", "[1]", "[0,1]", R"(,"t":{"dtype":"U8","shape":[1],"data_offsets":[1,2]})"), 2),
      "'t' was given twice");
}

}  // namespace
}  // namespace rowmax::engine
