#include "engine/ops/matmul/matmul.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "base/cpu_features.h"
#include "engine/ops/matmul/kernel_tables.h"
#include "engine/ops/matmul/matmul_test_util.h"

namespace rowmax::engine {
#if defined(__x86_64__)
namespace panel {
const Kernels& kernels_avxvnni_model() noexcept;  // vnni_model_avx2_test.cc
}
#endif
namespace {

using matmul_test::Shape;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::uint32_t kPoison = 0x7FA12345;  // a NaN that no computation gives

std::vector<std::uint32_t> bits_of(const std::vector<float>& y) {
  std::vector<std::uint32_t> bits(y.size());
  std::memcpy(bits.data(), y.data(), y.size() * 4);
  for (std::uint32_t& word : bits) {
    if ((word & 0x7FFFFFFF) > 0x7F800000) word = 0x7FC00000;
  }
  return bits;
}

#if defined(__x86_64__)
// AMX for all that it can compute, also where another table is faster.
const panel::Kernels& kernels_amx_wherever_possible() noexcept {
  static const panel::Kernels kernels = [] {
    panel::Kernels all = panel::kernels_amx();
    for (panel::PanelKernels& row : all.panels) row.min_tokens = panel::kTokenStep + 1;
    return all;
  }();
  return kernels;
}
#endif

std::vector<panel::KernelTable> supported_tables() {
  std::vector<panel::KernelTable> tables;
  for (const panel::KernelTable& table : panel::kernel_tables()) {
    if (table.supported()) tables.push_back(table);
  }
#if defined(__x86_64__)
  static constexpr panel::KernelTable kModel = {"avxvnni in AVX2", Isa::kAvx2, "AVX2", &panel::kernels_avxvnni_model,
                                                []() noexcept { return isa_supported(Isa::kAvx2); }};
  static constexpr panel::KernelTable kAmx = {"amx from 5 tokens on", Isa::kAvx512, "AMX",
                                              &kernels_amx_wherever_possible, &base::has_amx};
  if (kModel.supported()) tables.insert(tables.begin() + 1, kModel);  // the last one is what is used
  if (kAmx.supported()) tables.insert(tables.end() - 1, kAmx);
#endif
  return tables;
}

Executor& serial() {
  static SerialExecutor executor;
  return executor;
}

PackedMatrix packed(const FormatInfo& format, const std::vector<std::byte>& tensor, std::int64_t rows,
                    std::int64_t cols) {
  auto result = pack(format, tensor, rows, cols, serial());
  EXPECT_TRUE(result.ok()) << result.error().message;
  return std::move(result).value();
}

// y [n_tok][rows] as bits, from a padded and poisoned output whose padding must stay untouched.
std::vector<std::uint32_t> run(const std::vector<const PackedMatrix*>& matrices, const std::vector<float>& x,
                               std::int64_t ldx, std::int64_t n_tok, Activations activations,
                               const panel::KernelTable& table, Executor& executor) {
  constexpr std::int64_t kPad = 3;
  std::vector<std::vector<std::uint32_t>> outputs;
  std::vector<MatmulTerm> terms;
  for (const PackedMatrix* matrix : matrices) {
    outputs.emplace_back(static_cast<std::size_t>(n_tok * (matrix->rows() + kPad)), kPoison);
    terms.push_back({matrix, reinterpret_cast<float*>(outputs.back().data()), matrix->rows() + kPad});
  }
  const std::size_t n_bytes = matmul_workspace_bytes(n_tok, matrices[0]->cols());
  auto workspace = base::Buffer::allocate(n_bytes);
  std::memset(workspace->data(), 0xA5, n_bytes);
  matmul(terms, x.data(), ldx, n_tok, activations, {workspace->data(), n_bytes}, table.kernels(), executor);
  std::vector<std::uint32_t> all;
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    for (std::int64_t t = 0; t < n_tok; ++t) {
      const auto row = outputs[i].begin() + t * (matrices[i]->rows() + kPad);
      all.insert(all.end(), row, row + matrices[i]->rows());
      for (std::int64_t j = 0; j < kPad; ++j) EXPECT_EQ(row[matrices[i]->rows() + j], kPoison) << "padding of y";
    }
  }
  return all;
}

std::vector<float> decoded(const FormatInfo& format, const std::vector<std::byte>& tensor, std::int64_t rows,
                           std::int64_t cols) {
  std::vector<float> weights(static_cast<std::size_t>(rows * cols));
  format.decode({tensor.data(), rows, cols}, 0, rows, weights.data());
  return weights;
}

std::vector<std::uint32_t> reference(const FormatInfo& format, const std::vector<std::byte>& tensor, const Shape& shape,
                                     const std::vector<float>& x, std::int64_t ldx, Activations activations) {
  const auto read = matmul_test::integer_reader(format.name);
  if (activations == Activations::kInt8 && read != nullptr) {
    const auto weights = read(tensor, shape.rows, shape.cols);
    return bits_of(weights.by_token ? token_reference(weights, shape, x.data(), ldx)
                                    : int8_reference(weights, shape, x.data(), ldx));
  }
  return bits_of(f32_reference(decoded(format, tensor, shape.rows, shape.cols), shape, x.data(), ldx));
}

std::int64_t whole_groups(const FormatInfo& format, std::int64_t rows) {
  return (rows + format.row_group - 1) / format.row_group * format.row_group;
}

// Position of the first difference, for a message.
std::string difference(const std::vector<std::uint32_t>& found, const std::vector<std::uint32_t>& expected) {
  if (found.size() != expected.size()) return "sizes differ";
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i] == expected[i]) continue;
    float a, b;
    std::memcpy(&a, &found[i], 4);
    std::memcpy(&b, &expected[i], 4);
    return "index " + std::to_string(i) + ": found " + std::to_string(a) + ", expected " + std::to_string(b);
  }
  return "";
}

