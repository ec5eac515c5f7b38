// The attend kernel's entries, see attend.h; what one ISA file instantiates.
#pragma once

#include "attention/kernels/attend/merge.h"
#include "attention/kernels/attend/probe_pass.h"
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
  const BlockSpans all = sum_splits(call, block, scratch);
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
