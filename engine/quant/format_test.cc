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

#include "engine/quant/base3.h"

namespace rowmax::engine {
namespace {

// What tools/make_quant_vectors.py wrote: two tensors [rows, cols], one to decode and one to encode.
struct Vectors {
  std::uint32_t n_decode = 0, n_encode = 0, cols = 0, decode_bytes = 0, encode_bytes = 0;
  std::vector<std::byte> tensor, encoded;
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
  read(&v, 20);
  v.tensor.resize(v.decode_bytes);
  v.decoded.resize(std::size_t{v.n_decode} * v.cols);
  v.values.resize(std::size_t{v.n_encode} * v.cols);
  v.encoded.resize(v.encode_bytes);
  read(v.tensor.data(), v.tensor.size());
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

TEST_P(EveryFormat, DecodesLikeTheStoredOracle) {
  const FormatInfo& format = *GetParam();
  const Vectors v = load_vectors(format);
  ASSERT_EQ(format_tensor_bytes(format, v.n_decode, v.cols), static_cast<std::int64_t>(v.decode_bytes));
  ASSERT_GE(v.n_decode, 4u);
  // One byte further, so that no alignment is relied upon.
  std::vector<std::byte> shifted(v.tensor.size() + 1);
  std::memcpy(shifted.data() + 1, v.tensor.data(), v.tensor.size());
  std::vector<float> found(v.decoded.size());
  format.decode({shifted.data() + 1, v.n_decode, v.cols}, 0, v.n_decode, found.data());
  for (std::size_t i = 0; i < found.size(); ++i) {
    std::uint32_t a = 0, b = 0;
    std::memcpy(&a, &found[i], 4);
    std::memcpy(&b, &v.decoded[i], 4);
    if (std::isnan(found[i]) && std::isnan(v.decoded[i])) continue;
    ASSERT_EQ(a, b) << "row " << i / v.cols << " element " << i % v.cols << ": " << found[i] << " for " << v.decoded[i];
  }
}

TEST_P(EveryFormat, EncodesLikeTheStoredOracle) {
  const FormatInfo& format = *GetParam();
  const Vectors v = load_vectors(format);
  if (v.n_encode == 0) return;
  std::vector<std::byte> found(v.encoded.size());
  ASSERT_EQ(format_tensor_bytes(format, v.n_encode, v.cols), static_cast<std::int64_t>(v.encode_bytes));
  encode_tensor(format, v.values.data(), v.n_encode, v.cols, found.data());
  for (std::size_t i = 0; i < found.size(); ++i) ASSERT_EQ(found[i], v.encoded[i]) << "byte " << i;
}

// values: a tensor of whole groups of rows.
std::vector<float> round_trip(const FormatInfo& format, const std::vector<float>& values, std::int64_t cols) {
  const std::int64_t rows = std::ssize(values) / cols;
  std::vector<std::byte> bytes(static_cast<std::size_t>(format_tensor_bytes(format, rows, cols)) + 1, std::byte{0xA5});
  encode_tensor(format, values.data(), rows, cols, bytes.data());
  EXPECT_EQ(bytes.back(), std::byte{0xA5});
  std::vector<float> back(values.size());
  format.decode({bytes.data(), rows, cols}, 0, rows, back.data());
  return back;
}

// Root mean square of the round trip's error, relative to that of the values.
double relative_error(const FormatInfo& format, const std::vector<float>& values, std::int64_t cols) {
  const std::vector<float> back = round_trip(format, values, cols);
  double error = 0, size = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    error += std::pow(static_cast<double>(back[i]) - static_cast<double>(values[i]), 2);
    size += std::pow(static_cast<double>(values[i]), 2);
  }
  return std::sqrt(error / size);
}

// What a format can hold. normal: the error for normal values. For codes of n levels over the range R of a group it is
// R / n / sqrt(12), with R about 4.1 standard deviations for 32 normal values and 3.5 for 16, and a fifth more; ternary
// formats take the largest magnitude of a block (or row, or tensor) for their scale, and lose most of what is normal.
constexpr double kAny = std::numeric_limits<double>::infinity();
struct Quality {
  std::string_view format;
  double normal;
  bool ternary = false;         // keeps -m, 0 and m of one m exactly as far as m is a half
  bool binary = false;          // keeps -m and m
  double constant = 1.0 / 120;  // the largest error of a constant; kAny: the format has none
};
constexpr Quality kQualities[] = {
    {"F32", 0.0},
    {"F16", 0x1p-12},
    {"BF16", 0x1p-9},
    {"Q8_0", 0.0056},
    {"Q2_K", 0.30},
    {"Q3_K", 0.152},
    {"IQ4_NL", 0.092},
    {"IQ4_XS", 0.092},
    {"Q6_K", 0.020},
    {"Q5_K", 0.046},
    {"Q5_1", 0.046},
    {"Q5_0", 0.046},
    {"Q4_K", 0.092},
    {"Q4_1", 0.092},
    {"Q4_0", 0.092},
    {"TQ1_0", 1.0, true},
    {"TQ2_0", 1.0, true},
    {"I2_S", 1.0, true},
    {"I2_S_64", 1.0, true},
    {"I2_S_ROW4", 1.0, true},
    {"IQ1_BN", 1.0, true},
    {"IQ2_BN", 1.0, true},
    {"IQ2_BN_R4", 1.0, true},
    {"Q1_0", 0.62, false, true},
    {"Q2_0", 1.0, true},
    {"Q2_0_128", 1.0, true},
    {"PQ2_0", 1.0, true},
    {"PTQ1_0", 1.0, true},
    // Four even levels and no zero: a tenth more than the best of them (0.345), with a scale for 512.
    {"Q2_0C", 0.38, false, false, kAny},
    {"Q2_0C_41", 0.38, false, false, kAny},
    // Steps of 1/2 below 2, 1 to 4, 2 to 6, and what is above is cut, with the largest of 32 anywhere in 4 .. 8.
    {"MXFP4", 0.14, false, false, 0.25},
    // The same with the largest of 16 at 6 and scales of 3 bits.
    {"NVFP4", 0.105, false, false, 0.25},
    // One zero in four, no more and no fewer, the others at the largest of 256, which is 2.8 standard deviations.
    {"STQ1_0", 2.1, false, false, kAny},
    {"STQ1_0_42", 2.1, false, false, kAny},
    // A tenth more than the best one, two and three bits for each normal number by itself: 0.603, 0.343 and 0.186 (Max,
    // Quantizing for Minimum Distortion, 1960).
    {"IQ1_S", 0.66, false, false, kAny},
    {"IQ1_M", 0.66, false, false, kAny},
    {"IQ2_XXS", 0.377, false, false, kAny},
    {"IQ2_XS", 0.377, false, false, kAny},
    {"IQ2_S", 0.377, false, false, kAny},
    {"IQ3_XXS", 0.205, false, false, kAny},
    {"IQ3_S", 0.205, false, false, kAny},
};
const Quality& quality_of(const FormatInfo& format) {
  const auto* found = std::ranges::find(kQualities, std::string_view(format.name), &Quality::format);
  EXPECT_NE(found, std::end(kQualities)) << format.name << " needs a row in kQualities";
  return *found;
}

TEST_P(EveryFormat, RoundTripIsAsGoodAsItsBitsAllow) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 0.1f);
  std::vector<float> values(256 * 64);
  for (float& value : values) value = normal(random);
  const std::int64_t cols = std::max<std::int64_t>(256, GetParam()->block_elements);
  const double relative = relative_error(*GetParam(), values, cols), bound = quality_of(*GetParam()).normal;
  EXPECT_LE(relative, bound);
  EXPECT_GE(relative, bound / 4) << "the bound has become meaningless";
}

