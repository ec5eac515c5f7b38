#include "engine/quant/format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace rowmax::engine {
namespace {

// What tools/make_quant_vectors.py wrote.
struct Vectors {
  std::uint32_t n_decode = 0, n_encode = 0, block_bytes = 0, block_elements = 0;
  std::vector<std::byte> blocks, encoded;
  std::vector<float> decoded, values;
};

Vectors load_vectors(const FormatInfo& format) {
  std::string name = format.name;
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::ifstream file(std::string(ROWMAX_SOURCE_DIR) + "/engine/quant/testdata/" + name + ".bin", std::ios::binary);
  EXPECT_TRUE(file.good()) << name << ": run tools/make_quant_vectors.py";
  Vectors v;
  const auto read = [&](void* to, std::size_t n) {
    file.read(static_cast<char*>(to), static_cast<std::streamsize>(n));
    EXPECT_EQ(static_cast<std::size_t>(file.gcount()), n) << name;
  };
  read(&v, 16);
  v.blocks.resize(std::size_t{v.n_decode} * v.block_bytes);
  v.decoded.resize(std::size_t{v.n_decode} * v.block_elements);
  v.values.resize(std::size_t{v.n_encode} * v.block_elements);
  v.encoded.resize(std::size_t{v.n_encode} * v.block_bytes);
  read(v.blocks.data(), v.blocks.size());
  read(v.decoded.data(), v.decoded.size() * 4);
  read(v.values.data(), v.values.size() * 4);
  read(v.encoded.data(), v.encoded.size());
  return v;
}

class EveryFormat : public testing::TestWithParam<const FormatInfo*> {};
INSTANTIATE_TEST_SUITE_P(Formats, EveryFormat, testing::ValuesIn([] {
                           std::vector<const FormatInfo*> all;
                           for (const FormatInfo& format : formats()) all.push_back(&format);
                           return all;
                         }()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST_P(EveryFormat, DecodesLikeGgufPy) {
  const FormatInfo& format = *GetParam();
  const Vectors v = load_vectors(format);
  ASSERT_EQ(format.block_bytes, v.block_bytes);
  ASSERT_EQ(format.block_elements, v.block_elements);
  ASSERT_GE(v.n_decode, 8u);
  // One byte further, so that no alignment is relied upon.
  std::vector<std::byte> shifted(v.blocks.size() + 1);
  std::memcpy(shifted.data() + 1, v.blocks.data(), v.blocks.size());
  std::vector<float> found(v.decoded.size());
  format.decode(shifted.data() + 1, v.n_decode, found.data());
  for (std::size_t i = 0; i < found.size(); ++i) {
    std::uint32_t a = 0, b = 0;
    std::memcpy(&a, &found[i], 4);
    std::memcpy(&b, &v.decoded[i], 4);
    if (std::isnan(found[i]) && std::isnan(v.decoded[i])) continue;
    ASSERT_EQ(a, b) << "block " << i / v.block_elements << " element " << i % v.block_elements << ": " << found[i]
                    << " for " << v.decoded[i];
  }
}

TEST_P(EveryFormat, EncodesLikeGgufPy) {
  const FormatInfo& format = *GetParam();
  const Vectors v = load_vectors(format);
  std::vector<std::byte> found(v.encoded.size());
  format.encode(v.values.data(), v.n_encode, found.data());
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i], v.encoded[i]) << "block " << i / v.block_bytes << " byte " << i % v.block_bytes;
  }
}

// Root mean square of the round trip's error, relative to that of the values, for normal values. The bounds are what an
// even grid over the block's range gives, and a fifth more: for codes of n levels over the range R of a group, R / n /
// sqrt(12), with R about 4.1 standard deviations for 32 normal values and 3.5 for 16.
TEST_P(EveryFormat, RoundTripIsAsGoodAsItsBitsAllow) {
  const FormatInfo& format = *GetParam();
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 0.1f);
  std::vector<float> values(256 * 64);
  for (float& value : values) value = normal(random);
  std::vector<std::byte> bytes(values.size() / static_cast<std::size_t>(format.block_elements) *
                               static_cast<std::size_t>(format.block_bytes));
  std::vector<float> back(values.size());
  const std::int64_t n_blocks = static_cast<std::int64_t>(values.size()) / format.block_elements;
  format.encode(values.data(), n_blocks, bytes.data());
  format.decode(bytes.data(), n_blocks, back.data());
  double error = 0, size = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    error += std::pow(static_cast<double>(back[i]) - static_cast<double>(values[i]), 2);
    size += std::pow(static_cast<double>(values[i]), 2);
  }
  const double relative = std::sqrt(error / size);
  const std::string name = format.name;
  const double bound = name == "F32"    ? 0.0
                       : name == "F16"  ? 0x1p-12
                       : name == "BF16" ? 0x1p-9
                       : name == "Q8_0" ? 0.0056
                       : name == "Q6_K" ? 0.020
                       : name == "Q5_K" ? 0.046
                       : name == "Q5_1" ? 0.046
                       : name == "Q5_0" ? 0.046
                       : name == "Q4_K" ? 0.092
                                        : 0.092;
  EXPECT_LE(relative, bound);
  EXPECT_GE(relative, bound / 4) << "the bound has become meaningless";
}

