// Rounded activations as tiles of integer panels read them. Included by int8_tile.h and int8_tile_neon.h.
#pragma once

#include "engine/ops/matmul/unpack.h"

namespace rowmax::engine::panel {
namespace {

// Codes start from -offset * (sum of activations), so that the offset costs nothing.
template <class Panel>
struct Start {
  static constexpr int kOffset = Panel::kDotBits == 8 && !kUnsignedBytes ? 0 : Panel::kOffset;
  // Rows of kCorrectionTable for the first and the last group of a tile: found by the compiler.
  static constexpr int kIndex[2] = {
      kOffset == 0 ? 0 : correction_index(kOffset, Panel::kGroup, 0),
      kOffset == 0 ? 0 : correction_index(kOffset, Panel::kGroup, (Panel::kGroups - 1) * Panel::kGroup)};
  static_assert(kIndex[0] >= 0 && kIndex[1] >= 0, "add a row to kCorrectionTable");

  static ROWMAX_INLINE std::int32_t value(const Int8Activations& act, int group, std::int64_t at) noexcept {
    if constexpr (kOffset == 0) {
      return 0;
    } else {
      return act.corrections[kIndex[group]][at];
    }
  }
};

// Minima of groups of 16 take their sums of activations from the corrections of offset 1.
template <class Panel>
struct HalfSums {
  static constexpr bool kUsed = Panel::kHasMin && Panel::kGroups > 1;
  static constexpr int kIndex[2] = {correction_index(1, 16, 0), correction_index(1, 16, 16)};
  static_assert(!kUsed || Start<Panel>::kOffset == 0, "Activations holds one kind of correction");
};
// d * float(sum of a group's activations), for minima.
template <class Panel>
ROWMAX_INLINE float group_sum(const Int8Activations& act, int group, std::int64_t at) noexcept {
  if constexpr (HalfSums<Panel>::kUsed) {
    return act.scales[at] * static_cast<float>(-act.corrections[HalfSums<Panel>::kIndex[group]][at]);
  } else {
    return act.sums[at];
  }
}

// What is left of a layout once its codes are unpacked: layouts that agree here share the code for many tokens, and the
// compiler's time for it. Dots of kDotBits stand for those of fewer bits (dot_bits).
template <int kDotBits_, int kGroups_, bool kHasStart_, bool kHasMin_>
struct UnpackedPanel {
  static constexpr int kDotBits = kDotBits_, kGroups = kGroups_;
  static constexpr bool kHasStart = kHasStart_, kHasMin = kHasMin_;
  static constexpr bool kHalfSums = kHasMin && kGroups > 1;
  static constexpr int kQuadsOfGroup = kQuads / kGroups;
};
template <class Panel>
using UnpackedOf = UnpackedPanel<dot_bits(Panel::kDotBits), Panel::kGroups, Start<Panel>::kOffset != 0, Panel::kHasMin>;

// Rows of Int8Activations::corrections for the first and the last group of a tile.
struct CorrectionRows {
  int row[2];
};
template <class Panel>
inline constexpr CorrectionRows kCorrectionRows =
    HalfSums<Panel>::kUsed ? CorrectionRows{{HalfSums<Panel>::kIndex[0], HalfSums<Panel>::kIndex[1]}}
                           : CorrectionRows{{Start<Panel>::kIndex[0], Start<Panel>::kIndex[1]}};

// The start of one token group's rows of Int8Activations at a tile.
template <class Panel>
struct Activations {
  static constexpr bool kCorrected = Panel::kHasStart || Panel::kHalfSums;
  const std::int8_t* codes;
  const float* scales;
  const float* sums;
  const std::int32_t* corrections[Panel::kGroups];

  ROWMAX_INLINE Activations(const Int8Activations& act, CorrectionRows rows, std::int64_t at) noexcept
      : codes(act.codes + at * kCodeBytes), scales(act.scales + at), sums(act.sums + at) {
    if constexpr (kCorrected) {
      for (int g = 0; g < Panel::kGroups; ++g) corrections[g] = act.corrections[rows.row[g]] + at;
    }
  }
  ROWMAX_INLINE std::int32_t start(int group, int token) const noexcept {
    if constexpr (Panel::kHasStart) {
      return corrections[group][token];
    } else {
      return 0;
    }
  }
  ROWMAX_INLINE float group_sum(int group, int token) const noexcept {
    if constexpr (Panel::kHalfSums) {
      return scales[token] * static_cast<float>(-corrections[group][token]);
    } else {
      return sums[token];
    }
  }
  ROWMAX_INLINE void next(int width) noexcept {
    codes += width * kCodeBytes;
    scales += width;
    sums += width;
    if constexpr (kCorrected) {
      for (int g = 0; g < Panel::kGroups; ++g) corrections[g] += width;
    }
  }
};

}  // namespace
}  // namespace rowmax::engine::panel