TEST_P(EveryFormat, TernaryWeightsSurvive) {
  const Quality& quality = quality_of(*GetParam());
  if (!quality.ternary && !quality.binary) return;
  std::mt19937 random(2);
  std::vector<float> values(256 * 8);
  for (float& value : values) {
    const int level = quality.binary ? static_cast<int>(random() % 2) * 2 - 1 : static_cast<int>(random() % 3) - 1;
    value = static_cast<float>(level) * 0.0478515625f;  // a half
  }
  EXPECT_EQ(round_trip(*GetParam(), values, 256), values);
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
      std::vector<float> values(static_cast<std::size_t>(format.block_elements * format.row_group), value);
      for (std::size_t i = 1; i < values.size(); i += 3) values[i] = other;
      const std::vector<float> back = round_trip(format, values, format.block_elements);
      if (value == 0.0f && other == 0.0f) {
        EXPECT_EQ(std::ranges::count(back, 0.0f), std::ssize(back));
      }
    }
  }
}

TEST_P(EveryFormat, EncodesConstantsAndSingleOutliers) {
  const FormatInfo& format = *GetParam();
  for (const float value : {1.0f, -1.0f, 0.375f, -0.02f, 100.0f}) {
    for (const bool single : {false, true}) {
      if (single && quality_of(format).binary) continue;  // has no 0
      std::vector<float> values(static_cast<std::size_t>(format.block_elements * format.row_group),
                                single ? 0.0f : value);
      values.back() = value;
      const std::vector<float> back = round_trip(format, values, format.block_elements);
      for (std::size_t i = 0; i < values.size(); ++i) {
        EXPECT_NEAR(back[i], values[i], std::fabs(value) * quality_of(format).constant)
            << "element " << i << " of " << value << (single ? ", alone" : "");
      }
    }
  }
}

