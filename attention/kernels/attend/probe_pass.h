// One row looked at from outside and inside, for probe.h: the kernel's own code runs again for it, and what it gives is
// held against dot products in fp64 and the mask's definition. Not part of any result.
#pragma once

#include "attention/kernels/attend/parity_pass.h"
#include "attention/kernels/attend/second_pass.h"

namespace rowmax::attention {
namespace {

struct Range {
  float low = kInfinity;
  float high = -kInfinity;

  void add(float x) noexcept {
    if (x < low) low = x;
    if (x > high) high = x;
  }
};

// A tile of the row: scores in the kernel's steps.
struct ProbeTile {
  float scaled[kKeyTile];       // the scale alone
  float before_mask[kKeyTile];  // soft cap and bias, too
  float masked[kKeyTile];
  std::uint64_t readable;  // keys that some row of the sequence sees
};

// What is gathered over a row's keys.
struct ProbeSums {
  Range raw, before, after;
  double after_squares = 0;  // of the finite ones
  std::int64_t n_after = 0;
  double largest_dot = -1;
};

// The keys of a tile that some query sees through this kv head, by the kernel's code in blocks of n_rows.
inline std::uint64_t readable_keys(const CallArgs& call, const BlockArgs& row, std::int64_t begin, int n_rows,
                                   const Scratch& scratch) noexcept {
  std::uint64_t any = 0;
  BlockArgs block = row;
  const std::int64_t end = row.sequence->n_q * call.group;
  for (block.row_begin = 0; block.row_begin < end; block.row_begin += n_rows) {
    block.n_rows = static_cast<int>(min_i64(n_rows, end - block.row_begin));
    const BlockSpans all = find_spans(call, block, scratch.spans);
    if (all.touches(begin, begin + kKeyTile)) any |= find_words(call, block, all, begin, scratch);
  }
  return any;
}

// Gives the keys that the row does not see what they have beside a dense bias; find_words() left `word`'s bias in
// scratch, words[0] holds all keys that count.
inline void fill_hidden_bias(const CallArgs& call, const BlockArgs& row, std::int64_t begin, std::uint64_t word,
                             const Scratch& scratch) noexcept {
  float seen[kKeyTile];
  std::memcpy(seen, scratch.bias, sizeof seen);
  std::memset(scratch.bias, 0, sizeof seen);
  if (call.distance_bias) add_distance_bias(call, row, begin, scratch);
  for (int k = 0; k < kKeyTile; ++k) {
    if (((word >> k) & 1u) != 0) scratch.bias[k] = seen[k];
  }
}

// The kernel's scores of the row for a tile; false where no query sees a key of it.
inline bool probe_tile(const CallArgs& call, const BlockArgs& row, std::int64_t begin, int n_rows,
                       const Scratch& scratch, ProbeTile* tile) noexcept {
  tile->readable = readable_keys(call, row, begin, n_rows, scratch);
  if (tile->readable == 0) return false;
  const BlockSpans all = find_spans(call, row, scratch.spans);
  const std::uint64_t word = all.touches(begin, begin + kKeyTile) ? find_words(call, row, all, begin, scratch) : 0;
  scratch.words[0] = tile->readable;
  if (adds_bias(call, row)) fill_hidden_bias(call, row, begin, word, scratch);
  const TileOperand k = prepare_keys(call, row, begin, tile->readable, scratch);
  with_tile_source(k, [&](auto source) { score_rows<decltype(source)>(call, row, k, scratch); });
  float dots[kKeyTile];
  std::memcpy(dots, scratch.s, sizeof dots);
  AttendArgs scale_alone = *call.args;
  scale_alone.softcap = 0.0f;
  CallArgs scale_call = call;
  scale_call.args = &scale_alone;
  const float* bias = adds_bias(call, row) ? scratch.bias : nullptr;
  F32x16 low = simd::splat(kInfinity);
  const auto scores = [&](const CallArgs& with, const float* added, std::uint64_t visible, float* to) {
    std::memcpy(to, dots, sizeof dots);
    finish_scores<false>(with, added, visible, to, &low, &scratch.flags[0]);
  };
  scores(scale_call, nullptr, tile->readable, tile->scaled);
  scores(call, bias, tile->readable, tile->before_mask);
  scores(call, bias, word, tile->masked);
  return true;
}

// q k in fp64, from memory.
inline double exact_dot(const CallArgs& call, const BlockArgs& block, const Stream& keys, std::int64_t j,
                        double* size) noexcept {
  const ConstHeadsView& q = call.args->q;
  const Row row = row_of(call, block, 0);
  const std::int64_t at = packed_row(block, row) * q.row_stride + row.head * q.head_stride;
  const void* key = keys.key(j);
  double dot = 0;
  *size = 0;
  for (std::int64_t d = 0; d < q.n_dim; ++d) {
    const double product = number_at(q.data, q.dtype, at + d * q.dim_stride) * stored_number(keys, key, d);
    dot += product;
    *size += product < 0 ? -product : product;
  }
  return dot;
}

// A visible key: its dot product, and what the kernel made of it.
inline void probe_visible_key(const CallArgs& call, std::int64_t j, double dot, double size, float scaled,
                              ProbeSums* sums, ProbeRow* out) noexcept {
  const double length = magnitude(dot);
  sums->raw.add(static_cast<float>(dot));
  if (j < out->n_edge) out->first_dots[j] = static_cast<float>(dot);
  if (j >= out->n_kv - out->n_edge) out->last_dots[j - (out->n_kv - out->n_edge)] = static_cast<float>(dot);
  if (!(length > sums->largest_dot)) return;
  sums->largest_dot = length;
  if (length == 0) return;
  const double scale = static_cast<double>(call.args->scale);
  out->measured_scale = static_cast<double>(scaled) / dot;
  // A chain of k_dim fused steps, the product with scale, each half an ulp; twice for safety in fp64's own sum.
  const double steps = 2 * static_cast<double>(call.args->kv.k_dim + 2);
  const double factor = scale < 0 ? -scale : scale;
  // Below 2^-126 each step and the product with scale lose up to 2^-150 more.
  const double lost = steps * 0x1p-150 * (factor > 1 ? factor : 1);
  out->scale_error = steps * 0x1p-24 * factor * size / length + lost / length;
}

inline void probe_edges(std::int64_t j, float score, float weight, ProbeRow* out) noexcept {
  if (j < out->n_edge) {
    out->first_scores[j] = score;
    out->first_weights[j] = weight;
  }
  const std::int64_t from_end = j - (out->n_kv - out->n_edge);
  if (from_end >= 0) {
    out->last_scores[from_end] = score;
    out->last_weights[from_end] = weight;
  }
}

// One key of a tile; visible by the definition.
inline void probe_weight(std::int64_t j, bool visible, float score, float exponential, float l,
                         ProbeRow* out) noexcept {
  if (!visible && score > out->hidden_max) out->hidden_max = score;
  if (!visible && score == -kInfinity) return;
  const float weight = exponential / l;
  const bool larger = exponential != exponential || exponential > out->largest_exp;
  if (larger && out->largest_exp == out->largest_exp) out->largest_exp = exponential;  // a NaN stays
  probe_edges(j, score, weight, out);
  if (!visible) {
    out->n_hidden_weighted += exponential != 0.0f;
    return;
  }
  out->n_visible_lost += score == -kInfinity;
  out->weights_sum += static_cast<double>(weight);
  if (out->n_visible == 0 || weight < out->smallest_weight) out->smallest_weight = weight;
  ++out->n_visible;
  if (!(weight - weight == 0.0f)) {
    if (out->n_non_finite_weights++ == 0) out->first_non_finite_key = j;
  }
}

// Whether the definition lets the row see key j: the plan, and a dense bias that is not -inf.
inline bool defined_visible(const CallArgs& call, const BlockArgs& block, const Row& row, const MaskPlan& plan,
                            std::int64_t j) noexcept {
  const PlanSequence& s = *block.sequence;
  if (!plan.visible(s.source, row.head, s.q_first + row.query, j)) return false;
  if (block.kv->bias == nullptr) return true;
  const BiasStrides& bias = call.args->bias;
  const std::int64_t at = (s.q_first + row.query) * bias.row_stride + row.head * bias.head_stride + j * bias.key_stride;
  return number_at(block.kv->bias, bias.dtype, at) != static_cast<double>(-kInfinity);
}

// The exponentials of a tile of the row.
inline void probe_exponentials(const float* scores, float m, float* to) noexcept {
  const F32x16 base = guarded_base(simd::splat(m));
  for (int c = 0; c < kKeyTile; c += 16) simd::store(to + c, exp_weight(simd::sub(simd::load(scores + c), base)));
}

// Dimensions of the result behind the first ones, each piece with a pass of its own over the keys.
inline void probe_more_dims(const CallArgs& call, const BlockArgs& block, const MaskPlan& plan,
                            ProbeRow* out) noexcept {
  const PlanSequence& s = *block.sequence;
  const Row row = row_of(call, block, 0);
  const Stream keys = key_stream(call, block), values = value_stream(call, block);
  ExactRow exact;
  for (std::int64_t d = kExactDims; d < call.args->kv.v_dim; d += kExactDims) {
    exact = ExactRow();
    exact.d_begin = d;
    exact.n_dim = min_i64(kExactDims, call.args->kv.v_dim - d);
    for (std::int64_t j = s.kv_begin; j < s.kv_end; ++j) {
      if (!defined_visible(call, block, row, plan, j)) continue;
      double size = 0;
      const double dot = exact_dot(call, block, keys, j, &size);
      add_exact_key(call, block, row, values, j, dot, size, &exact);
    }
    finish_parity(call, block, exact, out);
  }
}

// The row's second pass, sum.m and sum.l being what the first one ended with.
inline void probe_keys(const CallArgs& call, const BlockArgs& block, const MaskPlan& plan, const RowSum& sum,
                       int n_rows, const Scratch& scratch, ProbeRow* out) noexcept {
  const PlanSequence& s = *block.sequence;
  const Row row = row_of(call, block, 0);
  const Stream keys = key_stream(call, block), values = value_stream(call, block);
  ProbeSums sums;
  ProbeTile tile;
  ExactRow exact;
  exact.n_dim = min_i64(kExactDims, call.args->kv.v_dim);
  for (std::int64_t begin = s.anchor; begin < s.kv_end; begin += kKeyTile) {
    float exponentials[kKeyTile];
    if (probe_tile(call, block, begin, n_rows, scratch, &tile)) probe_exponentials(tile.masked, sum.m, exponentials);
    for (int k = 0; k < kKeyTile && begin + k < s.kv_end; ++k) {
      const std::int64_t j = begin + k;
      const bool visible = defined_visible(call, block, row, plan, j);
      double size = 0, dot = 0;
      if (visible) {
        dot = exact_dot(call, block, keys, j, &size);
        add_exact_key(call, block, row, values, j, dot, size, &exact);
      }
      if (((tile.readable >> k) & 1u) == 0) {
        out->n_visible_lost += visible;
        continue;
      }
      sums.before.add(tile.before_mask[k]);
      if (visible) {
        probe_visible_key(call, j, dot, size, tile.scaled[k], &sums, out);
        sums.after.add(tile.masked[k]);
        if (tile.masked[k] - tile.masked[k] == 0.0f) {
          sums.after_squares += static_cast<double>(tile.masked[k]) * static_cast<double>(tile.masked[k]);
          ++sums.n_after;
        }
      }
      probe_weight(j, visible, tile.masked[k], exponentials[k], sum.l, out);
    }
  }
  finish_parity(call, block, exact, out);
  probe_more_dims(call, block, plan, out);
  out->raw_min = sums.raw.low;
  out->raw_max = sums.raw.high;
  out->before_mask_min = sums.before.low;
  out->before_mask_max = sums.before.high;
  out->after_mask_min = sums.after.low;
  out->after_mask_max = sums.after.high;
  if (sums.n_after > 0) out->after_mask_mean_square = sums.after_squares / static_cast<double>(sums.n_after);
}

// block: one row, all splits. Fills everything but where the row is; n_kv and n_edge are set. n_rows: that scratch
// holds.
inline void probe_row(const CallArgs& call, const BlockArgs& block, const MaskPlan& plan, int n_rows,
                      const Scratch& scratch, ProbeRow* out) {
  sum_splits(call, block, scratch);
  const Row row = row_of(call, block, 0);
  const float sink = call.args->partial.o == nullptr ? sink_of(*call.args, row.head) : -kInfinity;
  const RowSum sum = close_row(scratch.total_m[0], scratch.total_l[0], scratch.total_flags[0], sink);
  Lanes lanes;
  for (std::int64_t d = 0; d < call.args->kv.v_dim && !sum.empty; d += 16) {
    lanes.note(divided(simd::load(scratch.total + d), sum), lanes_of(d, call.args->kv.v_dim));
  }
  out->status = status_of(sum, lanes);
  out->scale = static_cast<double>(call.args->scale);
  out->softcap = call.args->softcap;
  out->sink = sink;
  out->row_max = sum.m;
  out->sum = static_cast<double>(sum.l);
  out->lse = lse_of(sum);
  for (int e = 0; e < out->n_edge; ++e) {
    out->first_keys[e] = e;
    out->last_keys[e] = out->n_kv - out->n_edge + e;
    out->first_dots[e] = out->last_dots[e] = kNaN;
    out->first_scores[e] = out->last_scores[e] = -kInfinity;
  }
  probe_keys(call, block, plan, sum, n_rows, scratch, out);
}

}  // namespace
}  // namespace rowmax::attention
