// The last step of the attend kernel for a row: the sink joins, o is divided, results are written. Part of the attend
// kernel's algorithm, see attend.h.
#pragma once

#include "attention/kernels/attend/attend_kernel.h"
#include "attention/kernels/rows.h"
#include "attention/kernels/stored_number.h"

namespace rowmax::attention {
namespace {

// What is known of a row before its result is divided. Empty rows have m -inf (or the sink) and l 0 (1).
struct RowSum {
  float m;
  float l;
  float factor;  // of o
  bool empty;
  bool overflow;  // a visible score was infinite
};

// flags: kRowSeen, kRowOverflow; m and l mean nothing without kRowSeen. sink: -inf for none.
inline RowSum close_row(float m, float l, std::uint32_t flags, float sink) noexcept {
  const bool empty = (flags & kRowSeen) == 0;
  const bool overflow = !empty && ((flags & kRowOverflow) != 0 || m == kInfinity);
  if (empty) return {sink, sink == -kInfinity ? 0.0f : 1.0f, 1.0f, true, false};
  if (sink == -kInfinity) return {m, l, 1.0f, false, overflow};
  const float joined = m > sink ? m : sink;
  float factors[16];
  const F32x16 exponents = simd::select(simd::mask_from_bits(1), simd::splat(m), simd::splat(sink));
  simd::store(factors, exp_weight(simd::sub(exponents, simd::splat(joined))));
  const float scaled = l * factors[0];
  return {joined, scaled + factors[1], factors[0], false, overflow};
}

inline float lse_of(const RowSum& sum) noexcept {
  if (sum.empty) return sum.m;
  const float lse = static_cast<float>(static_cast<double>(sum.m) + base::log_f64(static_cast<double>(sum.l)));
  return lse != lse ? kNaN : lse;
}

// Non-finite lanes among a row's results.
struct Lanes {
  std::uint32_t nan = 0;
  std::uint32_t inf = 0;