// Rows alone, in any order and grouping, give what the whole tensor gives.
TEST_P(EveryFormat, RowsAreTheTensors) {
  const FormatInfo& format = *GetParam();
  const std::int64_t rows = 8, cols = 2 * format.block_elements;
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0.0f, 0.1f);
  std::vector<float> values(static_cast<std::size_t>(rows * cols)), whole(values.size()), row(values.size());
  for (float& value : values) value = normal(random);
  std::vector<std::byte> tensor(static_cast<std::size_t>(format_tensor_bytes(format, rows, cols)));
  std::vector<std::byte> pieces(tensor.size(), std::byte{0x5A});
  encode_tensor(format, values.data(), rows, cols, tensor.data());
  const float scale = format.tensor_scale != nullptr ? format.tensor_scale(values.data(), rows * cols) : 0.0f;
  for (std::int64_t r = rows - 4; r >= 0; r -= 4) {
    format.encode(values.data() + r * cols, {pieces.data(), rows, cols, scale}, r, 4);
  }
  EXPECT_EQ(pieces, tensor);
  format.decode({tensor.data(), rows, cols}, 0, rows, whole.data());
  for (std::int64_t r = 0; r < rows; ++r) {
    decode_row(format, tensor, r, cols, row.data());
    EXPECT_EQ(std::memcmp(row.data(), whole.data() + r * cols, static_cast<std::size_t>(cols) * 4), 0) << "row " << r;
  }
  EXPECT_EQ(format.find_invalid({tensor.data(), rows, cols}, 0, rows).row, -1);
  EXPECT_DEATH(decode_row(format, tensor, rows, cols, row.data()), "row beyond the tensor");
  EXPECT_DEATH(decode_row(format, tensor, -1, cols, row.data()), "decode_row");
}

TEST_P(EveryFormat, FindsScalesThatAreNotFinite) {
  const FormatInfo& format = *GetParam();
  const std::int64_t rows = 8, cols = 2 * format.block_elements;
  std::vector<float> values(static_cast<std::size_t>(rows * cols), 0.5f);
  std::vector<std::byte> tensor(static_cast<std::size_t>(format_tensor_bytes(format, rows, cols)));
  encode_tensor(format, values.data(), rows, cols, tensor.data());
  const TensorView view{tensor.data(), rows, cols};
  EXPECT_EQ(format.find_invalid(view, 0, rows).row, -1);
  // All bits of one row's (or row group's) bytes, or of the tail, set: NaN wherever a float or half lies.
  const std::int64_t row_bytes = format_row_bytes(format, cols);
  if (format.tail_bytes > 0) {
    std::memset(tensor.data() + rows * row_bytes, 0xFF, 4);
    EXPECT_EQ(format.find_invalid(view, 4, 4).row, 4);
    EXPECT_EQ(format.find_invalid(view, 4, 4).block, -1);
  } else {
    std::memset(tensor.data() + 4 * row_bytes, 0xFF, static_cast<std::size_t>(format.row_group * row_bytes));
    EXPECT_EQ(format.find_invalid(view, 0, rows).row, 4);
    EXPECT_EQ(format.find_invalid(view, 4, 4).row, 4);
    EXPECT_EQ(format.find_invalid(view, 0, 4).row, -1);
  }
}

