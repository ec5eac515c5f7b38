#include "doctor/checks/products.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/ops/matmul/matmul_test_util.h"

namespace rowmax::doctor {
namespace {

using engine::Activations;
using engine::FormatInfo;
namespace oracle = engine::matmul_test;

constexpr std::int64_t kTrialRows = 8, kTrialCols = 1024;

std::vector<float> decoded(const FormatInfo& format, const std::vector<std::byte>& tensor) {
  std::vector<float> out(kTrialRows * kTrialCols);
  format.decode({tensor.data(), kTrialRows, kTrialCols}, 0, kTrialRows, out.data());
  return out;
}

// The definition in integers (the oracle of the products' own tests) lies within the bound, and the bound is far below
// what a wrong weight does.
TEST(Products, TheDefinitionLiesWithinTheBound) {
  for (const FormatInfo& format : engine::formats()) {
    const auto reader = oracle::integer_reader(format.name);
    if (reader == nullptr) continue;
    const auto tensor = oracle::random_tensor(format, kTrialRows, kTrialCols, 3);
    const std::vector<float> weights = decoded(format, tensor);
    const std::vector<float> x = test_input(kTrialCols, 5);
    const auto integers = reader(tensor, kTrialRows, kTrialCols);
    const oracle::Shape shape{kTrialRows, kTrialCols, 1};
    const std::vector<float> y = integers.by_token ? oracle::token_reference(integers, shape, x.data(), kTrialCols)
                                                   : oracle::int8_reference(integers, shape, x.data(), kTrialCols);
    for (std::int64_t r = 0; r < kTrialRows; ++r) {
      const std::span row(weights.data() + r * kTrialCols, kTrialCols);
      const auto expected = expected_product(format, row, x, Activations::kInt8);
      EXPECT_LE(std::fabs(static_cast<double>(y[static_cast<std::size_t>(r)]) - expected.value), expected.bound)
          << format.name;
      double sizes = 0;
      for (std::size_t k = 0; k < row.size(); ++k) sizes += std::fabs(static_cast<double>(row[k] * x[k]));
      EXPECT_LE(expected.bound, 0.01 * sizes) << format.name;  // a wrong weight or two would be seen
    }
  }
}

TEST(Products, TheF32PathIsItsDefinition) {
  const FormatInfo& format = *engine::find_format("Q4_K");
  const auto tensor = oracle::random_tensor(format, kTrialRows, kTrialCols, 4);
  const std::vector<float> weights = decoded(format, tensor);
  const std::vector<float> x = test_input(kTrialCols, 6);
  const std::vector<float> y = oracle::f32_reference(weights, {kTrialRows, kTrialCols, 1}, x.data(), kTrialCols);
  for (std::int64_t r = 0; r < kTrialRows; ++r) {
    const std::span row(weights.data() + r * kTrialCols, kTrialCols);
    EXPECT_EQ(f32_product(row, x), y[static_cast<std::size_t>(r)]);
    const auto expected = expected_product(format, row, x, Activations::kF32);
    EXPECT_LE(std::fabs(static_cast<double>(y[static_cast<std::size_t>(r)]) - expected.value), expected.bound);
  }
}

}  // namespace
}  // namespace rowmax::doctor