  ROWMAX_INLINE void note(F32x16 x, int n) noexcept {
    const std::uint32_t lanes = (1u << n) - 1u;
    nan |= simd::mask_bits(simd::is_nan(x)) & lanes;
    inf |= simd::mask_bits(simd::equal(simd::abs(x), simd::splat(kInfinity))) & lanes;
  }
};

inline RowStatus status_of(const RowSum& sum, const Lanes& lanes) noexcept {
  if (sum.empty) return RowStatus::kEmpty;
  if (sum.overflow) return RowStatus::kOverflow;
  if (lanes.nan != 0 || sum.l != sum.l) return RowStatus::kNonFinite;
  return lanes.inf != 0 ? RowStatus::kOverflow : RowStatus::kOk;
}

// The first n lanes of x as elements [d, d + n) of a result; returns those that rounding made infinite.
ROWMAX_INLINE std::uint32_t store_out(const HeadsView& view, std::int64_t row, std::int64_t head, std::int64_t d,
                                      F32x16 x, int n) noexcept {
  const std::int64_t at = row * view.row_stride + head * view.head_stride;
  if (view.dtype == DType::kF32 && view.dim_stride == 1) {
    simd::store_n(static_cast<float*>(view.data) + at + d, x, n);
    return 0;
  }
  float values[16];
  simd::store(values, x);
  std::uint32_t overflowed = 0;
  for (int i = 0; i < n; ++i) {
    const std::int64_t index = at + (d + i) * view.dim_stride;
    if (view.dtype == DType::kF32) {
      static_cast<float*>(view.data)[index] = values[i];
    } else if (store_rounded(view.data, view.dtype, index, values[i])) {
      overflowed |= 1u << i;
    }
  }
  return overflowed;
}

ROWMAX_INLINE int lanes_of(std::int64_t d, std::int64_t n_dim) noexcept {
  return n_dim - d < 16 ? static_cast<int>(n_dim - d) : 16;
}

ROWMAX_INLINE F32x16 divided(F32x16 o, const RowSum& sum) noexcept {
  const F32x16 x = simd::div(simd::mul(o, simd::splat(sum.factor)), simd::splat(sum.l));
  return simd::canonical_nan(simd::add(x, simd::splat(0.0f)));
}

// Sixteen weights of a row whose final maximum and sum are m and l; exactly +0 where not visible.
ROWMAX_INLINE F32x16 weights_of_scores(F32x16 scores, std::uint32_t visible, float m, float l) noexcept {
  const F32x16 p = exp_weight(simd::sub(scores, guarded_base(simd::splat(m))));
  const F32x16 weight = simd::canonical_nan(simd::div(p, simd::splat(l)));
  return simd::select(simd::mask_from_bits(visible), weight, simd::splat(0.0f));
}

// Writes one row's unfinished sums.
inline RowStatus store_partial_row(const CallArgs& call, const BlockArgs& block, int r,
                                   const Scratch& scratch) noexcept {
  const PartialView& view = call.args->partial;
  const Row row = row_of(call, block, r);
  const std::int64_t at = packed_row(block, row);
  const RowSum sum = close_row(scratch.total_m[r], scratch.total_l[r], scratch.total_flags[r], -kInfinity);
  float* out = view.o + at * view.o_row_stride + row.head * view.o_head_stride;
  const float* o = scratch.total + r * call.o_stride;
  Lanes lanes;
  for (std::int64_t d = 0; d < call.args->kv.v_dim; d += 16) {
    const int n = lanes_of(d, call.args->kv.v_dim);
    const F32x16 x = sum.empty ? simd::splat(0.0f) : simd::canonical_nan(simd::load(o + d));
    lanes.note(x, n);
    simd::store_n(out + d, x, n);
  }
  const RowStatus status = status_of(sum, lanes);
  const std::int64_t index = at * view.row_stride + row.head * view.head_stride;
  view.m[index] = sum.m != sum.m ? kNaN : sum.m;
  view.l[index] = sum.l != sum.l ? kNaN : sum.l;
  view.status[index] = status;
  return status;
}

// Divides, writes one row's results and says what became of it. Leaves the row's final m and l in scratch.
inline RowStatus finish_row(const CallArgs& call, const BlockArgs& block, int r, const Scratch& scratch) noexcept {
  const AttendArgs& args = *call.args;
  const Row row = row_of(call, block, r);
  const std::int64_t at = packed_row(block, row);
  const RowSum sum = close_row(scratch.total_m[r], scratch.total_l[r], scratch.total_flags[r], sink_of(args, row.head));
  scratch.total_m[r] = sum.m;
  scratch.total_l[r] = sum.l;
  const F32x16 empty = simd::splat(args.empty_rows == EmptyRows::kNaN ? kNaN : 0.0f);
  const float* o = scratch.total + r * call.o_stride;
  Lanes lanes;
  for (std::int64_t d = 0; d < args.kv.v_dim; d += 16) {
    const int n = lanes_of(d, args.kv.v_dim);
    const F32x16 x = sum.empty ? empty : divided(simd::load(o + d), sum);
    lanes.note(x, n);
    lanes.inf |= store_out(args.out, at, row.head, d, x, n);
  }
  if (args.lse != nullptr) args.lse[at * args.lse_row_stride + row.head * args.lse_head_stride] = lse_of(sum);
  return status_of(sum, lanes);
}

// Finishes all rows of a block; the result has the status_bit of every status met.
inline std::uint32_t finish_rows(const CallArgs& call, const BlockArgs& block, const Scratch& scratch,
                                 BlockCounts* counts) noexcept {
  const AttendArgs& args = *call.args;
  std::uint32_t met = 0;
  for (int r = 0; r < kRowsAhead; ++r) prefetch_row_results(call, block, r);
  for (int r = 0; r < block.n_rows; ++r) {
    prefetch_row_results(call, block, r + kRowsAhead);
    const RowStatus status =
        args.partial.o != nullptr ? store_partial_row(call, block, r, scratch) : finish_row(call, block, r, scratch);
    const Row row = row_of(call, block, r);
    const std::int64_t at = packed_row(block, row);
    if (args.row_status != nullptr) {
      args.row_status[at * args.status_row_stride + row.head * args.status_head_stride] = status;
    }
    met |= status_bit(status);
    count_row(status, at, row.head, counts);
  }
  return met;
}

}  // namespace
}  // namespace rowmax::attention