// Float formats are looked through many numbers at a time: each kind of number at each place, beside the largest finite
// ones, in rows that are no whole number of steps, and the first of two.
TEST(FloatFormats, FindTheFirstNumberThatIsNotFiniteWhereverItIs) {
  for (const char* name : {"F32", "F16", "BF16"}) {
    const FormatInfo& format = *find_format(std::string_view(name));
    const int size = static_cast<int>(format.block_bytes), mantissa = name == std::string("F16")   ? 10
                                                                      : name == std::string("F32") ? 23
                                                                                                   : 7;
    const std::uint32_t sign = 1u << (8 * size - 1), infinity = sign - (1u << mantissa), largest = infinity - 1;
    const std::uint32_t not_finite[] = {infinity, infinity | sign,   infinity + 1,
                                        sign - 1, (sign - 1) | sign, infinity | 1u << (mantissa - 1)};
    const std::uint32_t finite[] = {largest, largest | sign, 0, sign, 1, infinity - (1u << mantissa), infinity >> 1};
    for (const std::int64_t cols : {1, 3, 64, 127, 129, 300}) {
      const std::int64_t rows = 3;
      std::vector<std::byte> bytes(static_cast<std::size_t>(rows * cols * size) + 1);
      std::byte* tensor = bytes.data() + 1;  // no alignment is relied upon
      const auto put = [&](std::int64_t at, std::uint32_t bits) {
        std::memcpy(tensor + at * size, &bits, static_cast<std::size_t>(size));
      };
      const auto found = [&](std::int64_t row, std::int64_t n) {
        const InvalidWeight invalid = format.find_invalid({tensor, rows, cols}, row, n);
        return invalid.row < 0 ? -1 : invalid.row * cols + invalid.block;
      };
      for (const std::uint32_t other : finite) {
        for (std::int64_t i = 0; i < rows * cols; ++i) put(i, other);
        ASSERT_EQ(found(0, rows), -1) << name << " " << std::hex << other;
        for (std::int64_t at = 0; at < rows * cols; ++at) {
          for (const std::uint32_t bad : not_finite) {
            put(at, bad);
            ASSERT_EQ(found(0, rows), at) << name << " cols " << cols << std::hex << " " << bad << " beside " << other;
          }
          ASSERT_EQ(found(at / cols, 1), at);
          put(at, other);
        }
        put(rows * cols - 1, infinity);
        put(rows * cols / 2, infinity);
        ASSERT_EQ(found(0, rows), rows * cols / 2);
      }
    }
  }
}

// Every half, against what it decodes to.
TEST(FloatFormats, EveryHalfIsFoundOrNot) {
  for (const char* name : {"F16", "BF16"}) {
    const FormatInfo& format = *find_format(std::string_view(name));
    std::vector<std::uint16_t> row(512, 0xFFFF);
    for (unsigned bits = 0; bits < 65536; ++bits) {
      std::fill(row.begin(), row.begin() + 256, static_cast<std::uint16_t>(bits));
      const auto* bytes = reinterpret_cast<const std::byte*>(row.data());
      float value = 0;
      decode_row(format, {bytes, 2}, 0, 1, &value);
      ASSERT_EQ(format.find_invalid({bytes, 1, 512}, 0, 1).block, std::isfinite(value) ? 256 : 0) << name << bits;
    }
  }
}

