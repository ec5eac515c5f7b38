// Bad headers, strings, keys and arrays: each is refused with a sentence that names what is wrong.
#include <gtest/gtest.h>

#include "engine/io/gguf_test_bytes.h"

namespace rowmax::engine {
namespace {

constexpr std::uint32_t kTypeU32 = 4, kTypeI32 = 5, kTypeF32 = 6, kTypeBool = 7, kTypeString = 8, kTypeArray = 9;
constexpr std::uint64_t kHuge = ~std::uint64_t{0};

GgufBytes one_key() { return GgufBytes::header(0, 1); }

TEST(GgufHeader, EmptyAndShortFiles) {
  expect_refused(GgufBytes(), kCorrupt, {"ends inside the header", "4 bytes needed", "0 left", "incomplete download?"});
  expect_refused(GgufBytes().raw("GGU"), kCorrupt, {"ends inside the header", "3 left"});
  expect_refused(GgufBytes().raw("GGUF"), kCorrupt, {"header (version)"});
  expect_refused(GgufBytes().raw("GGUF").u32(3), kCorrupt, {"header (tensor count)"});
  expect_refused(GgufBytes().raw("GGUF").u32(3).u64(0), kCorrupt, {"header (key count)"});
}

TEST(GgufHeader, EveryPrefixOfAGoodFileIsRefused) {
  GgufBytes good = GgufBytes::header(1, 2);
  good.key("a.text", kTypeString).str("hello");
  good.key("a.list", kTypeArray).u32(kTypeString).u64(2).str("x").str("yz");
  good.tensor("w", {4, 2}, 0, 0).pad().zeros(32);
  ASSERT_TRUE(GgufFile::parse(good.bytes(), "model.gguf").ok());
  for (std::size_t size = 0; size < good.size(); ++size) {
    const std::vector<std::byte> prefix(good.bytes().begin(), good.bytes().begin() + size);  // exact, for the sanitizer
    const auto result = GgufFile::parse(prefix, "model.gguf");
    ASSERT_FALSE(result.ok()) << size;
    EXPECT_EQ(result.error().code, kCorrupt);
    EXPECT_NE(result.error().message.find("incomplete download?"), std::string::npos) << result.error().message;
  }
}

TEST(GgufHeader, OtherFilesAreRecognised) {
  const auto refused = [](std::string_view start, std::string_view hint) {
    expect_refused(GgufBytes().raw(start).zeros(64), kCorrupt, {"not a GGUF file", hint});
  };
  refused("xxxx", "starts with 'xxxx', expected 'GGUF'");
  refused(std::string_view("\0\x01\xff"
                           "a",
                           4),
          "'\\x00\\x01\\xffa'");
  refused("version https://git-lfs.github.com/spec/v1", "Git LFS pointer");
  refused("<!DOCTYPE html>", "web page");
  refused("PK\x03\x04", "ZIP archive");
  refused("tjgg", "GGJT");
  refused("lmgg", "GGML");
  refused("FUGG", "big-endian");
  refused(std::string_view("\x10\0\0\0\0\0\0\0{\"a\"", 12), "safetensors");
}

TEST(GgufHeader, Versions) {
  EXPECT_TRUE(GgufFile::parse(GgufBytes::header(0, 0, 2).bytes(), "v2").ok());
  EXPECT_TRUE(GgufFile::parse(GgufBytes::header(0, 0, 3).bytes(), "v3").ok());
  expect_refused(GgufBytes::header(0, 0, 0), kUnsupported, {"GGUF version 0, expected 2 or 3"});
  expect_refused(GgufBytes::header(0, 0, 1), kUnsupported, {"GGUF version 1, expected 2 or 3", "convert"});
  expect_refused(GgufBytes::header(0, 0, 4), kUnsupported, {"GGUF version 4, expected 2 or 3"});
  expect_refused(GgufBytes::header(0, 0, 0x03000000), kUnsupported, {"big-endian GGUF file (version 3)"});
  expect_refused(GgufBytes::header(0, 0, 0x02000000), kUnsupported, {"big-endian GGUF file (version 2)"});
}

TEST(GgufHeader, AbsurdCounts) {
  for (const std::uint64_t count : {kHuge, std::uint64_t{1} << 63, std::uint64_t{1'000'000'000}}) {
    expect_refused(GgufBytes::header(count, 0).zeros(100), kCorrupt,
                   {"counts " + std::to_string(count) + " tensors", "limit of 1048576"});
    expect_refused(GgufBytes::header(0, count).zeros(100), kCorrupt,
                   {"counts " + std::to_string(count) + " metadata keys", "limit of 65536"});
  }
  // Within the limits, but more than the file can hold: refused before memory is taken for them.
  expect_refused(GgufBytes::header(0, 65536).zeros(100), kCorrupt, {"at least 917504 bytes", "only 100 are left"});
  expect_refused(GgufBytes::header(1048576, 0).zeros(100), kCorrupt, {"at least 34603008 bytes", "only 100 are left"});
}

TEST(GgufKey, BadNames) {
  expect_refused(one_key().u64(kHuge).zeros(20), kCorrupt,
                 {"name of metadata key 0 of 1", "length of 18446744073709551615 bytes", "limit of 65536"});
  expect_refused(one_key().u64(65537).zeros(70000), kCorrupt, {"length of 65537 bytes, more than the limit of 65536"});
  expect_refused(one_key().u64(60).zeros(50), kCorrupt,
                 {"ends inside the name of metadata key 0 of 1", "60 bytes needed"});
  expect_refused(one_key().key("", kTypeU32).u32(1).zeros(8), kCorrupt, {"name of metadata key 0 of 1 is empty"});
  expect_refused(one_key().key("a\xff\x62", kTypeU32).u32(1), kCorrupt, {"not printable UTF-8: 'a\\xffb'"});
  expect_refused(one_key().key(std::string_view("a\0b", 3), kTypeU32).u32(1), kCorrupt, {"'a\\x00b'"});
  expect_refused(one_key().key("a\x1b[2J", kTypeU32).u32(1), kCorrupt, {"'a\\x1b[2J'"});
  expect_refused(one_key()
                     .key("\xc2\x9b"
                          "2J",
                          kTypeU32)
                     .u32(1),
                 kCorrupt, {"not printable", "\\xc2\\x9b"});
  expect_refused(one_key().key("\xed\xa0\x80", kTypeU32).u32(1), kCorrupt, {"not printable"});  // a surrogate
  expect_refused(one_key().key("\xc0\xaf", kTypeU32).u32(1), kCorrupt, {"not printable"});      // an overlong '/'
  GgufBytes fine = one_key();
  fine.key("sch\xc3\xb6n.\xe2\x96\x81.\xf0\x9f\x98\x80", kTypeU32).u32(1);
  EXPECT_TRUE(GgufFile::parse(fine.bytes(), "utf8").ok());
}

TEST(GgufKey, Duplicate) {
  GgufBytes file = GgufBytes::header(0, 3);
  file.key("same.key", kTypeU32).u32(1).key("other", kTypeU32).u32(2).key("same.key", kTypeU32).u32(3);
  expect_refused(file, kCorrupt, {"key 'same.key' stands twice"});
}

TEST(GgufKey, UnknownTypes) {
  expect_refused(one_key().key("k", 13).zeros(16), kCorrupt, {"key 'k' has the unknown value type 13"});
  expect_refused(one_key().key("k", 0xFFFFFFFF).zeros(16), kCorrupt, {"unknown value type 4294967295"});
}

TEST(GgufKey, ScalarCutShort) {
  expect_refused(one_key().key("the.key", 12).zeros(7), kCorrupt,
                 {"ends inside key 'the.key'", "8 bytes needed", "7 left"});
}

TEST(GgufKey, BoolMustBeZeroOrOne) {
  expect_refused(one_key().key("flag", kTypeBool).u8(2), kCorrupt, {"key 'flag' is a bool of value 2"});
  GgufBytes array = one_key();
  array.key("flags", kTypeArray).u32(kTypeBool).u64(3).u8(1).u8(0).u8(255);
  expect_refused(array, kCorrupt, {"key 'flags'", "element 2 is 255"});
}

TEST(GgufString, BadLengths) {
  expect_refused(one_key().key("s", kTypeString).u64(kHuge).zeros(9), kCorrupt,
                 {"key 's' has a length of 18446744073709551615 bytes", "limit of 67108864"});
  expect_refused(one_key().key("s", kTypeString).u64(10).zeros(9), kCorrupt,
                 {"ends inside key 's'", "10 bytes needed", "9 left"});
}

TEST(GgufString, BytesAreKeptAsTheyAre) {
  const std::string_view odd("\xff\0z", 3);
  GgufBytes file = one_key();
  file.key("s", kTypeString).str(odd);
  const auto parsed = GgufFile::parse(file.bytes(), "odd");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed->get_string("s"), odd);
}

TEST(GgufArray, BadCountsAndTypes) {
  const auto array = [](std::uint32_t element, std::uint64_t count) {
    return one_key().key("list", kTypeArray).u32(element).u64(count);
  };
  const std::uint64_t big = std::uint64_t{1} << 61;  // times 8 bytes is 2^64: wraps to 0
  expect_refused(array(12, big).zeros(64), kCorrupt,
                 {"key 'list' is an array of 2305843009213693952 elements of 8 bytes", "only 64"});
  expect_refused(array(kTypeString, big).zeros(64), kCorrupt, {"key 'list'", "2305843009213693952 strings", "only 64"});
  expect_refused(array(kTypeString, 9).zeros(64), kCorrupt, {"9 strings, which take at least 8 bytes each"});
  expect_refused(array(0, 65).zeros(64), kCorrupt, {"65 elements of 1 bytes"});
  expect_refused(array(kTypeArray, 1).u32(0).u64(0), kUnsupported, {"key 'list' is an array of arrays"});
  expect_refused(array(13, 1).zeros(8), kCorrupt, {"unknown element type 13"});
  expect_refused(array(kTypeString, 2).str("ok").u64(kHuge), kCorrupt,
                 {"element 1 of 2 of key 'list'", "limit of 67108864"});
  expect_refused(array(kTypeString, 2).str("ok").u64(5).zeros(4), kCorrupt,
                 {"ends inside element 1 of 2 of key 'list'"});
  expect_refused(array(kTypeString, 2).str("0123456789"), kCorrupt, {"ends inside element 1 of 2 of key 'list'"});
}

TEST(GgufAlignment, OnlyPowersOfTwoFrom8To64KiB) {
  const auto with = [](std::uint32_t alignment) { return one_key().key("general.alignment", kTypeU32).u32(alignment); };
  for (const std::uint32_t bad : {0u, 1u, 3u, 4u, 24u, 33u, 131072u, 0x80000000u}) {
    expect_refused(with(bad), kCorrupt,
                   {"'general.alignment' is " + std::to_string(bad), "power of two from 8 to 65536"});
  }
  for (const std::uint32_t good : {8u, 32u, 65536u}) {
    const auto file = GgufFile::parse(with(good).bytes(), "aligned");
    ASSERT_TRUE(file.ok()) << good;
    EXPECT_EQ(file->alignment(), good);
  }
  expect_refused(one_key().key("general.alignment", kTypeI32).i32(32), kCorrupt,
                 {"'general.alignment' expected u32, found i32"});
  expect_refused(one_key().key("general.alignment", kTypeString).str("32"), kCorrupt, {"expected u32, found string"});
}

TEST(GgufAccess, TypedAccessNamesKeyExpectedAndFound) {
  GgufBytes bytes = GgufBytes::header(0, 9);
  bytes.key("u8", 0).u8(200).key("i16", 3).put(std::int16_t{-3}).key("i64", 11).put(std::int64_t{1} << 40);
  bytes.key("f32", kTypeF32).put(0.5f).key("nan", 12).put(std::numeric_limits<double>::quiet_NaN());
  bytes.key("yes", kTypeBool).u8(1).key("text", kTypeString).str("hi");
  bytes.key("ints", kTypeArray).u32(3).u64(2).put(std::int16_t{-7}).put(std::int16_t{7});
  bytes.key("floats", kTypeArray).u32(kTypeF32).u64(2).put(1.5f).put(std::numeric_limits<float>::infinity());
  const auto file = GgufFile::parse(bytes.bytes(), "m");
  ASSERT_TRUE(file.ok()) << file.error().message;

  EXPECT_EQ(*file->get_uint("u8"), 200u);
  EXPECT_EQ(*file->get_uint("i64"), std::uint64_t{1} << 40);
  EXPECT_EQ(*file->get_float("f32"), 0.5);
  EXPECT_TRUE(*file->get_bool("yes"));
  EXPECT_EQ(*file->get_string("text"), "hi");
  EXPECT_EQ((*file->get_array("ints", GgufType::kI16))->as_int(0), -7);
  EXPECT_EQ((*file->get_int_array("ints"))->as_double(1), 7.0);
  const GgufArray* floats = *file->get_array("floats", GgufType::kF32);
  EXPECT_EQ(floats->as_double(0), 1.5);
  EXPECT_EQ(floats->as_int(0), 1);
  EXPECT_EQ(floats->as_int(1), std::numeric_limits<std::int64_t>::max());

  const auto refused = [](const auto& result, ErrorCode code, std::string_view message) {
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, code);
    EXPECT_EQ(result.error().message, message);
  };
  refused(file->get_uint("none"), ErrorCode::kNotFound, "m: key 'none' is missing, expected an unsigned integer");
  refused(file->get_uint("i16"), kCorrupt, "m: key 'i16' expected an unsigned integer, found -3 (i16)");
  refused(file->get_uint("f32"), kCorrupt, "m: key 'f32' expected an unsigned integer, found 0.500000 (f32)");
  refused(file->get_float("nan"), kCorrupt, "m: key 'nan' expected a finite float, found nan (f64)");
  refused(file->get_float("u8"), kCorrupt, "m: key 'u8' expected a finite float, found 200 (u8)");
  refused(file->get_bool("u8"), kCorrupt, "m: key 'u8' expected a bool, found 200 (u8)");
  refused(file->get_string("yes"), kCorrupt, "m: key 'yes' expected a string, found true (bool)");
  refused(file->get_array("ints", GgufType::kI32), kCorrupt,
          "m: key 'ints' expected an array of i32, found an array of 2 i16");
  refused(file->get_int_array("floats"), kCorrupt,
          "m: key 'floats' expected an array of integers, found an array of 2 f32");
  refused(file->get_int_array("text"), kCorrupt, "m: key 'text' expected an array of integers, found the string 'hi'");
}

}  // namespace
}  // namespace rowmax::engine