class EveryFormat : public testing::TestWithParam<const FormatInfo*> {};
INSTANTIATE_TEST_SUITE_P(Formats, EveryFormat, testing::ValuesIn([] {
                           std::vector<const FormatInfo*> all;
                           for (const FormatInfo& format : formats()) all.push_back(&format);
                           return all;
                         }()),
                         [](const auto& info) { return std::string(info.param->name); });

std::vector<std::int64_t> cols_for(const FormatInfo& format) {
  if (format.block_elements == 512) return {512, 1536};
  if (format.block_elements == 256) return {256, 768, 1536};
  if (format.block_elements == 128) return {128, 384, 1536};
  if (format.block_elements == 64) return {64, 192, 1088};
  if (format.block_elements == 32) return {32, 96, 576, 1536};
  return {1, 31, 257, 576};
}

TEST_P(EveryFormat, EqualsTheDefinitionOnEveryIsa) {
  const FormatInfo& format = *GetParam();
  std::vector<std::int64_t> every_rows{1, 16, 19, 37};
  if (matmul_test::emulated()) every_rows = {1, 19};
  for (const std::int64_t cols : cols_for(format)) {
    for (const std::int64_t n_rows : every_rows) {
      const std::int64_t rows = whole_groups(format, n_rows);
      const auto tensor = matmul_test::random_tensor(format, rows, cols, static_cast<int>(rows + cols));
      const PackedMatrix matrix = packed(format, tensor, rows, cols);
      for (const std::int64_t n_tok : {1, 2, 3, 4, 5, 17, 39, 44}) {
        const std::int64_t ldx = cols + 5;
        const auto x = matmul_test::random_input(n_tok * ldx, static_cast<int>(n_tok));
        for (const Activations activations : {Activations::kInt8, Activations::kF32}) {
          const auto expected = reference(format, tensor, {rows, cols, n_tok}, x, ldx, activations);
          for (const panel::KernelTable& table : supported_tables()) {
            if (table.isa == Isa::kScalar && n_tok > 17 && matmul_test::emulated()) continue;  // as many as 17
            const auto found = run({&matrix}, x, ldx, n_tok, activations, table, serial());
            ASSERT_EQ(difference(found, expected), "")
                << table.name << " rows " << rows << " cols " << cols << " n_tok " << n_tok << " int8 "
                << (activations == Activations::kInt8);
          }
        }
      }
    }
  }
}

