// Joins unfinished rows of several calls. Part of the attend kernel's algorithm, see attend.h: parts are merged as
// splits are.
#pragma once

#include "attention/kernels/attend/finish.h"

namespace rowmax::attention {
namespace {

inline constexpr std::int64_t kMergeDims = 256;  // of a row at a time

// Row (row, head) of a part, flags as between splits.
struct PartRow {
  const float* o;
  float m;
  float l;
  RowStatus status;
};
inline PartRow part_row(const PartialView& part, std::int64_t row, std::int64_t head) noexcept {
  const std::int64_t at = row * part.row_stride + head * part.head_stride;
  return {part.o + row * part.o_row_stride + head * part.o_head_stride, part.m[at], part.l[at], part.status[at]};
}

// Dimensions [d0, d0 + n) of a row's parts, joined, in `total`; m, l and flags of the whole in *sum. Returns whether a
// part was non-finite.
inline bool join_parts(const MergeArgs& args, std::int64_t row, std::int64_t head, std::int64_t d0, std::int64_t n,
                       float* total, RowSum* sum) noexcept {
  float m = -kInfinity;
  float l = 0.0f;
  std::uint32_t flags = 0;
  bool non_finite = false;
  for (const PartialView& view : args.parts) {
    const PartRow part = part_row(view, row, head);
    if (part.status == RowStatus::kEmpty) continue;
    const bool first = flags == 0;
    const MergeFactors factors = merge_factors(m, part.m);
    for (std::int64_t d = 0; d < n; d += 16) {
      const F32x16 o = simd::load_n(part.o + d0 + d, lanes_of(d, n));
      simd::store(total + d, first ? o : factors.join(simd::load(total + d), o));
    }
    l = first ? part.l : factors.join(l, part.l);
    m = first ? part.m : factors.m;
    flags |= kRowSeen | (part.status == RowStatus::kOverflow ? kRowOverflow : 0);
    non_finite = non_finite || part.status == RowStatus::kNonFinite;
  }
  *sum = close_row(m, l, flags, args.sinks != nullptr ? args.sinks[head] : -kInfinity);
  return non_finite;
}

inline RowStatus merge_part_row(const MergeArgs& args, std::int64_t row, std::int64_t head) noexcept {
  RowSum sum{};
  Lanes lanes;
  for (std::int64_t d0 = 0; d0 < args.v_dim; d0 += kMergeDims) {
    const std::int64_t n = min_i64(kMergeDims, args.v_dim - d0);
    float total[kMergeDims];
    if (join_parts(args, row, head, d0, n, total, &sum)) lanes.nan = 1;
    for (std::int64_t d = 0; d < n; d += 16) {
      const F32x16 x = sum.empty ? simd::splat(0.0f) : divided(simd::load(total + d), sum);
      lanes.note(x, lanes_of(d, n));
      lanes.inf |= store_out(args.out, row, head, d0 + d, x, lanes_of(d, n));
    }
  }
  if (args.lse != nullptr) args.lse[row * args.lse_row_stride + head * args.lse_head_stride] = lse_of(sum);
  const RowStatus status = status_of(sum, lanes);
  if (args.row_status != nullptr) {
    args.row_status[row * args.status_row_stride + head * args.status_head_stride] = status;
  }
  return status;
}

// Rows [begin, end) of n_row * n_head, heads fastest.
inline void merge_parts(const MergeArgs& args, std::int64_t begin, std::int64_t end, BlockCounts* counts) {
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t row = i / args.n_head;
    count_row(merge_part_row(args, row, i - row * args.n_head), row, i - row * args.n_head, counts);
  }
}

}  // namespace
}  // namespace rowmax::attention
