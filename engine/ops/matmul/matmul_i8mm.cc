// Matrix products of two rows of 8 codes and two columns of 8 activations: of integer panels the columns are the bytes of one
// activation (int8_tile_neon.h), of ternary ones two tokens.
#include "engine/ops/matmul/dot_neon.h"

#include "engine/ops/matmul/all_kernels.h"

namespace rowmax::engine::panel {
namespace {

// BinaryTerms with the coarse and then the fine bytes of 8 activations together.
struct EightTerms {
  static constexpr int kBytes = kCodeBytes;

  static ROWMAX_INLINE void store(std::int8_t* codes, int half, simd::I32x16 a) noexcept {
    const int64x2_t coarse = vreinterpretq_s64_s8(narrow(BinaryTerms::coarse(a)));
    const int64x2_t fine = vreinterpretq_s64_s8(narrow(BinaryTerms::fine(a)));
    vst1q_s8(codes + 32 * half, vreinterpretq_s8_s64(vzip1q_s64(coarse, fine)));
    vst1q_s8(codes + 32 * half + 16, vreinterpretq_s8_s64(vzip2q_s64(coarse, fine)));
  }
};

// ---- ternary panels, many tokens

inline constexpr int kTokenPairs = kGemmTokens / 2;

// Of two rows and two tokens: register i of a pair has [first, second] of row 2i, then of row 2i + 1.
struct PairSums {
  int32x4_t pairs[kTokenPairs][8];
};

// Quads 2n and 2n + 1 of a tile.
template <int n>
ROWMAX_INLINE void add_row_pairs(PairSums& sums, const PairedRows& tile, const std::int8_t* a) noexcept {
  int8x16_t tokens[kTokenPairs];
  ROWMAX_UNROLL
  for (int t = 0; t < kTokenPairs; ++t) {
    const std::int8_t* first = a + 2 * kTile * t + 8 * n;
    tokens[t] = vcombine_s8(vld1_s8(first), vld1_s8(first + kTile));
  }
  ROWMAX_PARTS {
    const RowPairs rows = row_pairs<n>(tile, i);
    ROWMAX_UNROLL
    for (int t = 0; t < kTokenPairs; ++t) {
      int32x4_t(&pairs)[8] = sums.pairs[t];
      pairs[2 * i] = vmmlaq_s32(pairs[2 * i], vreinterpretq_s8_u8(rows.v[0]), tokens[t]);
      pairs[2 * i + 1] = vmmlaq_s32(pairs[2 * i + 1], vreinterpretq_s8_u8(rows.v[1]), tokens[t]);
    }
  }
}

// A token group against a chunk; totals: its sums between one chunk and the next, in the order of registers.
void ternary_pairs_block(const Job& job, const std::uint8_t (*codes)[kQuads][kVector], const Chunk& chunk,
                         std::int64_t token, std::int32_t (*totals)[2 * kRows]) noexcept {
  const TokenActivations& act = *job.by_token;
  PairSums sums;
  ROWMAX_UNROLL
  for (int t = 0; t < kTokenPairs; ++t) {
    ROWMAX_TIMES(8) sums.pairs[t][i] = chunk.tile_begin == 0 ? vdupq_n_s32(0) : vld1q_s32(totals[t] + 4 * i);
  }
  const std::int8_t* a = act.codes + (token * act.n_tiles + chunk.tile_begin * kGemmTokens) * kTile;
  const int n_tiles = static_cast<int>(chunk.tile_end - chunk.tile_begin);
  for (int b = 0; b < n_tiles; ++b, a += kGemmTokens * kTile) {
    const PairedRows tile{codes[b]};
    add_row_pairs<0>(sums, tile, a);
    add_row_pairs<1>(sums, tile, a);
    add_row_pairs<2>(sums, tile, a);
    add_row_pairs<3>(sums, tile, a);
  }
  ROWMAX_UNROLL
  for (int t = 0; t < kTokenPairs; ++t) ROWMAX_TIMES(8) vst1q_s32(totals[t] + 4 * i, sums.pairs[t][i]);
  if (chunk.tile_end < act.n_tiles) return;
  const simd::F32x16 scale = simd::load(reinterpret_cast<const float*>(job.panels + chunk.p * job.panel_bytes));
  for (int t = 0; t < kGemmTokens && token + t < act.n_tok; ++t) {
    simd::I32x16 sum;
    ROWMAX_PARTS {
      const std::int32_t* four = totals[t / 2] + 8 * i;
      const int32x4x2_t both = vld2q_s32(four);
      sum.v[i] = t % 2 == 0 ? both.val[0] : both.val[1];
    }
    store_outputs(job, token + t, chunk.p, sum, scale);
  }
}

void ternary_pairs_many(const Job& job) noexcept {
  constexpr std::int64_t kChunkTiles = kTernaryChunk / kTile;
  alignas(64) std::uint8_t codes[kChunkTiles][kQuads][kVector];
  alignas(64) std::int32_t totals[kTaskTokens / 2][2 * kRows];
  const std::int64_t n_tiles = job.by_token->n_tiles;
  for (std::int64_t p = job.panel_begin; p < job.panel_end; ++p) {
    const std::byte* tiles = job.panels + p * job.panel_bytes + TernaryPanel::kHeadBytes;
    for (std::int64_t b = 0; b < n_tiles; b += kChunkTiles) {
      const Chunk chunk{p, b, b + kChunkTiles < n_tiles ? b + kChunkTiles : n_tiles};
      for (std::int64_t tile = b; tile < chunk.tile_end; ++tile) {
        unpack_tile<TernaryPanel>(tiles + tile * TernaryPanel::kTileBytes, StoreRowPairs(codes[tile - b]));
      }
      for (std::int64_t token = job.token_begin; token < job.token_end; token += kGemmTokens) {
        ternary_pairs_block(job, codes, chunk, token, totals + (token - job.token_begin) / 2);
      }
    }
  }
}

constexpr Kernels i8mm_kernels() noexcept {
  Kernels kernels = kAllKernels;
  kernels.round = &round_groups<EightTerms>;
  for (PanelKernels& row : kernels.panels) {
    if (row.rounding == Rounding::kByToken) row.many = &ternary_pairs_many;
  }
  return kernels;
}

constexpr Kernels kKernels = i8mm_kernels();

}  // namespace

const Kernels& kernels_i8mm() noexcept { return kKernels; }

}  // namespace rowmax::engine::panel