// The definition itself against fp64. Exact path: every output is a sum of at most 256 fused steps and cols / 256
// additions, each rounding a partial sum of size at most S = sum |w x| by half an ulp: |error| <= 2^-24 * (256 + cols /
// 256) * S. Integer path: x is off by at most d / 2 (plus the rounding of x * 16256 / m, below 2^-22 * 16256 of d) in
// each element, and the float chain adds 2 roundings a group with each scale rounded once more. With one scale a token
// the same holds with 127 for 16256 and the token's largest magnitude.
TEST_P(EveryFormat, IsCloseToTheFp64Product) {
  const FormatInfo& format = *GetParam();
  const std::int64_t cols = cols_for(format).back(), rows = whole_groups(format, 19), n_tok = 5;
  const auto tensor = matmul_test::random_tensor(format, rows, cols, 1);
  const auto weights = decoded(format, tensor, rows, cols);
  const auto read = matmul_test::integer_reader(format.name);
  const bool by_token = read != nullptr && read(tensor, rows, cols).by_token;
  const auto x = matmul_test::random_input(n_tok * cols, 2);
  const PackedMatrix matrix = packed(format, tensor, rows, cols);
  const auto exact_bits = run({&matrix}, x, cols, n_tok, Activations::kF32, supported_tables().back(), serial());
  const auto int8_bits = run({&matrix}, x, cols, n_tok, Activations::kInt8, supported_tables().back(), serial());
  for (std::int64_t t = 0; t < n_tok; ++t) {
    float most_of_token = 0;
    for (std::int64_t i = 0; i < cols; ++i) {
      most_of_token = std::max(most_of_token, std::fabs(x[static_cast<std::size_t>(t * cols + i)]));
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      double product = 0, size = 0, rounding = 0;
      for (std::int64_t k = 0; k < cols; ++k) {
        const double w = weights[static_cast<std::size_t>(r * cols + k)];
        const double value = x[static_cast<std::size_t>(t * cols + k)];
        product += w * value;
        size += std::fabs(w * value);
        float most = by_token ? most_of_token : 0;
        const std::int64_t first = k / 32 * 32, last = by_token ? first : std::min(first + 32, cols);
        for (std::int64_t i = first; i < last; ++i) {
          most = std::max(most, std::fabs(x[static_cast<std::size_t>(t * cols + i)]));
        }
        rounding += std::fabs(w) * most / (by_token ? 127.0 : 16256.0) * 0.505;
      }
      const auto at = static_cast<std::size_t>(t * rows + r);
      float exact, int8;
      std::memcpy(&exact, &exact_bits[at], 4);
      std::memcpy(&int8, &int8_bits[at], 4);
      const double f32_bound = 0x1p-24 * (256.0 + static_cast<double>(cols) / 256.0) * size + 1e-30;
      EXPECT_NEAR(exact, product, f32_bound);
      // A weight with a minimum is a difference of two larger numbers: 3 roundings of each, a few times `size`.
      EXPECT_NEAR(int8, product, f32_bound + rounding + 0x1p-24 * 8 * static_cast<double>(cols) / 16 * size);
    }
  }
}

TEST_P(EveryFormat, SameBitsForAnyThreadsBatchAndCompany) {
  const FormatInfo& format = *GetParam();
  const std::int64_t cols = format.block_elements > 256 ? 1536 : format.block_elements > 32 ? 1280 : 1312;
  // 251: more than a task takes.
  const std::int64_t n_tok = matmul_test::emulated() ? 43 : 251;
  const std::int64_t rows[] = {whole_groups(format, 37), 16, whole_groups(format, 70)};
  const std::vector<int> every_threads = matmul_test::emulated() ? std::vector{3} : std::vector{1, 2, 3, 7};
  std::vector<PackedMatrix> matrices;
  for (const std::int64_t n : rows) {
    matrices.push_back(packed(format, matmul_test::random_tensor(format, n, cols, static_cast<int>(n)), n, cols));
  }
  const auto x = matmul_test::random_input(n_tok * cols, 3);
  const panel::KernelTable table = supported_tables().back();
  for (const Activations activations : {Activations::kInt8, Activations::kF32}) {
    // Every token alone, every matrix alone, one thread.
    std::vector<std::uint32_t> expected;
    for (const PackedMatrix& matrix : matrices) {
      for (std::int64_t t = 0; t < n_tok; ++t) {
        const std::vector<float> token(x.begin() + t * cols, x.begin() + (t + 1) * cols);
        const auto y = run({&matrix}, token, cols, 1, activations, table, serial());
        expected.insert(expected.end(), y.begin(), y.end());
      }
    }
    const std::vector<const PackedMatrix*> all{&matrices[0], &matrices[1], &matrices[2]};
    for (const int n_threads : every_threads) {
      auto pool = make_thread_pool(n_threads);
      ASSERT_TRUE(pool.ok());
      const auto found = run(all, x, cols, n_tok, activations, table, **pool);
      ASSERT_EQ(difference(found, expected), "") << n_threads << " threads";
    }
  }
}