TEST(FormatTable, IsConsistent) {
  std::set<std::string> names;
  std::int64_t last = -1;
  for (const FormatInfo& format : formats()) {
    EXPECT_GE(static_cast<std::int64_t>(format.id), last) << "in order of id";
    if (static_cast<std::int64_t>(format.id) != last) {
      EXPECT_EQ(find_format(format.id), &format);
      EXPECT_FALSE(format.only_by_name) << "the first of an id must be what the id stands for";
    }
    last = format.id;
    EXPECT_TRUE(names.insert(format.name).second) << format.name;
    EXPECT_GT(format.block_elements, 0);
    EXPECT_GT(format.block_bytes, 0);
    EXPECT_NE(format.decode, nullptr);
    EXPECT_NE(format.encode, nullptr);
    EXPECT_EQ(find_format(std::string_view(format.name)), &format);
    EXPECT_EQ(format_row_bytes(format, 3 * format.block_elements), format.row_head_bytes + 3 * format.block_bytes);
    EXPECT_EQ(format.tensor_scale != nullptr, format.tail_bytes > 0);
    std::ptrdiff_t same = 0;
    for (const FormatInfo& other : formats_of(format.id)) same += &other == &format;
    EXPECT_EQ(same, 1);
  }
  EXPECT_EQ(formats().size(), std::size(kQualities));
  EXPECT_EQ(formats_of(42).size(), 3u);
  EXPECT_EQ(formats_of(40).size(), 2u);
  EXPECT_EQ(formats_of(41).size(), 2u);
  EXPECT_EQ(formats_of(36).size(), 3u);
  EXPECT_TRUE(formats_of(4).empty());
  EXPECT_EQ(find_format(4u), nullptr);
  EXPECT_EQ(find_format(0xFFFFFFFFu), nullptr);
  EXPECT_EQ(find_format(std::string_view("q4_1")), nullptr);
  EXPECT_EQ(find_format(std::string_view("")), nullptr);
}

// OCP Microscaling Formats 1.0, 5.2.3 and 5.4.1: 2^(e - 127) times FP4, and 255 is NaN (which gguf reads as a number).
TEST(Mxfp4, IsWhatItsSpecificationSays) {
  const FormatInfo& format = *find_format("MXFP4");
  const float fp4[] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};
  std::vector<std::byte> block(17);
  std::vector<float> row(32);
  for (int e = 0; e < 256; ++e) {
    block[0] = std::byte(e);
    for (int j = 0; j < 16; ++j) block[static_cast<std::size_t>(1 + j)] = std::byte(j | (15 - j) << 4);
    decode_row(format, block, 0, 32, row.data());
    EXPECT_EQ(format.find_invalid({block.data(), 1, 32}, 0, 1).row, e >= 253 ? 0 : -1);
    for (int i = 0; i < 32; ++i) {
      const int code = i < 16 ? i : 31 - i;
      const float value = row[static_cast<std::size_t>(i)];
      if (e == 255) {
        EXPECT_TRUE(std::isnan(value));
      } else {
        EXPECT_EQ(static_cast<double>(value), std::ldexp(code < 8 ? fp4[code] : -fp4[code - 8], e - 127)) << e;
      }
    }
  }
}

// A block is refused where a weight of it would be infinite, and nowhere else: each code in each place with every scale.
TEST(Mxfp4, BlocksWithInfiniteWeightsAreFound) {
  const FormatInfo& format = *find_format("MXFP4");
  std::vector<std::byte> block(17);
  std::vector<float> row(32);
  for (int e = 0; e < 256; ++e) {
    block[0] = std::byte(e);
    for (int code = 0; code < 16; ++code) {
      for (int j = 0; j < 32; ++j) {
        std::fill(block.begin() + 1, block.end(), std::byte{0});
        block[static_cast<std::size_t>(1 + j % 16)] = std::byte(j < 16 ? code : code << 4);
        decode_row(format, block, 0, 32, row.data());
        const bool finite = std::ranges::all_of(row, [](float value) { return std::isfinite(value); });
        ASSERT_EQ(format.find_invalid({block.data(), 1, 32}, 0, 1).row, finite ? -1 : 0)
            << e << " " << code << " " << j;
      }
    }
  }
}

