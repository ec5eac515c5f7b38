#include "doctor/checks/products.h"

#include <algorithm>
#include <cmath>
#include <string_view>

namespace rowmax::doctor {
namespace {

using engine::Activations;
using engine::FormatInfo;

constexpr double kUlp = 0x1p-24;  // of one rounding to f32, relative

double most(std::span<const float> x) {
  double out = 0;
  for (const float value : x) out = std::max(out, std::fabs(static_cast<double>(value)));
  return out;
}

double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t k = 0; k < a.size(); ++k) sum += static_cast<double>(a[k]) * static_cast<double>(b[k]);
  return sum;
}

double dot_of_sizes(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t k = 0; k < a.size(); ++k) sum += std::fabs(static_cast<double>(a[k]) * static_cast<double>(b[k]));
  return sum;
}

double sum_of_sizes(std::span<const float> a) {
  double sum = 0;
  for (const float value : a) sum += std::fabs(static_cast<double>(value));
  return sum;
}

double f32_bound(std::span<const float> row, std::span<const float> x) {
  const double roundings = 256 + static_cast<double>(row.size()) / 256 + 2;
  return roundings * kUlp * dot_of_sizes(row, x);
}

// One scale a token and one signed byte a number, and weights -m, 0 and m: the sum is an exact integer.
ExpectedProduct token_product(std::span<const float> row, std::span<const float> x) {
  const auto largest = static_cast<float>(most(x));
  const float s = 127.0f / std::max(largest, 1e-5f);
  double sum = 0;
  for (std::size_t k = 0; k < row.size(); ++k) {
    const double q = std::nearbyint(x[k] * s);
    sum += row[k] > 0 ? q : row[k] < 0 ? -q : 0;
  }
  const double value = sum * most(row) / static_cast<double>(s);
  return {value, 8 * kUlp * std::fabs(value)};
}

// Blocks of 32 numbers of 15 bits, rounded here as the definition says; what is left are roundings of the sum. What is
// added up are groups of scale * code and of minima, which may be larger than the weights that they make: four times the
// largest weight near by bounds them (a minimum of a sound block is no larger than its range).
ExpectedProduct block_product(std::span<const float> row, std::span<const float> x) {
  double value = 0, sizes = 0;
  for (std::size_t k = 0; k < row.size(); k += 32) {
    const std::size_t n = std::min<std::size_t>(32, row.size() - k);
    const auto w = row.subspan(k, n), input = x.subspan(k, n);
    const auto largest = static_cast<float>(most(input));
    if (largest < 0x1p-100f) continue;
    const float d = largest / 16256.0f, inverse = 16256.0f / largest;
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(w[i]) * std::nearbyint(input[i] * inverse);
    value += sum * static_cast<double>(d);
    sizes += 4 * most(w) * sum_of_sizes(input);
  }
  const double n_groups = static_cast<double>(row.size()) / 16 + 2;
  return {value, 3 * n_groups * kUlp * sizes};
}

}  // namespace

bool always_f32(const FormatInfo& format) { return format.block_elements == 1; }

ExpectedProduct expected_product(const FormatInfo& format, std::span<const float> row, std::span<const float> x,
                                 Activations activations) {
  ExpectedProduct out;
  if (activations == Activations::kF32 || always_f32(format)) {
    out = {dot(row, x), f32_bound(row, x)};
  } else if (format.row_head_bytes > 0 || format.tail_bytes > 0) {  // one scale a row or tensor: rounded by token
    out = token_product(row, x);
  } else {
    out = block_product(row, x);
  }
  // Results that are subnormal in f32 lose more than a relative rounding.
  out.bound += 1e-37;
  return out;
}

float f32_product(std::span<const float> row, std::span<const float> x) {
  float total = 0;
  for (std::size_t k = 0; k < row.size(); k += 256) {
    float sum = 0;
    for (std::size_t i = k; i < std::min(k + 256, row.size()); ++i) sum = std::fma(row[i], x[i], sum);
    total = k == 0 ? sum : total + sum;
  }
  return total;
}

std::vector<float> test_input(std::int64_t n, std::uint32_t seed) {
  std::vector<float> out(static_cast<std::size_t>(n));
  std::uint32_t state = seed * 2654435761u + 1;
  const auto next = [&] {
    state = state * 1664525u + 1013904223u;
    return static_cast<float>(static_cast<std::int32_t>(state)) * 0x1p-31f;
  };
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = next() + next() + next();  // of standard deviation 1
    if (i % 50 == 7) out[i] *= 30;
  }
  return out;
}

}  // namespace rowmax::doctor