// Codes, scales and activations at their ends: integer sums must not saturate anywhere.
TEST_P(EveryFormat, ExtremeCodesAndActivationsDoNotOverflow) {
  const FormatInfo& format = *GetParam();
  if (matmul_test::integer_reader(format.name) == nullptr) return;
  const std::int64_t cols = format.block_elements > 256 ? 3072 : 2816, rows = whole_groups(format, 17), n_tok = 33;
  for (const int fill : {0x00, 0xFF, 0x7F, 0x80, 0xAA}) {
    std::vector<std::byte> tensor(static_cast<std::size_t>(format_tensor_bytes(format, rows, cols)), std::byte(fill));
    matmul_test::set_scales(format, rows, cols, 0x3C01, 0x2E66, tensor);
    const PackedMatrix matrix = packed(format, tensor, rows, cols);
    for (const int signs : {0, 1, 2}) {
      std::vector<float> x(static_cast<std::size_t>(n_tok * cols));
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = signs == 0 ? 3.0f : signs == 1 ? -3.0f : i % 2 ? 3.0f : -3.0f;
      const auto of_a_token = reference(format, tensor, {rows, cols, 1}, x, cols, Activations::kInt8);
      for (const std::int64_t n : {std::int64_t{1}, n_tok}) {
        std::vector<std::uint32_t> expected;  // cols are even: all tokens are alike
        for (std::int64_t t = 0; t < n; ++t) expected.insert(expected.end(), of_a_token.begin(), of_a_token.end());
        for (const panel::KernelTable& table : supported_tables()) {
          const auto found = run({&matrix}, x, cols, n, Activations::kInt8, table, serial());
          ASSERT_EQ(difference(found, expected), "") << table.name << " fill " << fill << " signs " << signs;
        }
      }
    }
  }
}

// Sums of a group that no float holds: they are rounded once, after the last product.
TEST(Matmul, SumsOfMoreThan24BitsAreRoundedOnce) {
  const FormatInfo& format = *find_format(std::string_view("Q8_0"));
  const std::int64_t cols = 320, rows = 35, n_tok = 33;
  auto tensor = matmul_test::random_tensor(format, rows, cols, 31);
  for (std::size_t i = 0; i < tensor.size(); ++i) {
    const bool scale = i % static_cast<std::size_t>(format.block_bytes) < 2;
    if (!scale) tensor[i] = (tensor[i] & std::byte{0x3F}) | std::byte{0x40};  // 64 .. 127
  }
  auto x = matmul_test::random_input(n_tok * cols, 32);
  for (float& number : x) number = 0.75f + 0.25f * std::sin(number);
  const PackedMatrix matrix = packed(format, tensor, rows, cols);
  const auto all = reference(format, tensor, {rows, cols, n_tok}, x, cols, Activations::kInt8);
  for (const std::int64_t n : {std::int64_t{1}, std::int64_t{5}, n_tok}) {
    const std::vector<std::uint32_t> expected(all.begin(), all.begin() + n * rows);
    for (const panel::KernelTable& table : supported_tables()) {
      const auto found = run({&matrix}, x, cols, n, Activations::kInt8, table, serial());
      EXPECT_EQ(difference(found, expected), "") << table.name << " n_tok " << n;
    }
  }
}

TEST_P(EveryFormat, NanAndInfinityInInputOrScaleReachTheirOutputsOnly) {
  const FormatInfo& format = *GetParam();
  const std::int64_t cols = 512, rows = whole_groups(format, 18), n_tok = 6;
  auto tensor = matmul_test::random_tensor(format, rows, cols, 5);
  // Every byte of row 3 all ones: NaN halves, and NaN floats. With one scale a tensor there is no such row, nor where
  // rows are mixed, nor with NVFP4, none of whose scales is NaN.
  const std::int64_t row_bytes = format_row_bytes(format, cols);
  const bool has_nan_row = format.tail_bytes == 0 && format.row_group == 1 && std::string_view(format.name) != "NVFP4";
  if (has_nan_row) std::memset(tensor.data() + 3 * row_bytes, 0xFF, static_cast<std::size_t>(row_bytes));
  auto x = matmul_test::random_input(n_tok * cols, 6);
  x[static_cast<std::size_t>(1 * cols + 100)] = kNan;
  x[static_cast<std::size_t>(2 * cols + 511)] = std::numeric_limits<float>::infinity();
  x[static_cast<std::size_t>(4 * cols + 1)] = -std::numeric_limits<float>::infinity();
  const PackedMatrix matrix = packed(format, tensor, rows, cols);
  for (const Activations activations : {Activations::kInt8, Activations::kF32}) {
    const auto expected = reference(format, tensor, {rows, cols, n_tok}, x, cols, activations);
    for (const panel::KernelTable& table : supported_tables()) {
      const auto found = run({&matrix}, x, cols, n_tok, activations, table, serial());
      ASSERT_EQ(difference(found, expected), "") << table.name;
      for (const std::int64_t t : {0, 3, 5}) {
        for (std::int64_t r = 0; r < rows; ++r) {
          float y;
          std::memcpy(&y, &found[static_cast<std::size_t>(t * rows + r)], 4);
          EXPECT_EQ(std::isnan(y), has_nan_row && r == 3);
        }
      }
      for (std::int64_t r = 0; r < rows; ++r) EXPECT_EQ(found[static_cast<std::size_t>(rows + r)], 0x7FC00000u);
    }
  }
}

