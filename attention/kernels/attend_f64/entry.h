// The f64 attend kernel's entries, see attend_f64.h; what one ISA file instantiates.
#pragma once

#include "attention/kernels/attend_f64/second_pass.h"

namespace rowmax::attention {
namespace {

// Results of a block whose sums are complete, and what is asked for beside them. all: nullptr where queries and spans
// are not in scratch.
inline void complete_rows_f64(const CallArgs& call, const BlockArgs& block, const BlockSpans* all,
                              const ScratchF64& scratch, BlockCounts* counts) noexcept {
  const std::uint32_t met = finish_rows_f64(call, block, scratch, counts);
  if (call.args->empty_rows == EmptyRows::kUniform && (met & status_bit(RowStatus::kEmpty)) != 0) {
    write_uniform_rows_f64(call, block, scratch);
  }
  if (call.args->weights.data != nullptr) {
    if (all == nullptr) load_queries(call, block, scratch.q);
    write_weights_f64(call, block, all != nullptr ? *all : find_spans(call, block, scratch.spans), scratch);
  }
  if (call.check_weights && (met & kFaultBits) != 0) find_weight_fault_f64(call, block, scratch, counts);
}

inline void attend_f64_block(const CallArgs& call, const BlockArgs& block, const Scratch& floats, BlockCounts* counts) {
  const ScratchF64 scratch = in_f64(floats);
  const BlockSpans all = sum_splits_f64(call, block, scratch);
  if (block.partials == nullptr) complete_rows_f64(call, block, &all, scratch, counts);
}

inline void attend_f64_merge(const CallArgs& call, const BlockArgs& block, std::int64_t n_splits, const Scratch& floats,
                             BlockCounts* counts) {
  const ScratchF64 scratch = in_f64(floats);
  for (int r = 0; r < block.n_rows; ++r) scratch.total_flags[r] = 0;
  for (std::int64_t split = 0; split < n_splits; ++split) {
    for (int r = 0; r < block.n_rows; ++r) {
      const double* stored = stored_row(call, block, split, r);
      PartialTailF64 tail;
      std::memcpy(&tail, stored + call.o_stride, sizeof tail);
      merge_row_f64(call, stored, tail.m, tail.l, tail.flags, r, scratch);
    }
  }
  complete_rows_f64(call, block, nullptr, scratch, counts);
}

}  // namespace
}  // namespace rowmax::attention
