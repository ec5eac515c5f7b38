#include "doctor/checks/products.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/ops/matmul/matmul_test_util.h"

namespace rowmax::doctor {
namespace {

using engine::Activations;
using engine::FormatInfo;
namespace oracle = engine::matmul_test;

constexpr std::int64_t kRows = 8, kCols = 1024;

std::vector<float> decoded(const FormatInfo& format, const std::vector<std::byte>& tensor) {
  std::vector<float> out(kRows * kCols);
  format.decode({tensor.data(), kRows, kCols}, 0, kRows, out.data());
  return out;
}

// The definition in integers (the oracle of the products' own tests) lies within the bound, and the bound is far below
// what a wrong weight does.
TEST(Products, TheDefinitionLiesWithinTheBound) {
  for (const FormatInfo& format : engine::formats()) {
    const auto reader = oracle::integer_reader(format.name);
    if (reader == nullptr) continue;
    const auto tensor = oracle::random_tensor(format, kRows, kCols, 3);
    const std::vector<float> weights = decoded(format, tensor);
    const std::vector<float> x = test_input(kCols, 5);
    const auto integers = reader(tensor, kRows, kCols);
    const oracle::Shape shape{kRows, kCols, 1};
    const std::vector<float> y = integers.by_token ? oracle::token_reference(integers, shape, x.data(), kCols)
                                                   : oracle::int8_reference(integers, shape, x.data(), kCols);
    for (std::int64_t r = 0; r < kRows; ++r) {
      const std::span row(weights.data() + r * kCols, kCols);
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
  const auto tensor = oracle::random_tensor(format, kRows, kCols, 4);
  const std::vector<float> weights = decoded(format, tensor);
  const std::vector<float> x = test_input(kCols, 6);
  const std::vector<float> y = oracle::f32_reference(weights, {kRows, kCols, 1}, x.data(), kCols);
  for (std::int64_t r = 0; r < kRows; ++r) {
    const std::span row(weights.data() + r * kCols, kCols);
    EXPECT_EQ(f32_product(row, x), y[static_cast<std::size_t>(r)]);
    const auto expected = expected_product(format, row, x, Activations::kF32);
    EXPECT_LE(std::fabs(static_cast<double>(y[static_cast<std::size_t>(r)]) - expected.value), expected.bound);
  }
}

}  // namespace
}  // namespace rowmax::doctor