// Every way to cut tokens into groups and blocks of registers, over more panels and chunks of k than are taken at once: one
// format for each kind of panel.
TEST(Matmul, EveryNumberOfTokensInAGroup) {
  for (const char* name : {"Q4_0", "Q4_1", "Q8_0", "Q6_K", "Q2_K", "Q2_0", "Q1_0", "I2_S", "F16", "F32"}) {
    const FormatInfo& format = *find_format(std::string_view(name));
    const std::int64_t cols = 1280, rows = 16 * 5 + 3;
    const auto tensor = matmul_test::random_tensor(format, rows, cols, 21);
    const PackedMatrix matrix = packed(format, tensor, rows, cols);
    const auto x = matmul_test::random_input(28 * cols, 22);
    const auto all = reference(format, tensor, {rows, cols, 28}, x, cols, Activations::kInt8);
    for (std::int64_t n_tok = 5; n_tok <= 28; ++n_tok) {
      const std::vector<std::uint32_t> expected(all.begin(), all.begin() + n_tok * rows);
      for (const panel::KernelTable& table : supported_tables()) {
        if (table.isa == Isa::kScalar && n_tok % 8 != 5 && matmul_test::emulated()) continue;
        const auto found = run({&matrix}, x, cols, n_tok, Activations::kInt8, table, serial());
        ASSERT_EQ(difference(found, expected), "") << name << " " << table.name << " n_tok " << n_tok;
      }
    }
  }
}

// Scales that are bytes by themselves: each of the 256, with the exact path's and the integer path's arithmetic.
TEST(Matmul, EveryScaleOfAByte) {
  for (const char* name : {"MXFP4", "NVFP4"}) {
    const FormatInfo& format = *find_format(std::string_view(name));
    const std::int64_t cols = format.block_elements, rows = 256;
    auto tensor = matmul_test::random_tensor(format, rows, cols, 13);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t at = 0; at < format.block_bytes - cols / 2; ++at) {
        tensor[static_cast<std::size_t>(r * format.block_bytes + at)] = static_cast<std::byte>(r);
      }
    }
    const PackedMatrix matrix = packed(format, tensor, rows, cols);
    for (const std::int64_t n_tok : {1, 40}) {
      const auto x = matmul_test::random_input(n_tok * cols, 14);
      for (const Activations activations : {Activations::kInt8, Activations::kF32}) {
        const auto expected = reference(format, tensor, {rows, cols, n_tok}, x, cols, activations);
        for (const panel::KernelTable& table : supported_tables()) {
          EXPECT_EQ(difference(run({&matrix}, x, cols, n_tok, activations, table, serial()), expected), "")
              << table.name << " " << name << " n_tok " << n_tok;
        }
      }
    }
  }
}

TEST(Matmul, TinyAndZeroActivations) {
  for (const char* name : {"Q8_0", "I2_S"}) {
    const FormatInfo& format = *find_format(std::string_view(name));
    const std::int64_t cols = 128, rows = 5;
    const auto tensor = matmul_test::random_tensor(format, rows, cols, 7);
    const PackedMatrix matrix = packed(format, tensor, rows, cols);
    // 1e-5 is where the scale of a token stops growing.
    for (const float size :
         {0.0f, 1e-45f, 1e-38f, 0x1.8p-101f, 0x1p-100f, 1e-20f, 9e-6f, 1e-5f, 1.1e-5f, 1e30f, 3e38f}) {
      std::vector<float> x(static_cast<std::size_t>(cols));
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = size * static_cast<float>(static_cast<int>(i % 7) - 3) / 3.0f;
      const auto expected = reference(format, tensor, {rows, cols, 1}, x, cols, Activations::kInt8);
      for (const panel::KernelTable& table : supported_tables()) {
        EXPECT_EQ(difference(run({&matrix}, x, cols, 1, Activations::kInt8, table, serial()), expected), "")
            << name << " " << table.name << " " << size;
      }
    }
  }
}

