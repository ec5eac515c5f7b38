// Definitions of IsaKernels, once for all ISAs.
#pragma once

#include "attention/kernels/attend/entry.h"
#include "bench/attention/isa_kernels.h"

namespace rowmax::bench {
namespace {

constexpr int kChains = simd::kRegisters / simd::kRegistersPerVector > 16 ? 12 : 6;

inline std::int64_t fma_chains(std::int64_t n_steps, float* sink) {
  simd::F32x16 acc[kChains];
  ROWMAX_UNROLL
  for (int i = 0; i < kChains; ++i) acc[i] = simd::splat(static_cast<float>(i));
  const simd::F32x16 x = simd::splat(0.999f);
  const simd::F32x16 y = simd::splat(0.001f);
  for (std::int64_t step = 0; step < n_steps; ++step) {
    ROWMAX_UNROLL
    for (int i = 0; i < kChains; ++i) acc[i] = simd::fma(acc[i], x, y);
    asm volatile("" ::: "memory");
  }
  ROWMAX_UNROLL
  for (int i = 0; i < kChains; ++i) simd::store(sink, simd::add(acc[i], simd::load(sink)));
  return 16 * kChains;
}

// attend_block with row i seeing keys [0, i] and nothing else: no spans, no plan.
inline void causal_block(const attention::CallArgs& call, const attention::BlockArgs& block,
                         const attention::Scratch& scratch, attention::BlockCounts* counts) {
  using namespace attention;
  RowsMet met;
  if (block.n_rows <= kConvertRows) met.load_to(call, block, block.n_rows, scratch);
  for (int r = 0; r < block.n_rows; ++r) scratch.total_flags[r] = 0;
  const std::int64_t n_keys = block.row_begin + block.n_rows;
  for (std::int64_t split = 0; split * kSplitKeys < n_keys; ++split) {
    start_split(call, block, scratch);
    const std::int64_t end = min_i64((split + 1) * kSplitKeys, n_keys);
    for (std::int64_t begin = split * kSplitKeys; begin < end; begin += kKeyTile) {
      for (int r = 0; r < block.n_rows; ++r) scratch.words[r] = bit_range(0, block.row_begin + r + 1 - begin);
      const std::uint64_t word = scratch.words[block.n_rows - 1];
      process_tile(call, block, begin, word, begin + kKeyTile < n_keys, scratch, &met);
    }
    close_split(call, block, split, scratch);
  }
  complete_rows(call, block, nullptr, scratch, counts);
}

inline void bare_block(const attention::CallArgs& call, const attention::BlockArgs& block,
                       const attention::Scratch& scratch, attention::BlockCounts* counts) {
  attention::sum_splits(call, block, scratch);
  attention::finish_rows(call, block, scratch, counts);
}

}  // namespace
}  // namespace rowmax::bench
