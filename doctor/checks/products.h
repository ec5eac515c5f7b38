// What a product of weights must give: from the file's bytes and the definition in engine/ops/matmul/matmul.h, in plain
// f64 and with no kernel of the engine.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/quant/format.h"
#include "rowmax/engine/types.h"

namespace rowmax::doctor {

struct ExpectedProduct {
  double value = 0;  // the dot product with the input as the definition rounds it, in f64
  double bound = 0;  // the most that roundings of the sum can add
};
// Of one decoded row with one token's input. The bound is proved from the definition (products.cc), not fitted: a kernel
// that is right never exceeds it, whatever weights and inputs are.
ExpectedProduct expected_product(const engine::FormatInfo& format, std::span<const float> row, std::span<const float> x,
                                 engine::Activations activations);

// The bits of the f32 path: chunks of 256 columns, each one chain of fma.
float f32_product(std::span<const float> row, std::span<const float> x);

// Whether a format's products are computed from the decoded numbers whatever the activations are.
bool always_f32(const engine::FormatInfo& format);

// n numbers of about unit size, the same on every machine; every 50th is thirty times as large, as activations are.
std::vector<float> test_input(std::int64_t n, std::uint32_t seed);

}  // namespace rowmax::doctor