TEST(Matmul, TermsOfDifferentFormatsShareAnInput) {
  const std::int64_t cols = 512;
  const std::vector<std::string_view> every_format = [] {
    std::vector<std::string_view> names;
    for (const FormatInfo& format : formats()) names.push_back(format.name);
    return names;
  }();
  // Some of the second list share kernels for many tokens that others have none of.
  const struct {
    std::int64_t n_tok;
    std::vector<std::string_view> names;
  } kCases[] = {{7, every_format}, {35, {"Q4_0", "Q2_0", "I2_S", "Q4_K", "F16", "Q6_K", "Q2_K", "Q8_0"}}};
  for (const auto& [n_tok, names] : kCases) {
    const auto x = matmul_test::random_input(n_tok * cols, 8);
    std::vector<PackedMatrix> matrices;
    std::vector<std::uint32_t> expected;
    std::int64_t rows = 20;
    for (const std::string_view name : names) {
      const FormatInfo& format = *find_format(name);
      rows = whole_groups(format, rows);
      const auto tensor = matmul_test::random_tensor(format, rows, cols, static_cast<int>(rows));
      matrices.push_back(packed(format, tensor, rows, cols));
      const auto y = reference(format, tensor, {rows, cols, n_tok}, x, cols, Activations::kInt8);
      expected.insert(expected.end(), y.begin(), y.end());
      rows += matmul_test::emulated() ? 1 : 13;
    }
    std::vector<const PackedMatrix*> all;
    for (const PackedMatrix& matrix : matrices) all.push_back(&matrix);
    auto pool = make_thread_pool(3);
    ASSERT_TRUE(pool.ok());
    for (const panel::KernelTable& table : supported_tables()) {
      EXPECT_EQ(difference(run(all, x, cols, n_tok, Activations::kInt8, table, **pool), expected), "") << table.name;
    }
  }
}

// Codes of two bits that hold all four values, in some blocks of some rows: kernels may take those that hold three only
// another way.
TEST(Matmul, FourthValuesOfTwoBitsAmongTernaryOnes) {
  for (const char* name : {"Q2_0", "Q2_0_128"}) {
    const FormatInfo& format = *find_format(std::string_view(name));
    const std::int64_t cols = 2560, rows = 37, n_tok = 43;
    auto tensor = matmul_test::random_tensor(format, rows, cols, 14);
    for (const std::int64_t at : {18 * format_row_bytes(format, cols) + 20 * format.block_bytes - 1,
                                  33 * format_row_bytes(format, cols) + 1 * format.block_bytes - 1}) {
      tensor[static_cast<std::size_t>(at)] = std::byte(0xF6);
    }
    const PackedMatrix matrix = packed(format, tensor, rows, cols);
    const auto x = matmul_test::random_input(n_tok * cols, 15);
    const auto expected = reference(format, tensor, {rows, cols, n_tok}, x, cols, Activations::kInt8);
    for (const panel::KernelTable& table : supported_tables()) {
      const auto found = run({&matrix}, x, cols, n_tok, Activations::kInt8, table, serial());
      EXPECT_EQ(difference(found, expected), "") << name << " " << table.name;
    }
  }
}

#if defined(__x86_64__)
TEST(Matmul, KeepsItsBitsAndTheCallersFloatingPointEnvironment) {
  const FormatInfo& format = *find_format("Q4_1");
  const std::int64_t cols = 96, rows = 16;
  const auto tensor = matmul_test::random_tensor(format, rows, cols, 9);
  const PackedMatrix matrix = packed(format, tensor, rows, cols);
  auto x = matmul_test::random_input(cols, 10);
  for (float& value : x) value *= 1e-37f;  // products below the normal range
  for (const Activations activations : {Activations::kInt8, Activations::kF32}) {
    const auto expected = run({&matrix}, x, cols, 1, activations, supported_tables().back(), serial());
    const unsigned saved = _mm_getcsr();
    const unsigned odd = 0x1F80 | 0x8040 | 0x6000;  // flush, denormals are zero, round toward zero
    _mm_setcsr(odd);
    const auto found = run({&matrix}, x, cols, 1, activations, supported_tables().back(), serial());
    const unsigned after = _mm_getcsr();
    _mm_setcsr(saved);
    EXPECT_EQ(after & 0xFFC0u, odd & 0xFFC0u);
    EXPECT_EQ(difference(found, expected), "");
  }
}
#endif

