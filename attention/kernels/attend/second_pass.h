// What needs a row's final maximum and sum, and so a second look at its keys: the first non-finite weight. Scores come
// from the same code as in the first pass, so they are the same bits. Part of the attend kernel's algorithm, see
// attend.h.
#pragma once

#include "attention/kernels/attend/finish.h"

namespace rowmax::attention {
namespace {

// Raw dots of all rows of the block that see a key of the tile.
template <class Source>
void score_rows(const CallArgs& call, const BlockArgs& block, const TileOperand& k, const Scratch& scratch) noexcept {
  find_scores<Source>(call, block, k, scratch, Prefetch{});
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
    with_source(k.dtype, [&](auto source) { score_rows<decltype(source)>(call, block, k, scratch); });
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
  with_source(call.args->q.dtype, [&](auto source) { load_query_rows<decltype(source)>(call, block, scratch.q); });
  return find_spans(call, block, scratch.spans);
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