// The bytes that the format's description gives for hand-made blocks.
TEST(I2S, TestVectorsOfItsDescription) {
  const FormatInfo& format = *find_format("I2_S");
  const auto bytes_of = [&](auto weight) {
    std::vector<float> values(128);
    for (int e = 0; e < 128; ++e) values[static_cast<std::size_t>(e)] = static_cast<float>(weight(e));
    std::vector<std::byte> tensor(64);
    encode_tensor(format, values.data(), 1, 128, tensor.data());
    std::vector<float> back(128);
    format.decode({tensor.data(), 1, 128}, 0, 1, back.data());
    EXPECT_EQ(back, values);
    return tensor;
  };
  const auto all_are = [](const std::vector<std::byte>& tensor, int byte) {
    return std::all_of(tensor.begin(), tensor.begin() + 32, [&](std::byte b) { return b == std::byte(byte); });
  };
  EXPECT_TRUE(all_are(bytes_of([](int) { return 0; }), 0x55));
  EXPECT_TRUE(all_are(bytes_of([](int) { return 1; }), 0xAA));
  EXPECT_TRUE(all_are(bytes_of([](int) { return -1; }), 0x00));
  EXPECT_TRUE(all_are(bytes_of([](int e) { return e < 32 ? 1 : e < 64 ? 0 : e < 96 ? -1 : 1; }), 0x92));
  const auto one = bytes_of([](int e) { return e == 37; });
  for (int p = 0; p < 32; ++p) EXPECT_EQ(one[static_cast<std::size_t>(p)], std::byte(p == 5 ? 0x65 : 0x55));
}

TEST(I2S, ScaleIsBehindTheCodesAndTheRestOfTheTailIsIgnored) {
  const FormatInfo& format = *find_format("I2_S");
  std::vector<std::byte> tensor(2 * 32 + 32, std::byte{0xA5});  // codes 2, 2, 1, 1
  const float scale = 0.25f;
  std::memcpy(tensor.data() + 64, &scale, 4);
  std::vector<float> row(128);
  decode_row(format, tensor, 1, 128, row.data());
  for (int e = 0; e < 128; ++e) EXPECT_EQ(row[static_cast<std::size_t>(e)], e < 64 ? 0.25f : 0.0f);
  EXPECT_EQ(format.find_invalid({tensor.data(), 2, 128}, 0, 2).row, -1);
}

TEST(I2S, RefusesCode3AndScalesThatAreNotAbove0) {
  for (const char* name : {"I2_S", "I2_S_64", "I2_S_ROW4"}) {
    const FormatInfo& format = *find_format(std::string_view(name));
    std::vector<std::byte> tensor(static_cast<std::size_t>(format_tensor_bytes(format, 8, 384)), std::byte{0x55});
    const TensorView view{tensor.data(), 8, 384};
    const std::size_t scale_at = 8 * 384 / 4;
    const auto found = [&](float scale) {
      std::memcpy(tensor.data() + scale_at, &scale, 4);
      const InvalidWeight invalid = format.find_invalid(view, 0, 8);
      return invalid.row < 0 ? std::string() : std::string(invalid.expected) + ", " + invalid.found;
    };
    EXPECT_EQ(found(0.5f), "");
    EXPECT_EQ(found(0.0f), "a scale above 0, 0");
    EXPECT_EQ(found(-0.5f), "a scale above 0, one below 0");
    EXPECT_EQ(found(std::numeric_limits<float>::infinity()), "a finite scale, NaN or infinity");
    EXPECT_EQ(found(std::numeric_limits<float>::quiet_NaN()), "a finite scale, NaN or infinity");
    for (const int pair : {0x03, 0x0C, 0x30, 0xC0}) {
      for (const std::size_t at : {std::size_t{0}, std::size_t{95}, std::size_t{333}, scale_at - 1}) {
        tensor[at] = std::byte(0x55 | pair);
        EXPECT_EQ(found(1.0f), "codes 0, 1 and 2, code 3") << name << " byte " << at;
        tensor[at] = std::byte{0x55};
      }
    }
    EXPECT_EQ(found(1.0f), "");
  }
}