// The longest rows there are, all codes and activations at their ends: the sums of 2^22 products reach 2^30.
TEST(Matmul, TheLongestTernaryRow) {
  const FormatInfo& format = *find_format("I2_S");
  const std::int64_t cols = 1 << 22;
  for (const int fill : {0xAA, 0x00}) {  // all +1, all -1
    std::vector<std::byte> tensor(static_cast<std::size_t>(format_tensor_bytes(format, 1, cols)), std::byte(fill));
    matmul_test::set_scales(format, 1, cols, 0, 0, tensor);
    const PackedMatrix matrix = packed(format, tensor, 1, cols);
    for (const float sign : {1.0f, -1.0f}) {
      const std::vector<float> x(static_cast<std::size_t>(5 * cols), 3.0f * sign);
      const float s = 127.0f / 3.0f, scale = 1.0009765625f;
      const float expected = static_cast<float>((fill == 0 ? -127.0 : 127.0) * sign * cols) * scale / s;
      for (const std::int64_t n_tok : {1, 5}) {
        for (const panel::KernelTable& table : supported_tables()) {
          if (table.isa == Isa::kScalar && n_tok > 1) continue;  // slow, and the same code
          if (n_tok > 1 && sign < 0 && matmul_test::emulated()) continue;
          const auto found = run({&matrix}, x, cols, n_tok, Activations::kInt8, table, serial());
          EXPECT_EQ(difference(found, bits_of(std::vector<float>(found.size(), expected))), "") << table.name;
        }
      }
    }
  }
}

// Activations that no float input gives (-128 among them) and codes that no sound file holds (3): the kernels alone.
TEST(Matmul, TernaryKernelsAtTheEndsOfSignedBytes) {
  const FormatInfo& format = *find_format("I2_S");
  const std::int64_t cols = 4096 + 128, rows = 16, n_tiles = cols / panel::kTile;
  for (const int fill : {0x00, 0x55, 0xAA, 0xFF, 0x1B}) {
    std::vector<std::byte> tensor(static_cast<std::size_t>(format_tensor_bytes(format, rows, cols)), std::byte(fill));
    matmul_test::set_scales(format, rows, cols, 0, 0, tensor);
    const PackedMatrix matrix = packed(format, tensor, rows, cols);
    const auto weights = matmul_test::read_ternary<quant::I2S>(tensor, rows, cols);
    for (const int pattern : {0, 1, 2, 3}) {
      const auto activation = [&](std::int64_t k) {
        return pattern == 0 ? -128 : pattern == 1 ? 127 : (k / (pattern == 2 ? 1 : 4)) % 2 == 0 ? -128 : 127;
      };
      std::int64_t dot = 0, sum = 0;
      for (std::int64_t k = 0; k < cols; ++k) {
        dot += (weights.codes[static_cast<std::size_t>(k)] - 1) * activation(k);
        sum += activation(k);
      }
      const float expected = static_cast<float>(dot) * weights.scales[0] / 42.5f;
      for (const panel::KernelTable& table : supported_tables()) {
        for (const std::int64_t n_tok : {1, 4, 12}) {
          panel::TokenActivations act{};
          act.n_tok = n_tok;
          act.n_tiles = n_tiles;
          act.group = table.kernels().token_group;
          std::vector<std::int8_t> codes(static_cast<std::size_t>(n_tok * cols));
          for (std::int64_t first = 0; first < n_tok; first += act.group) {
            const int width = act.width(first);
            for (std::int64_t b = 0; b < n_tiles; ++b) {
              for (std::int64_t i = 0; i < width * panel::kTile; ++i) {
                codes[static_cast<std::size_t>((first * n_tiles + b * width) * panel::kTile + i)] =
                    static_cast<std::int8_t>(activation(b * panel::kTile + i % panel::kTile));
              }
            }
          }
          std::vector<float> scales(static_cast<std::size_t>(n_tok), 42.5f), y(scales.size() * rows, kNan);
          std::vector<std::int32_t> sums(scales.size(), static_cast<std::int32_t>(sum));
          act.codes = codes.data();
          act.scales = scales.data();
          act.sums = sums.data();
          panel::Job job{};
          job.panels = matrix.panel(0);
          job.panel_bytes = matrix.panel_bytes();
          job.rows = rows;
          job.cols = cols;
          job.panel_end = 1;
          job.token_end = n_tok;
          job.y = y.data();
          job.ldy = rows;
          job.by_token = &act;
          const panel::PanelKernels& row = table.kernels().panels[matrix.layout()];
          (n_tok <= panel::kTokenStep ? row.few : row.many)(job);
          EXPECT_EQ(difference(bits_of(y), bits_of(std::vector<float>(y.size(), expected))), "")
              << table.name << " fill " << fill << " pattern " << pattern << " tokens " << n_tok;
        }
      }
    }
  }
}