TEST_P(EveryFormat, EncodesOddValuesInBounds) {
  const FormatInfo& format = *GetParam();
  const float odd[] = {0.0f,
                       -0.0f,
                       1e-45f,
                       -1e-38f,
                       3e38f,
                       -3e38f,
                       std::numeric_limits<float>::quiet_NaN(),
                       1.0f,
                       -1.0f,
                       65504.f,
                       7e4f,
                       std::numeric_limits<float>::infinity()};
  for (const float value : odd) {
    for (const float other : odd) {
      std::vector<float> values(static_cast<std::size_t>(format.block_elements), value);
      for (std::size_t i = 1; i < values.size(); i += 3) values[i] = other;
      std::vector<std::byte> block(static_cast<std::size_t>(format.block_bytes) + 1, std::byte{0xA5});
      format.encode(values.data(), 1, block.data());
      EXPECT_EQ(block.back(), std::byte{0xA5});
      std::vector<float> back(values.size());
      format.decode(block.data(), 1, back.data());
      if (value == 0.0f && other == 0.0f) {
        EXPECT_EQ(std::ranges::count(back, 0.0f), format.block_elements);
      }
    }
  }
}

TEST_P(EveryFormat, EncodesConstantsAndSingleOutliers) {
  const FormatInfo& format = *GetParam();
  for (const float value : {1.0f, -1.0f, 0.375f, -0.02f, 100.0f}) {
    for (const bool single : {false, true}) {
      std::vector<float> values(static_cast<std::size_t>(format.block_elements), single ? 0.0f : value);
      values.back() = value;
      std::vector<std::byte> block(static_cast<std::size_t>(format.block_bytes));
      std::vector<float> back(values.size());
      format.encode(values.data(), 1, block.data());
      format.decode(block.data(), 1, back.data());
      for (std::size_t i = 0; i < values.size(); ++i) {
        EXPECT_NEAR(back[i], values[i], std::fabs(value) / 120)
            << "element " << i << " of " << value << (single ? ", alone" : "");
      }
    }
  }
}

TEST(FormatTable, IsConsistent) {
  std::set<std::string> names;
  std::int64_t last = -1;
  for (const FormatInfo& format : formats()) {
    EXPECT_GT(static_cast<std::int64_t>(format.id), last) << "in order of id";
    last = format.id;
    EXPECT_TRUE(names.insert(format.name).second) << format.name;
    EXPECT_GT(format.block_elements, 0);
    EXPECT_GT(format.block_bytes, 0);
    EXPECT_NE(format.decode, nullptr);
    EXPECT_NE(format.encode, nullptr);
    EXPECT_EQ(find_format(format.id), &format);
    EXPECT_EQ(find_format(std::string_view(format.name)), &format);
    EXPECT_EQ(format_row_bytes(format, 3 * format.block_elements), 3 * format.block_bytes);
  }
  EXPECT_EQ(formats().size(), 11u);
  EXPECT_EQ(find_format(4u), nullptr);
  EXPECT_EQ(find_format(0xFFFFFFFFu), nullptr);
  EXPECT_EQ(find_format(std::string_view("q4_1")), nullptr);
  EXPECT_EQ(find_format(std::string_view("")), nullptr);
}

TEST(DecodeRow, GivesTheRowOfTheTensor) {
  for (const FormatInfo& format : formats()) {
    const Vectors v = load_vectors(format);
    const std::int64_t cols = 2 * format.block_elements;
    std::vector<float> row(static_cast<std::size_t>(cols)), all(v.decoded.size());
    format.decode(v.blocks.data(), v.n_decode, all.data());
    for (std::int64_t r = 0; r < 4; ++r) {
      decode_row(format, v.blocks, r, cols, row.data());
      EXPECT_EQ(std::memcmp(row.data(), all.data() + r * cols, row.size() * 4), 0) << format.name << " row " << r;
    }
    EXPECT_DEATH(decode_row(format, v.blocks, v.n_decode / 2, cols, row.data()), "row beyond the tensor");
    EXPECT_DEATH(decode_row(format, v.blocks, -1, cols, row.data()), "decode_row");
  }
}

}  // namespace
}  // namespace rowmax::engine
