// Scales of ternary tensors, counted as they lie in the file: each format's own encoder writes known ones, and single
// scales are then overwritten at the places that the formats' descriptions give.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "engine/quant/format.h"
#include "rowmax/engine/gguf.h"

namespace rowmax::engine {
namespace {

constexpr std::int64_t kRows = 4, kCols = 512;

// Row r holds -m, 0 and m with m = (r + 1) / 4 (one m of a quarter where the tensor has one scale).
struct Tensor {
  explicit Tensor(const char* name) : format(find_format(name)) {
    const bool one = format->tail_bytes > 0;
    std::vector<float> values;
    for (std::int64_t i = 0; i < kRows * kCols; ++i) {
      const float m = one ? 0.25f : static_cast<float>(i / kCols + 1) * 0.25f;
      values.push_back(m * static_cast<float>(i % 3 - 1));
    }
    bytes.resize(static_cast<std::size_t>(format_tensor_bytes(*format, kRows, kCols)));
    encode_tensor(*format, values.data(), kRows, kCols, bytes.data());
  }
  void put(std::size_t at, std::uint16_t half) { std::memcpy(bytes.data() + at, &half, sizeof half); }
  void put(std::size_t at, float single) { std::memcpy(bytes.data() + at, &single, sizeof single); }
  std::optional<GgufScales> scales() const {
    GgufTensor tensor;
    tensor.format = format;
    tensor.shape = {kCols, kRows};
    tensor.data = bytes;
    return ternary_scales(tensor);
  }
  const FormatInfo* format;
  std::vector<std::byte> bytes;
};

TEST(TernaryScales, AreThoseThatWereWritten) {
  struct Case {
    const char* name;
    std::int64_t n;
    float max;
  };
  for (const Case c :
       {Case{"TQ1_0", 8, 1}, Case{"TQ2_0", 8, 1}, Case{"Q2_0", 32, 1}, Case{"Q2_0_128", 16, 1}, Case{"PQ2_0", 16, 1},
        Case{"PTQ1_0", 16, 1}, Case{"I2_S", 1, 0.25f}, Case{"I2_S_64", 1, 0.25f}, Case{"I2_S_ROW4", 1, 0.25f},
        Case{"IQ1_BN", 4, 1}, Case{"IQ2_BN", 4, 1}, Case{"IQ2_BN_R4", 4, 1}}) {
    const auto scales = Tensor(c.name).scales();
    ASSERT_TRUE(scales.has_value()) << c.name;
    EXPECT_EQ(scales->n, c.n) << c.name;
    EXPECT_EQ(scales->min, 0.25f) << c.name;
    EXPECT_EQ(scales->max, c.max) << c.name;
    EXPECT_EQ(scales->n_zero + scales->n_subnormal + scales->n_negative + scales->n_non_finite, 0) << c.name;
  }
  for (const char* name : {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K", "Q6_K"}) {
    EXPECT_FALSE(Tensor(name).scales().has_value()) << name;
  }
}

// Each of these is a scale that a reader might be tempted to clamp.
TEST(TernaryScales, ThatAreNoGoodAreCounted) {
  struct Kind {
    float single;
    std::uint16_t half;
    std::int64_t GgufScales::*count;
  };
  const Kind kinds[] = {{0.0f, 0x0000, &GgufScales::n_zero},
                        {-0.0f, 0x8000, &GgufScales::n_zero},
                        {1e-40f, 0x03FF, &GgufScales::n_subnormal},
                        {-2.0f, 0xC000, &GgufScales::n_negative},
                        {std::numeric_limits<float>::infinity(), 0x7C00, &GgufScales::n_non_finite},
                        {std::numeric_limits<float>::quiet_NaN(), 0x7E00, &GgufScales::n_non_finite}};
  // Where the third block's (or row's) scale lies.
  struct Place {
    const char* name;
    std::size_t at;
    bool half;
  };
  const Place places[] = {{"TQ2_0", 2 * 66 + 64, true},
                          {"TQ1_0", 2 * 54 + 52, true},
                          {"Q2_0", 2 * 18, true},
                          {"PTQ1_0", 2 * 28 + 26, true},
                          {"I2_S", kRows * kCols / 4, false},
                          {"IQ2_BN", 2 * (4 + kCols / 4), false},
                          {"IQ1_BN", 2 * (2 + kCols / 64 * 13), true}};
  for (const Place& place : places) {
    for (const Kind& kind : kinds) {
      Tensor tensor(place.name);
      place.half ? tensor.put(place.at, kind.half) : tensor.put(place.at, kind.single);
      const auto scales = tensor.scales();
      ASSERT_TRUE(scales.has_value());
      for (const auto count :
           {&GgufScales::n_zero, &GgufScales::n_subnormal, &GgufScales::n_negative, &GgufScales::n_non_finite}) {
        EXPECT_EQ((*scales).*count, count == kind.count ? 1 : 0) << place.name << " with " << kind.single;
      }
      EXPECT_EQ(scales->n, Tensor(place.name).scales()->n);
      EXPECT_TRUE(std::isfinite(scales->max));
    }
  }
  // The smallest normal half is normal.
  Tensor tensor("TQ2_0");
  tensor.put(2 * 66 + 64, std::uint16_t{0x0400});
  EXPECT_EQ(tensor.scales()->n_subnormal, 0);
  EXPECT_EQ(tensor.scales()->min, 0x1p-14f);
}

}  // namespace
}  // namespace rowmax::engine
