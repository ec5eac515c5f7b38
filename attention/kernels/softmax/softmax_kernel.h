// The softmax kernel's algorithm, once for all ISAs.
#pragma once

#include "attention/kernels/attend/finish.h"
#include "attention/kernels/softmax/softmax.h"

namespace rowmax::attention {
namespace {

static_assert(kSoftmaxRows <= kMaxWeightRows);

// Rows [begin, begin + n_rows) of a call, n_rows <= kSoftmaxRows, in the attend kernel's terms. The arrays are what
// Scratch says, values left out.
struct SoftmaxBlock {
  alignas(64) float s[kSoftmaxRows * kKeyTile];
  alignas(64) float bias[kSoftmaxRows * kKeyTile];
  alignas(64) float l[kSoftmaxRows * 16];
  alignas(64) float m[kSoftmaxRows + 16];
  alignas(64) float alpha[kSoftmaxRows + 16];
  alignas(64) float no_values[16];
  float total_m[kSoftmaxRows];
  float total_l[kSoftmaxRows];
  std::uint32_t flags[kSoftmaxRows];
  std::uint32_t total_flags[kSoftmaxRows];
  std::uint64_t words[kSoftmaxRows];

  Scratch scratch() noexcept {
    Scratch x{};
    x.s = s;
    x.bias = bias;
    x.o = x.total = no_values;
    x.l = l;
    x.m = m;
    x.alpha = alpha;
    x.total_m = total_m;
    x.total_l = total_l;
    x.flags = flags;
    x.total_flags = total_flags;
    x.words = words;
    return x;
  }
};

// The first n of sixteen floats, 0 beyond.
ROWMAX_INLINE void copy_lanes(float* to, const float* from, std::int64_t n) noexcept {
  simd::store(to, n >= 16 ? simd::load(from) : simd::load_n(from, n < 0 ? 0 : static_cast<int>(n)));
}

// Scores, bias and visible keys of the tile from key `begin` on; returns the keys that some row sees.
inline std::uint64_t load_tile(const SoftmaxCall& call, std::int64_t row, int n_rows, std::int64_t begin,
                               SoftmaxBlock* block) noexcept {
  const SoftmaxArgs& args = *call.args;
  std::uint64_t any = 0;
  for (int r = 0; r < n_rows; ++r) {
    std::uint64_t word = bit_range(0, args.n_key - begin);
    if (args.keep != nullptr) word &= bitmap_word(args.keep + (row + r) * args.keep_row_stride, args.n_key, begin);
    const float* scores = args.scores + (row + r) * args.row_stride + begin;
    const float* bias = args.bias != nullptr ? args.bias + (row + r) * args.bias_row_stride + begin : nullptr;
    for (int c = 0; c < kKeyTile && begin + c < args.n_key; c += 16) {
      copy_lanes(block->s + r * kKeyTile + c, scores + c, args.n_key - begin - c);
      if (bias == nullptr) continue;
      float* lanes = block->bias + r * kKeyTile + c;
      copy_lanes(lanes, bias + c, args.n_key - begin - c);
      const std::uint32_t hides = simd::mask_bits(simd::equal(simd::load(lanes), simd::splat(-kInfinity)));
      word &= ~(std::uint64_t{hides} << c);
    }
    block->words[r] = word;
    any |= word;
  }
  return any;
}

// Maxima and sums of the rows.
inline void sum_rows(const SoftmaxCall& call, std::int64_t row, int n_rows, SoftmaxBlock* block) noexcept {
  const Scratch scratch = block->scratch();
  const KvSequence no_kv{};
  BlockArgs args{};
  args.kv = &no_kv;
  args.n_rows = n_rows;
  for (int r = 0; r < n_rows; ++r) block->total_flags[r] = 0;
  for (std::int64_t split = 0; split < call.args->n_key; split += kSplitKeys) {
    start_split(call.scoring, args, scratch);
    const std::int64_t end = min_i64(split + kSplitKeys, call.args->n_key);
    for (std::int64_t begin = split; begin < end; begin += kKeyTile) {
      if (load_tile(call, row, n_rows, begin, block) == 0) continue;
      Prefetch none;
      start_weights(call.scoring, args, 0, n_rows, scratch, &none);
      finish_weights(0, n_rows, scratch, &none);
    }
    close_split(call.scoring, args, 0, scratch);
  }
}

// What a row without a visible key holds.
inline void fill_empty_row(const SoftmaxArgs& args, float* weights) noexcept {
  const float value = args.empty_rows == EmptyRows::kNaN       ? kNaN
                      : args.empty_rows == EmptyRows::kUniform ? 1.0f / static_cast<float>(args.n_key)
                                                               : 0.0f;
  for (std::int64_t j = 0; j < args.n_key; ++j) weights[j] = value;
}

// Weights of the rows, given what sums[r] says. A tile's scores are read before its weights are written.
inline void write_rows(const SoftmaxCall& call, std::int64_t row, int n_rows, const RowSum* sums,
                       SoftmaxBlock* block) noexcept {
  const SoftmaxArgs& args = *call.args;
  for (std::int64_t begin = 0; begin < args.n_key; begin += kKeyTile) {
    load_tile(call, row, n_rows, begin, block);
    for (int r = 0; r < n_rows; ++r) {
      float* s = block->s + r * kKeyTile;
      const float* bias = args.bias != nullptr ? block->bias + r * kKeyTile : nullptr;
      F32x16 low = simd::splat(kInfinity);
      if (block->words[r] != 0) {
        finish_scores<false>(call.scoring, bias, block->words[r], s, &low, &block->flags[r]);
      }
      float* weights = args.weights + (row + r) * args.weights_row_stride + begin;
      for (int c = 0; c < kKeyTile && begin + c < args.n_key; c += 16) {
        const std::uint32_t visible = static_cast<std::uint32_t>(block->words[r] >> c) & 0xFFFFu;
        simd::store_n(weights + c, weights_of_scores(simd::load(s + c), visible, sums[r].m, sums[r].l),
                      lanes_of(begin + c, args.n_key));
      }
    }
  }
}

inline void softmax_rows_of(const SoftmaxCall& call, std::int64_t begin, std::int64_t end, BlockCounts* counts) {
  const SoftmaxArgs& args = *call.args;
  SoftmaxBlock block{};
  for (std::int64_t row = begin; row < end; row += kSoftmaxRows) {
    const int n_rows = static_cast<int>(min_i64(kSoftmaxRows, end - row));
    sum_rows(call, row, n_rows, &block);
    RowSum sums[kSoftmaxRows];
    for (int r = 0; r < n_rows; ++r) {
      sums[r] = close_row(block.total_m[r], block.total_l[r], block.total_flags[r],
                          args.sink != nullptr ? args.sink[row + r] : -kInfinity);
    }
    write_rows(call, row, n_rows, sums, &block);
    for (int r = 0; r < n_rows; ++r) {
      if (sums[r].empty) fill_empty_row(args, args.weights + (row + r) * args.weights_row_stride);
      const RowStatus status = status_of(sums[r], Lanes{});
      if (args.lse != nullptr) args.lse[row + r] = lse_of(sums[r]);
      if (args.row_status != nullptr) args.row_status[row + r] = status;
      count_row(status, row + r, 0, counts);
    }
  }
}

}  // namespace
}  // namespace rowmax::attention