TEST(Matmul, NothingToDo) {
  matmul({}, nullptr, 0, 0, Activations::kInt8, {}, panel::kernels_scalar(), serial());
  EXPECT_EQ(matmul_workspace_bytes(0, 64), 0u);
  EXPECT_EQ(matmul_workspace_bytes(1, 64) % 64, 0u);
  EXPECT_LE(matmul_workspace_bytes(3, 64), matmul_workspace_bytes(4, 64));
  EXPECT_LE(matmul_workspace_bytes(4, 64), matmul_workspace_bytes(5, 64));
}

TEST(Pack, RefusesWhatDoesNotFit) {
  const std::vector<std::byte> bytes(64 * 34);
  const auto error = [&](std::string_view format, std::int64_t rows, std::int64_t cols, std::size_t n_bytes) {
    const auto result = pack(*find_format(format), std::span(bytes).first(n_bytes), rows, cols, serial());
    return result.ok() ? std::string("ok")
                       : std::string(error_code_name(result.error().code)) + ": " + result.error().message;
  };
  EXPECT_EQ(error("Q8_0", 2, 32, 68), "ok");
  EXPECT_EQ(error("Q8_0", 2, 33, 68),
            "invalid_argument: pack: expected cols in whole blocks of Q8_0, each 32, found 33");
  EXPECT_EQ(error("Q8_0", 2, 32, 67), "invalid_argument: pack: expected bytes: 68, found 67");
  EXPECT_EQ(error("Q8_0", 0, 32, 0), "invalid_argument: pack: expected rows in 1 .. 1099511627776, found 0");
  EXPECT_EQ(error("Q8_0", 1, -32, 0), "invalid_argument: pack: expected cols in 1 .. 1099511627776, found -32");
  EXPECT_EQ(error("Q8_0", std::int64_t{1} << 40, std::int64_t{1} << 40, 0), "out_of_memory: out of memory");
  EXPECT_EQ(error("I2_S", 2, 128, 96), "ok");
  EXPECT_EQ(error("I2_S", 2, 128, 64), "invalid_argument: pack: expected bytes: 96, found 64");
  EXPECT_EQ(error("I2_S", 1, (1 << 22) + 128, 0),
            "invalid_argument: pack: expected cols in 1 .. 4194304, found 4194432");
  EXPECT_EQ(error("I2_S_ROW4", 6, 32, 80),
            "invalid_argument: pack: expected rows in whole groups of I2_S_ROW4, each 4, found 6");
}

// 2 bits a weight for all ternary formats, whatever the file packs them in (1.3125 in STQ1_0; base 3: 1.625 in IQ1_BN,
// 1.6875 in TQ1_0, 1.75 in PTQ1_0).
TEST(Pack, TakesAboutTheBytesOfTheFile) {
  for (const FormatInfo& format : formats()) {
    const std::int64_t rows = matmul_test::emulated() ? 16 : 64, cols = 1536;
    const auto tensor = matmul_test::random_tensor(format, rows, cols, 11);
    const PackedMatrix matrix = packed(format, tensor, rows, cols);
    EXPECT_GE(matrix.bytes(), tensor.size()) << format.name;
    const std::string_view name = format.name;
    // The grids of the IQ types are taken apart, to 3 or 4 bits a weight and 5 for 16.
    const bool iq = format.needs_importance;
    const auto block_bytes = static_cast<double>(format.block_bytes);
    const double more = iq                          ? (name.starts_with("IQ3_") ? 138.1 : 106.1) / block_bytes
                        : name == "IQ1_BN"          ? 2.05 / 1.625
                        : name == "TQ1_0"           ? 66.1 / 54
                        : name == "PTQ1_0"          ? 34.1 / 28
                        : name.starts_with("S")     ? 66.1 / 42  // STQ1_0
                        : name == "Q3_K"            ? 114.1 / 110
                        : name.starts_with("Q2_0C") ? 136.1 / 130  // a scale and a minimum each 256
                                                    : 1.03;
    EXPECT_LE(static_cast<double>(matrix.bytes()), more * static_cast<double>(tensor.size())) << format.name;
    EXPECT_EQ(matrix.rows(), rows);
    EXPECT_EQ(matrix.cols(), cols);
    EXPECT_EQ(matrix.format(), &format);
  }
}

}  // namespace
}  // namespace rowmax::engine
