// The attend kernel's entries, see attend.h; what one ISA file instantiates.
#pragma once

#include "attention/kernels/attend/merge.h"
#include "attention/kernels/attend/second_pass.h"

namespace rowmax::attention {
namespace {

// Results of a block whose sums are complete, and what is asked for beside them. all: nullptr where queries and spans
// are not in scratch.
inline void complete_rows(const CallArgs& call, const BlockArgs& block, const BlockSpans* all, const Scratch& scratch,
                          BlockCounts* counts) noexcept {
  const std::uint32_t met = finish_rows(call, block, scratch, counts);
  if (call.args->empty_rows == EmptyRows::kUniform && (met & status_bit(RowStatus::kEmpty)) != 0) {
    write_uniform_rows(call, block, scratch);
  }
  if (call.args->weights.data != nullptr) {
    write_weights(call, block, all != nullptr ? *all : load_block(call, block, scratch), scratch);
  }
  if (call.check_weights && (met & kFaultBits) != 0) find_weight_fault(call, block, scratch, counts);
}

inline void attend_block(const CallArgs& call, const BlockArgs& block, const Scratch& scratch, BlockCounts* counts) {
  with_source(call.args->q.dtype, [&](auto source) { load_query_rows<decltype(source)>(call, block, scratch.q); });
  const BlockSpans all = find_spans(call, block, scratch.spans);
  for (int r = 0; r < block.n_rows; ++r) scratch.total_flags[r] = 0;
  for (std::int64_t split = block.split_begin; split < block.split_end; ++split) {
    const std::int64_t split_key = block.sequence->anchor + split * kSplitKeys;
    const std::int64_t end = min_i64(split_key + kSplitKeys, block.sequence->kv_end);
    bool started = false;
    for (std::int64_t begin = split_key; begin < end; begin += kKeyTile) {
      if (!all.touches(begin, begin + kKeyTile)) continue;
      const std::uint64_t word = find_words(call, block, all, begin, scratch);
      if (word == 0) continue;
      if (!started) start_split(call, block, scratch);
      started = true;
      process_tile(call, block, begin, word, all.touches(begin + kKeyTile, begin + 2 * kKeyTile), scratch);
    }
    if (!started && block.partials != nullptr) start_split(call, block, scratch);
    if (started || block.partials != nullptr) close_split(call, block, split, scratch);
  }
  if (block.partials == nullptr) complete_rows(call, block, &all, scratch, counts);
}

inline void attend_merge(const CallArgs& call, const BlockArgs& block, std::int64_t n_splits, const Scratch& scratch,
                         BlockCounts* counts) {
  for (int r = 0; r < block.n_rows; ++r) scratch.total_flags[r] = 0;
  for (std::int64_t split = 0; split < n_splits; ++split) {
    for (int r = 0; r < block.n_rows; ++r) {
      const float* stored = block.partials + (split * block.n_rows + r) * call.partial_stride;
      PartialTail tail;
      std::memcpy(&tail, stored + call.o_stride, sizeof tail);
      merge_row(call, stored, tail.m, tail.l, tail.flags, r, scratch);
    }
  }
  complete_rows(call, block, nullptr, scratch, counts);
}

}  // namespace
}  // namespace rowmax::attention