// The three layouts hold the same weights in different places: each reads the others as a permutation.
TEST(I2S, LayoutsDiffer) {
  std::vector<float> values(4 * 256);
  std::mt19937 random(4);
  for (float& value : values) value = static_cast<float>(static_cast<int>(random() % 3) - 1);
  std::set<std::vector<std::byte>> encodings;
  for (const char* name : {"I2_S", "I2_S_64", "I2_S_ROW4"}) {
    const FormatInfo& format = *find_format(std::string_view(name));
    std::vector<std::byte> tensor(static_cast<std::size_t>(format_tensor_bytes(format, 4, 256)));
    encode_tensor(format, values.data(), 4, 256, tensor.data());
    encodings.insert(tensor);
  }
  EXPECT_EQ(encodings.size(), 3u);
}

// Code 3 is +2d in the formats that ggml and PrismML define so.
TEST(Q20, Code3IsTwice) {
  for (const char* name : {"Q2_0", "Q2_0_128", "PQ2_0"}) {
    const FormatInfo& format = *find_format(std::string_view(name));
    std::vector<std::byte> block(static_cast<std::size_t>(format.block_bytes), std::byte{0xE4});  // 0, 1, 2, 3
    const std::uint16_t half = 0x3800;                                                            // 0.5
    std::memcpy(block.data(), &half, 2);
    std::vector<float> row(static_cast<std::size_t>(format.block_elements));
    decode_row(format, block, 0, format.block_elements, row.data());
    for (std::size_t i = 0; i < row.size(); ++i) EXPECT_EQ(row[i], (static_cast<float>(i % 4) - 1.0f) * 0.5f);
    EXPECT_EQ(format.find_invalid({block.data(), 1, format.block_elements}, 0, 1).row, -1);
  }
}

// The published table: codes 0 to 3 are -3, -1, 1 and 3 times the scale, four a byte, the lowest bits first.
TEST(Q20C, LevelsAreOdd) {
  for (const char* name : {"Q2_0C", "Q2_0C_41"}) {
    const FormatInfo& format = *find_format(std::string_view(name));
    std::vector<std::byte> block(130, std::byte{0xE4});  // 0, 1, 2, 3
    std::vector<float> row(512);
    const auto set_scale = [&](std::uint16_t half) {
      std::memcpy(block.data(), &half, 2);
      decode_row(format, block, 0, 512, row.data());
      return format.find_invalid({block.data(), 1, 512}, 0, 1);
    };
    for (const auto& [half, d] : {std::pair{0x3800, 0.5f}, std::pair{0xB800, -0.5f}, std::pair{0x77FF, 32752.0f},
                                  std::pair{0x0001, 0x1p-24f}}) {
      EXPECT_EQ(set_scale(static_cast<std::uint16_t>(half)).row, -1);
      for (std::size_t i = 0; i < row.size(); ++i) EXPECT_EQ(row[i], (2 * static_cast<float>(i % 4) - 3) * d);
    }
    for (const int half : {0x7800, 0x7BFF, 0xF800, 0x7C00, 0x7E00}) {  // twice these is no half
      const InvalidWeight found = set_scale(static_cast<std::uint16_t>(half));
      EXPECT_EQ(found.row, 0);
      EXPECT_STREQ(found.expected, "a scale of at most 32752");
    }
  }
}

// base3_digit is the definition; bytes are read eight at a time, in tails of all the lengths that formats have.
TEST(Base3, ManyBytesAreReadAsOneIs) {
  for (const int n_bytes : {2, 4, 8, 16, 32}) {
    for (int first = 0; first < 256; first += n_bytes) {
      std::vector<std::uint8_t> bytes, codes(static_cast<std::size_t>(5 * n_bytes + 1), 0xAA);
      for (int m = 0; m < n_bytes; ++m) bytes.push_back(static_cast<std::uint8_t>(first + m));
      for (const int n_digits : {4, 5}) {
        quant::read_base3(bytes.data(), n_bytes, n_digits, codes.data());
        for (int at = 0; at < n_digits * n_bytes; ++at) {
          EXPECT_EQ(codes[static_cast<std::size_t>(at)],
                    quant::base3_digit(bytes[static_cast<std::size_t>(at % n_bytes)], at / n_bytes))
              << n_bytes << " bytes from " << first << ", code " << at;
        }
      }
      EXPECT_EQ(codes.back(), 0xAA);
    }
  }
}

}  // namespace
}  // namespace rowmax::engine
