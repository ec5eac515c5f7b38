// A row's result in fp64, from q, K, V and bias as they lie in memory and the mask's definition, and the bound of
// docs/numerics.md on what the kernel's may differ by. For the probe; not part of any result.
#pragma once

#include "attention/kernels/attend/finish.h"
#include "base/math/f64.h"
#include "rowmax/probe.h"

namespace rowmax::attention {
namespace {

constexpr double kInfinityExact = __builtin_inf();
// Dimensions of v at a time, so that they find room without being allocated.
constexpr std::int64_t kExactDims = 256;

// The online softmax over the visible keys that were added, for dimensions [d_begin, d_begin + n_dim) of the result.
struct ExactRow {
  std::int64_t d_begin = 0, n_dim = 0, n_visible = 0;
  double m = -kInfinityExact, l = 0, lowest = kInfinityExact;
  double score_error = 0;  // of any score in f32, in units of 2^-24
  double value_max = 0;
  double o[kExactDims] = {};
};

inline double magnitude(double x) noexcept { return x < 0 ? -x : x; }
inline double larger(double a, double b) noexcept { return a > b ? a : b; }
inline bool is_finite(double x) noexcept { return x - x == 0; }

inline double soft_capped(double x, double cap) noexcept {
  const double t = 1.0 - 2.0 / (base::exp_f64(2.0 * magnitude(x / cap)) + 1.0);
  return x < 0 ? -cap * t : cap * t;
}

// The bias of a key, and the magnitudes of its terms added up.
inline double exact_bias(const CallArgs& call, const BlockArgs& block, const Row& row, std::int64_t j,
                         double* size) noexcept {
  const AttendArgs& args = *call.args;
  const std::int64_t query = block.sequence->q_first + row.query, p = query_position(*block.sequence, row.query);
  double sum = 0;
  *size = 0;
  const auto add = [&](double term) {
    sum += term;
    *size += magnitude(term);
  };
  if (block.kv->bias != nullptr) {
    add(number_at(block.kv->bias, args.bias.dtype,
                  query * args.bias.row_stride + row.head * args.bias.head_stride + j * args.bias.key_stride));
  }
  if (args.alibi_slopes != nullptr) {
    add(-static_cast<double>(args.alibi_slopes[row.head]) * static_cast<double>(p > j ? p - j : j - p));
  }
  if (const RelativeBias& relative = args.relative_bias; relative.table != nullptr) {
    const std::int64_t distance = max_i64(min_i64(j - p, relative.max_distance), relative.min_distance);
    add(static_cast<double>(relative.table[row.head * relative.head_stride + distance - relative.min_distance]));
  }
  return sum;
}

// dot: q k; size: the same of magnitudes.
inline void add_exact_key(const CallArgs& call, const BlockArgs& block, const Row& row, const Stream& values,
                          std::int64_t j, double dot, double size, ExactRow* exact) noexcept {
  const AttendArgs& args = *call.args;
  const double factor = magnitude(args.scale);
  double s = dot * args.scale;
  // A fused chain over k_dim, the product with the scale and the scale's own rounding.
  double error = static_cast<double>(args.kv.k_dim + 2) * (size * factor + 0x1p-125 * larger(1.0, factor));
  if (args.softcap > 0) {
    s = soft_capped(s, static_cast<double>(args.softcap));
    error += 8 * magnitude(s);
  }
  if (adds_bias(call, block)) {
    double bias_size = 0;
    s += exact_bias(call, block, row, j, &bias_size);
    error += magnitude(s) + 4 * bias_size;
  }
  if (s > exact->m) {
    const double shrink = base::exp_f64(exact->m - s);
    exact->m = s;
    exact->l *= shrink;
    for (std::int64_t d = 0; d < exact->n_dim; ++d) exact->o[d] *= shrink;
  }
  exact->lowest = s < exact->lowest ? s : exact->lowest;
  exact->score_error = larger(exact->score_error, error);
  ++exact->n_visible;
  const double weight = base::exp_f64(s - exact->m);
  exact->l += weight;
  const void* value = values.key(j);
  for (std::int64_t d = 0; d < exact->n_dim; ++d) {
    const double v = stored_number(values, value, exact->d_begin + d);
    exact->o[d] += weight * v;
    exact->value_max = larger(exact->value_max, magnitude(v));
  }
}

// Roundings on a row's way, in units of 2^-24: docs/numerics.md, "How far from exact".
struct ParityBound {
  double weights, numerator, denominator, lost, underflow;
};
inline ParityBound parity_bound(const ExactRow& exact, std::int64_t n_kv, double sink) noexcept {
  const double n = static_cast<double>(exact.n_visible);
  const double tiles = static_cast<double>(min_i64(8, n_kv / 64 + 2)), splits = static_cast<double>(n_kv / 512 + 2);
  const double joined = larger(exact.m, sink);
  const double low = sink > -kInfinityExact && sink < exact.lowest ? sink : exact.lowest;
  const double fall = joined - low < 87.0 ? joined - low : 87.0;
  return {exact.score_error + fall + 2.04 * (tiles + splits + 1), (n < 512 ? n : 512) + tiles + 2 * splits,
          8 + 2 * tiles + 2 * splits, n * 0x1p-124, (n + tiles + 2 * splits + 4) * 0x1p-149};
}

// For a relative error of x units, second order included.
inline double first_order(double x) noexcept { return x * 0x1p-24 < 0.5 ? x * 0x1p-24 / (1 - x * 0x1p-24) : 2; }

// What the call has written.
inline double written_result(const CallArgs& call, const BlockArgs& block, const Row& row, std::int64_t d) noexcept {
  const AttendArgs& args = *call.args;
  const std::int64_t at = packed_row(block, row);
  if (const PartialView& partial = args.partial; partial.o != nullptr) {
    const auto o = static_cast<double>(partial.o[at * partial.o_row_stride + row.head * partial.o_head_stride + d]);
    const float l = partial.l[at * partial.row_stride + row.head * partial.head_stride];
    return l == 0.0f ? o : o / static_cast<double>(l);
  }
  return number_at(args.out.data, args.out.dtype,
                   at * args.out.row_stride + row.head * args.out.head_stride + d * args.out.dim_stride);
}

// What rounding a result to its type adds to a bound.
inline double storing_error(const CallArgs& call, double x) noexcept {
  if (call.args->partial.o != nullptr) return 0x1p-24 * x;
  if (call.args->out.dtype == DType::kF16) return 0x1p-11 * x + 0x1p-25;
  return call.args->out.dtype == DType::kBF16 ? 0x1p-8 * x + 0x1p-134 : 0.0;
}

// Holds what was written of a row's dimensions against fp64; the dimension that uses most of its bound is kept.
inline void compare_results(const CallArgs& call, const BlockArgs& block, const Row& row, const ExactRow& exact,
                            const ParityBound& bound, double l, double factor, ProbeRow* out) noexcept {
  const double relative = first_order(bound.weights + bound.numerator + bound.denominator + 1) + 2 * bound.lost;
  const double allowed = (relative < 2.01 ? relative : 2.01) * exact.value_max + bound.underflow;
  for (std::int64_t d = 0; d < exact.n_dim; ++d) {
    const double want = exact.n_visible == 0 ? 0.0 : exact.o[d] * factor / l;
    const double limit = allowed + storing_error(call, magnitude(want) + allowed);
    const double error = magnitude(written_result(call, block, row, exact.d_begin + d) - want);
    const bool first_over = !(error <= limit) && out->out_error <= out->out_bound;
    const bool worse = first_over || !(error * out->out_bound <= out->out_error * limit);
    if (out->n_compared++ != 0 && (!worse || out->out_error != out->out_error)) continue;
    out->out_error = error;
    out->out_bound = limit;
    out->out_dim = exact.d_begin + d;
  }
}

// After all keys were added. Nothing is compared where fp64 has no finite result, or where the caller wanted empty rows
// to be something else than 0.
inline void finish_parity(const CallArgs& call, const BlockArgs& block, const ExactRow& exact, ProbeRow* out) noexcept {
  const Row row = row_of(call, block, 0);
  if (exact.n_visible == 0 && call.args->empty_rows != EmptyRows::kZero) return;
  const auto sink = static_cast<double>(out->sink);
  const double joined = larger(exact.m, sink);
  double factor = 1, l = exact.l;
  if (sink > -kInfinityExact) {
    factor = exact.n_visible == 0 ? 0 : base::exp_f64(exact.m - joined);
    l = exact.l * factor + base::exp_f64(sink - joined);
  }
  for (std::int64_t d = 0; d < exact.n_dim; ++d) {
    if (!is_finite(exact.o[d])) return;
  }
  if (!is_finite(l) || (exact.n_visible != 0 && !is_finite(exact.m))) return;
  const ParityBound bound = parity_bound(exact, out->n_kv, sink);
  if (exact.n_visible == 0) {
    compare_results(call, block, row, exact, {}, l, factor, out);
    return;
  }
  compare_results(call, block, row, exact, bound, l, factor, out);
  const double lse = joined + base::log_f64(l);
  out->lse_error = magnitude(static_cast<double>(out->lse) - lse);
  out->lse_bound = first_order(bound.weights + bound.denominator) + bound.lost + magnitude(lse) * 0x1.1p-24 + 0x1p-149;
}

}  // namespace
}  // namespace rowmax::attention
