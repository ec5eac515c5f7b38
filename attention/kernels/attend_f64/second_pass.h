// What needs a row's final maximum and sum, and so a second look at its keys: weights, the first non-finite weight; and
// the mean of all valid values. Scores come from the same code as in the first pass. Part of the f64 attend kernel's
// algorithm, see attend_f64.h.
#pragma once

#include "attention/kernels/attend_f64/attend_f64_kernel.h"

namespace rowmax::attention {
namespace {

// Visits the block's tiles with a visible key in order: fn(begin) finds scratch.words and in scratch.s the scores of
// every row that sees a key, -inf where hidden. Queries and spans are in scratch.
template <class Fn>
void revisit_tiles_f64(const CallArgs& call, const BlockArgs& block, const BlockSpans& all, const ScratchF64& scratch,
                       Fn&& fn) noexcept {
  const bool has_bias = adds_bias(call, block);
  const std::int64_t first = block.sequence->anchor + block.split_begin * kSplitKeys;
  const std::int64_t end = min_i64(block.sequence->anchor + block.split_end * kSplitKeys, block.sequence->kv_end);
  for (std::int64_t begin = first; begin < end; begin += kKeyTile) {
    if (!all.touches(begin, begin + kKeyTile)) continue;
    const std::uint64_t word = find_words_f64(call, block, begin, scratch);
    if (word == 0) continue;
    gather_keys(call, block, begin, word, scratch);
    for (int r = 0; r < block.n_rows; ++r) {
      if (scratch.words[r] != 0) score_row(call, r, has_bias, scratch);
    }
    fn(begin);
  }
}

inline bool is_empty_f64(const ScratchF64& scratch, int r) noexcept { return (scratch.total_flags[r] & kRowSeen) == 0; }

// What a row's weights are where no key is visible.
inline void fill_weights_f64(const CallArgs& call, const BlockArgs& block, float* weights, bool empty) noexcept {
  const PlanSequence& sequence = *block.sequence;
  const EmptyRows policy = empty ? call.args->empty_rows : EmptyRows::kZero;
  const float value = policy == EmptyRows::kNaN ? kNaN : 0.0f;
  for (std::int64_t j = 0; j < sequence.n_kv; ++j) weights[j] = value;
  if (policy != EmptyRows::kUniform) return;
  const float uniform = static_cast<float>(1.0 / static_cast<double>(sequence.kv_end - sequence.kv_begin));
  for (std::int64_t j = sequence.kv_begin; j < sequence.kv_end; ++j) weights[j] = uniform;
}

// Weights of finished rows, each rounded to f32 once. Queries and spans are in scratch.
inline void write_weights_f64(const CallArgs& call, const BlockArgs& block, const BlockSpans& all,
                              const ScratchF64& scratch) noexcept {
  const WeightsView& view = call.args->weights;
  const auto weights_of = [&](int r) {
    const Row row = row_of(call, block, r);
    return view.data + packed_row(block, row) * view.row_stride + row.head * view.head_stride;
  };
  for (int r = 0; r < block.n_rows; ++r) fill_weights_f64(call, block, weights_of(r), is_empty_f64(scratch, r));
  revisit_tiles_f64(call, block, all, scratch, [&](std::int64_t begin) {
    for (int r = 0; r < block.n_rows; ++r) {
      const double m = scratch.total_m[r];
      const double base = m == -kInfinityF64 ? 0.0 : m;
      for (std::uint64_t rest = scratch.words[r]; rest != 0; rest &= rest - 1) {
        const int k = lowest_bit(rest);
        const double weight = base::exp_f64(scratch.s[r * kKeyTile + k] - base) / scratch.total_l[r];
        weights_of(r)[begin + k] = weight == weight ? static_cast<float>(weight) : kNaN;
      }
    }
  });
}

// The mean of the values of the valid keys as the result of the block's empty rows: added key by key in a split, splits
// ascending. Uses row 0 of o and total.
inline void write_uniform_rows_f64(const CallArgs& call, const BlockArgs& block, const ScratchF64& scratch) noexcept {
  const PlanSequence& sequence = *block.sequence;
  if (sequence.kv_begin >= sequence.kv_end) return;
  const auto zero = [&](double* o) { std::memset(o, 0, static_cast<std::size_t>(call.o_stride) * sizeof(double)); };
  zero(scratch.total);
  for (std::int64_t split = sequence.anchor; split < sequence.kv_end; split += kSplitKeys) {
    zero(scratch.o);
    for (std::int64_t begin = split; begin < split + kSplitKeys; begin += kKeyTile) {
      const std::uint64_t word = bit_range(sequence.kv_begin - begin, sequence.kv_end - begin);
      if (word == 0) continue;
      gather_values(call, block, begin, word, scratch);
      for (std::uint64_t rest = word; rest != 0; rest &= rest - 1) {
        const double* value = scratch.v + lowest_bit(rest) * call.o_stride;
        for (std::int64_t d = 0; d < call.o_stride; ++d) scratch.o[d] += value[d];
      }
    }
    for (std::int64_t d = 0; d < call.o_stride; ++d) scratch.total[d] += scratch.o[d];
  }
  const double n = static_cast<double>(sequence.kv_end - sequence.kv_begin);
  const HeadsView& out = call.args->out;
  for (int r = 0; r < block.n_rows; ++r) {
    if (!is_empty_f64(scratch, r)) continue;
    const Row row = row_of(call, block, r);
    const std::int64_t at = packed_row(block, row) * out.row_stride + row.head * out.head_stride;
    for (std::int64_t d = 0; d < call.args->kv.v_dim; ++d) {
      store_number(out, at + d * out.dim_stride, scratch.total[d] / n + 0.0);
    }
  }
}

// Notes the block's first non-finite weight: what find_weight_fault() of kernels/attend does.
inline void find_weight_fault_f64(const CallArgs& call, const BlockArgs& block, const ScratchF64& scratch,
                                  BlockCounts* counts) noexcept {
  int r = 0;
  for (; r < block.n_rows; ++r) {
    const double l = scratch.total_l[r];
    if (!is_empty_f64(scratch, r) && (l != l || l == 0.0)) break;
  }
  if (r == block.n_rows) return;
  BlockArgs one = block;
  one.row_begin = block.row_begin + r;
  one.n_rows = 1;
  load_queries(call, one, scratch.q);
  const BlockSpans all = find_spans(call, one, scratch.spans);
  const Row row = row_of(call, one, 0);
  WeightFault first;
  bool to_blame = false;
  revisit_tiles_f64(call, one, all, scratch, [&](std::int64_t begin) {
    for (std::uint64_t rest = scratch.words[0]; rest != 0 && !to_blame; rest &= rest - 1) {
      const double score = scratch.s[lowest_bit(rest)];
      to_blame = !(score < kInfinityF64);
      if (!to_blame && first.sequence >= 0) continue;
      first = {block.sequence->source, block.sequence->q_first + row.query, row.head, begin + lowest_bit(rest),
               static_cast<float>(score)};
    }
  });
  if (fault_before(first, counts->weight)) counts->weight = first;
}

}  // namespace
}  // namespace rowmax::attention
