// What needs a row's final maximum and sum, and so a second look at its keys: weights, the first non-finite weight.
// Scores come from the same code as in the first pass, so they are the same bits. Part of the attend kernel's
// algorithm, see attend.h.
#pragma once

#include "attention/kernels/attend/finish.h"

namespace rowmax::attention {
namespace {

// Raw dots of all rows of the block that see a key of the tile.
template <class Source>
void score_rows(const CallArgs& call, const BlockArgs& block, const TileOperand& k, const Scratch& scratch) noexcept {
  find_scores<Source, false>(call, block, k, scratch, Prefetch{}, nullptr);
}

// Visits the block's tiles in order, those without a visible key left out: fn(begin) finds scratch.words and in
// scratch.s the scores of every row that sees a key, -inf where hidden. Queries and spans are in scratch.
template <class Fn>
void revisit_tiles(const CallArgs& call, const BlockArgs& block, const BlockSpans& all, const Scratch& scratch,
                   Fn&& fn) noexcept {
  const std::int64_t first = block.sequence->anchor + block.split_begin * kSplitKeys;
  const std::int64_t end = min_i64(block.sequence->anchor + block.split_end * kSplitKeys, block.sequence->kv_end);
  for (std::int64_t begin = first; begin < end; begin += kKeyTile) {
    if (!all.touches(begin, begin + kKeyTile)) continue;
    const std::uint64_t word = find_words(call, block, all, begin, scratch);
    if (word == 0) continue;
    const TileOperand k = prepare_keys(call, block, begin, word, scratch);
    with_tile_source(k, [&](auto source) { score_rows<decltype(source)>(call, block, k, scratch); });
    for (int r = 0; r < block.n_rows; ++r) {
      if (scratch.words[r] == 0) continue;
      const float* bias = adds_bias(call, block) ? scratch.bias + r * kKeyTile : nullptr;
      F32x16 low = simd::splat(kInfinity);
      finish_scores<false>(call, bias, scratch.words[r], scratch.s + r * kKeyTile, &low, &scratch.flags[r]);
    }
    fn(begin);
  }
}

inline BlockSpans load_block(const CallArgs& call, const BlockArgs& block, const Scratch& scratch) noexcept {
  load_queries(call, block, 0, block.n_rows, scratch);
  return find_spans(call, block, scratch.spans);
}

inline bool is_empty(const Scratch& scratch, int r) noexcept { return (scratch.total_flags[r] & kRowSeen) == 0; }

inline float* weights_of(const CallArgs& call, const BlockArgs& block, int r) noexcept {
  const Row row = row_of(call, block, r);
  const WeightsView& view = call.args->weights;
  return view.data + packed_row(block, row) * view.row_stride + row.head * view.head_stride;
}

// What a row's weights are where no key is visible.
inline void fill_weights(const CallArgs& call, const BlockArgs& block, int r, const Scratch& scratch) noexcept {
  const PlanSequence& sequence = *block.sequence;
  float* weights = weights_of(call, block, r);
  const EmptyRows policy = is_empty(scratch, r) ? call.args->empty_rows : EmptyRows::kZero;
  const float value = policy == EmptyRows::kNaN ? kNaN : 0.0f;
  for (std::int64_t j = 0; j < sequence.n_kv; ++j) weights[j] = value;
  if (policy != EmptyRows::kUniform) return;
  const float uniform = 1.0f / static_cast<float>(sequence.kv_end - sequence.kv_begin);
  for (std::int64_t j = sequence.kv_begin; j < sequence.kv_end; ++j) weights[j] = uniform;
}

// Weights of finished rows. Queries and spans are in scratch.
inline void write_weights(const CallArgs& call, const BlockArgs& block, const BlockSpans& all,
                          const Scratch& scratch) noexcept {
  for (int r = 0; r < block.n_rows; ++r) fill_weights(call, block, r, scratch);
  revisit_tiles(call, block, all, scratch, [&](std::int64_t begin) {
    for (int r = 0; r < block.n_rows; ++r) {
      if (scratch.words[r] == 0) continue;
      float* weights = weights_of(call, block, r) + begin;
      for (int c = 0; c < kKeyTile; c += 16) {
        const int n = lanes_of(begin + c, block.sequence->n_kv);
        const std::uint32_t visible = static_cast<std::uint32_t>(scratch.words[r] >> c) & 0xFFFFu;
        if (visible == 0) continue;
        simd::store_n(weights + c,
                      weights_of_scores(simd::load(scratch.s + r * kKeyTile + c), visible, scratch.total_m[r],
                                        scratch.total_l[r]),
                      n);
      }
    }
  });
}

// The mean of the values of the valid keys as the result of the block's empty rows: what attention with all scores
// equal computes, key by key in a split, splits added ascending. Uses row 0 of scratch, m and l left out.
inline void write_uniform_rows(const CallArgs& call, const BlockArgs& block, const Scratch& scratch) noexcept {
  const PlanSequence& sequence = *block.sequence;
  if (sequence.kv_begin >= sequence.kv_end) return;
  BlockArgs one = block;
  one.n_rows = 1;
  for (int c = 0; c < kKeyTile; ++c) scratch.s[c] = 1.0f;
  scratch.alpha[0] = 1.0f;
  const auto zero = [&](float* o) { std::memset(o, 0, static_cast<std::size_t>(call.o_stride) * sizeof(float)); };
  zero(scratch.total);
  for (std::int64_t split = sequence.anchor; split < sequence.kv_end; split += kSplitKeys) {
    zero(scratch.o);
    for (std::int64_t begin = split; begin < split + kSplitKeys; begin += kKeyTile) {
      const std::uint64_t word = bit_range(sequence.kv_begin - begin, sequence.kv_end - begin);
      if (word == 0) continue;
      scratch.words[0] = word;
      const TileOperand v = prepare_values(call, one, begin, word, scratch);
      with_tile_source(
          v, [&](auto source) { add_values<decltype(source)>(call, one, v, word, scratch, Prefetch{}, nullptr); });
    }
    for (std::int64_t d = 0; d < call.o_stride; d += 16) {
      simd::store(scratch.total + d, simd::add(simd::load(scratch.total + d), simd::load(scratch.o + d)));
    }
  }
  const RowSum mean{0.0f, static_cast<float>(sequence.kv_end - sequence.kv_begin), 1.0f, false, false};
  for (int r = 0; r < block.n_rows; ++r) {
    if (!is_empty(scratch, r)) continue;
    const Row row = row_of(call, block, r);
    for (std::int64_t d = 0; d < call.args->kv.v_dim; d += 16) {
      store_out(call.args->out, packed_row(block, row), row.head, d, divided(simd::load(scratch.total + d), mean),
                lanes_of(d, call.args->kv.v_dim));
    }
  }
}

// Notes the block's first non-finite weight. Weights are finite unless their sum is NaN or 0 (all visible scores -inf);
// the key named is the one to blame: the first whose score is NaN or +inf, else the first visible one.
inline void find_weight_fault(const CallArgs& call, const BlockArgs& block, const Scratch& scratch,
                              BlockCounts* counts) noexcept {
  int r = 0;
  for (; r < block.n_rows; ++r) {
    const float l = scratch.total_l[r];
    if ((scratch.total_flags[r] & kRowSeen) != 0 && (l != l || l == 0.0f)) break;
  }
  if (r == block.n_rows) return;
  BlockArgs one = block;
  one.row_begin = block.row_begin + r;
  one.n_rows = 1;
  const BlockSpans all = load_block(call, one, scratch);
  const Row row = row_of(call, one, 0);
  WeightFault first;
  bool to_blame = false;
  revisit_tiles(call, one, all, scratch, [&](std::int64_t begin) {
    for (std::uint64_t rest = scratch.words[0]; rest != 0 && !to_blame; rest &= rest - 1) {
      const float score = scratch.s[lowest_bit(rest)];
      to_blame = !(score < kInfinity);
      if (!to_blame && first.sequence >= 0) continue;
      first = {block.sequence->source, block.sequence->q_first + row.query, row.head, begin + lowest_bit(rest), score};
    }
  });
  if (fault_before(first, counts->weight)) counts->weight = first;
}

}  // namespace
}  // namespace rowmax::attention
