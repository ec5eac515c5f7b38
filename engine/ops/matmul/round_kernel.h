// Rounds activations to blocks of 32 signed bytes. Included after one dot_*.h; see matmul.h for the definition and
// Int8Activations for the order in memory.
#pragma once

#include <limits>

#include "engine/ops/matmul/panel.h"

namespace rowmax::engine::panel {
namespace {

// One block of one token, to index `at`; x is nullptr for a padding token.
ROWMAX_INLINE void round_block(const float* x, const Int8Activations& out, std::int64_t at) noexcept {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kTiny = 0x1p-100f;  // below it 127 / m could overflow
  std::int8_t* codes = out.codes + at * kTile;
  std::int32_t low_sum = 0, high_sum = 0;
  float d = 0.0f;
  float inverse = 0.0f;
  if (x != nullptr) {
    simd::F32x16 low = simd::abs(simd::load(x)), high = simd::abs(simd::load(x + 16));
    low = simd::select(simd::is_nan(low), simd::splat(kInfinity), low);
    high = simd::select(simd::is_nan(high), simd::splat(kInfinity), high);
    const float most = simd::reduce_max(simd::max(low, high));
    if (most >= kTiny) {
      d = most / 127.0f;
      inverse = 127.0f / most;
    }
    if (most == kInfinity) {
      d = kNan;
      inverse = 0.0f;
    }
  }
  if (inverse != 0.0f) {
    const simd::F32x16 factor = simd::splat(inverse);
    const simd::I32x16 low = simd::round_to_i32(simd::mul(simd::load(x), factor));
    const simd::I32x16 high = simd::round_to_i32(simd::mul(simd::load(x + 16), factor));
    store_i8(codes, low);
    store_i8(codes + 16, high);
    low_sum = sum_lanes(low);
    high_sum = sum_lanes(high);
  } else {
    store_i8(codes, simd::splat_i32(0));
    store_i8(codes + 16, simd::splat_i32(0));
  }
  out.scales[at] = d;
  out.sums[at] = d * static_cast<float>(low_sum + high_sum);
  for (int i = 0; i < kCorrections; ++i) {
    if (out.corrections[i] == nullptr) continue;
    const Correction& row = kCorrectionTable[i];
    const std::int32_t sum = row.group == kTile ? low_sum + high_sum : row.first == 0 ? low_sum : high_sum;
    out.corrections[i][at] = -row.offset * sum;
  }
}

void round_groups(const float* x, std::int64_t ldx, const Int8Activations& out, std::int64_t group_begin,
                  std::int64_t group_end) noexcept {
  for (std::int64_t group = group_begin; group < group_end; ++group) {
    for (int t = 0; t < out.width; ++t) {
      const std::int64_t token = group * kTokenGroup + t;
      const float* row = token < out.n_tok ? x + token * ldx : nullptr;
      std::int64_t at = group * kTokenGroup * out.n_tiles + t;
      for (std::int64_t b = 0; b < out.n_tiles; ++b, at += out.width) {
        round_block(row == nullptr ? nullptr : row + b * kTile, out, at);
      }
    }
  }
}

}  // namespace
}  // namespace rowmax::engine::panel
