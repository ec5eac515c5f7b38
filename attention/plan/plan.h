// What a compiled mask is inside: one PlanSequence for every run of queries that shares its bounds, and the rule that
// turns a query's position into at most two intervals of keys and, with bitmaps, into a word of 64 bits a key tile.
//
// ISA-specific files include this: plain data and helpers in an unnamed namespace only.
#pragma once

#include <cstdint>

#include "rowmax/kv.h"
#include "rowmax/mask.h"

namespace rowmax::attention {

inline constexpr std::int64_t kMaxPosition = std::int64_t{1} << 60;
inline constexpr std::int64_t kSplitTiles = 8;  // tiles of one split; part of the definition of the result's bits
inline constexpr std::int64_t kSplitKeys = kSplitTiles * kKeyTile;

// Bits of one condition of a sequence: bitmap, blocks, tree, or segments that are not in order. Query i and head h have
// the row at words + (i / q_block) * row_stride + h * head_stride; its bit c stands for the k_block keys from
// key_begin + c * k_block on. Keys before key_begin are visible, keys from key_begin + n_key on are not.
struct PlanBits {
  const std::uint64_t* words = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t key_begin = 0;
  std::int64_t n_key = 0;
  std::int64_t q_block = 1;
  std::int64_t k_block = 1;
  std::int8_t q_shift = 0;  // log2 of q_block, -1 where that is no power of two
  std::int8_t k_shift = 0;
  MaskRule rule = MaskRule::kBitmap;
};

// Queries [q_first, q_first + n_q) of a sequence of the caller, with everything that decides what they see.
struct PlanSequence {
  std::int64_t source = 0;   // index of the caller's sequence
  std::int64_t q_begin = 0;  // row of the first query
  std::int64_t q_first = 0;  // its number within the source sequence
  std::int64_t n_q = 0;
  std::int64_t q_pos = 0;                   // position of the first query
  const std::int64_t* positions = nullptr;  // of each query instead; owned by the plan
  std::int64_t n_kv = 0;                    // keys of the source sequence
  std::int64_t kv_begin = 0;                // valid keys
  std::int64_t kv_end = 0;
  std::int64_t anchor = 0;  // <= kv_begin
  std::int64_t left = kUnbounded;
  std::int64_t right = kUnbounded;
  std::int64_t chunk = 0;  // 0: none
  std::int64_t chunk_origin = 0;
  std::int64_t prefix_end = 0;        // keys before are visible to all
  std::int64_t keep_end = 0;          // keys before stay visible past the window
  const PlanBits* bitmaps = nullptr;  // conditions that are bits, of any kind; owned by the plan
  int n_bitmaps = 0;
  // Keys of the queries' document; all of the sequence without segments or where these are bits. For explanations:
  // the valid keys above are already narrowed to it.
  KeySpan document;
};

// What the plan remembers of the caller's sequence.
struct PlanSource {
  std::int64_t first = 0;  // of its PlanSequences, which lie one after another, queries ascending
  std::int64_t n_q = 0;
  KeySpan valid;  // the common part of all valid spans; empty where end <= begin
};

// Keys [begin0, end0) and [begin1, end1), ascending and apart; an empty second interval has begin1 = end1 = end0, an
// empty row has all four equal.
struct RowSpans {
  std::int64_t begin0;
  std::int64_t end0;
  std::int64_t begin1;
  std::int64_t end1;
};

namespace {

inline std::int64_t min_i64(std::int64_t a, std::int64_t b) noexcept { return a < b ? a : b; }
inline std::int64_t max_i64(std::int64_t a, std::int64_t b) noexcept { return a > b ? a : b; }

inline std::int64_t query_position(const PlanSequence& s, std::int64_t i) noexcept {
  return s.positions != nullptr ? s.positions[i] : s.q_pos + i;
}

// Query i (within the PlanSequence), bitmaps not counted. Positions and keys lie within +-2^60, bounds within +-2^62,
// so nothing overflows.
inline RowSpans row_spans(const PlanSequence& s, std::int64_t i) noexcept {
  const std::int64_t p = query_position(s, i);
  std::int64_t first = s.kv_begin;
  std::int64_t last = s.kv_end;
  if (s.chunk > 0) {
    const std::int64_t offset = p - s.chunk_origin;
    const std::int64_t index = offset >= 0 ? offset / s.chunk : -((s.chunk - 1 - offset) / s.chunk);
    const std::int64_t start = s.chunk_origin + index * s.chunk;
    first = max_i64(first, start);
    last = min_i64(last, start + s.chunk);
  }
  const std::int64_t right_end = s.right == kUnbounded ? last : min_i64(last, p + s.right + 1);
  const std::int64_t window_begin = s.left == kUnbounded ? first : max_i64(first, p - s.left);
  // Prefix and the keys kept in front of the window both start where the row starts.
  const std::int64_t front_end = min_i64(last, max_i64(s.prefix_end, min_i64(s.keep_end, right_end)));
  if (front_end <= first) {
    if (right_end <= window_begin) return {first, first, first, first};
    return {window_begin, right_end, right_end, right_end};
  }
  if (right_end <= window_begin) return {first, front_end, front_end, front_end};
  if (window_begin <= front_end) {
    const std::int64_t end = max_i64(front_end, right_end);
    return {first, end, end, end};
  }
  return {first, front_end, window_begin, right_end};
}

// Bits [begin, end) of a word, after clamping both to 0..64.
inline std::uint64_t bit_range(std::int64_t begin, std::int64_t end) noexcept {
  const std::int64_t a = begin < 0 ? 0 : begin;
  const std::int64_t b = end > 64 ? 64 : end;
  if (a >= b) return 0;
  const std::uint64_t below_end = b == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << b) - 1;
  return below_end & ~((std::uint64_t{1} << a) - 1);
}

inline std::uint64_t spans_word(const RowSpans& spans, std::int64_t tile_begin) noexcept {
  return bit_range(spans.begin0 - tile_begin, spans.end0 - tile_begin) |
         bit_range(spans.begin1 - tile_begin, spans.end1 - tile_begin);
}

// The 64 bits of a bitmap row from key `begin` on; keys past n_kv read as 0.
inline std::uint64_t bitmap_word(const std::uint64_t* row, std::int64_t n_kv, std::int64_t begin) noexcept {
  const std::int64_t n_words = (n_kv + 63) / 64;
  const std::int64_t word = begin / 64;
  const int shift = static_cast<int>(begin % 64);
  if (word >= n_words) return 0;
  std::uint64_t bits = row[word] >> shift;
  if (shift != 0 && word + 1 < n_words) bits |= row[word + 1] << (64 - shift);
  return bits & bit_range(0, n_kv - begin);
}

// x / block for x >= 0; shift as in PlanBits.
inline std::int64_t divided(std::int64_t x, std::int64_t block, int shift) noexcept {
  return shift >= 0 ? x >> shift : x / block;
}

// The 64 bits from key `begin` on of a row whose bits stand for blocks; begin counts from the bits' first key.
inline std::uint64_t blocks_word(const PlanBits& bits, const std::uint64_t* row, std::int64_t begin) noexcept {
  const std::int64_t end = min_i64(begin + 64, bits.n_key);
  std::int64_t block = divided(begin, bits.k_block, bits.k_shift);
  std::uint64_t word = 0;
  for (std::int64_t key = begin; key < end; ++block) {
    const std::int64_t next = min_i64((block + 1) * bits.k_block, end);
    if ((row[block / 64] >> (block % 64) & 1) != 0) word |= bit_range(key - begin, next - begin);
    key = next;
  }
  return word;
}

// One condition's bits for query i of the source sequence, head h, and the tile from tile_begin on.
inline std::uint64_t bits_word(const PlanBits& bits, std::int64_t i, std::int64_t h, std::int64_t tile_begin) noexcept {
  const std::int64_t begin = tile_begin - bits.key_begin;
  if (begin <= -64) return ~std::uint64_t{0};
  const std::uint64_t* row =
      bits.words + divided(i, bits.q_block, bits.q_shift) * bits.row_stride + h * bits.head_stride;
  const auto from = [&](std::int64_t key) {
    return bits.k_block == 1 ? bitmap_word(row, bits.n_key, key) : blocks_word(bits, row, key);
  };
  return begin >= 0 ? from(begin) : from(0) << -begin | bit_range(0, -begin);
}

// All conditions that are bits, of query i (within the PlanSequence), head h, for the tile from tile_begin on.
inline std::uint64_t bitmaps_word(const PlanSequence& s, std::int64_t i, std::int64_t h,
                                  std::int64_t tile_begin) noexcept {
  std::uint64_t word = ~std::uint64_t{0};
  for (int b = 0; b < s.n_bitmaps; ++b) word &= bits_word(s.bitmaps[b], s.q_first + i, h, tile_begin);
  return word;
}

// The bits of one tile for queries that share them: rows of blocks, masks that are one row for all, heads alike.
struct BitsRun {
  std::int64_t begin = 0;  // queries (within the PlanSequence)
  std::int64_t end = 0;
  std::int64_t head = 0;
  bool any_head = false;  // all heads share them
  std::uint64_t word = 0;
};

// Makes *run the one of query i, head h, for the tile from tile_begin on; only looks where it is not yet. Between two
// tiles a run must be made anew.
inline void find_bits_run(const PlanSequence& s, std::int64_t i, std::int64_t h, std::int64_t tile_begin,
                          BitsRun* run) noexcept {
  if (i >= run->begin && i < run->end && (run->any_head || run->head == h)) return;
  *run = {0, s.n_q, h, true, ~std::uint64_t{0}};
  for (int b = 0; b < s.n_bitmaps; ++b) {
    const PlanBits& bits = s.bitmaps[b];
    run->word &= bits_word(bits, s.q_first + i, h, tile_begin);
    run->any_head = run->any_head && bits.head_stride == 0;
    if (bits.row_stride == 0) continue;
    const std::int64_t first = divided(s.q_first + i, bits.q_block, bits.q_shift) * bits.q_block - s.q_first;
    run->begin = max_i64(run->begin, first);
    run->end = min_i64(run->end, first + bits.q_block);
  }
}

// Whether bits hide the whole tile from queries [begin, end) and heads [h_begin, h_end). False says nothing.
inline bool bits_hide_tile(const PlanSequence& s, std::int64_t begin, std::int64_t end, std::int64_t h_begin,
                           std::int64_t h_end, std::int64_t tile_begin) noexcept {
  BitsRun run;
  for (std::int64_t i = begin; i < end; i = run.end) {
    for (std::int64_t h = h_begin; h < h_end; ++h) {
      find_bits_run(s, i, h, tile_begin, &run);
      if (run.word != 0) return false;
      if (run.any_head) break;
    }
  }
  return true;
}

}  // namespace
}  // namespace rowmax::attention

namespace rowmax {

struct MaskPlan::Impl {
  attention::PlanSequence* sequences = nullptr;
  std::int64_t n_sequences = 0;
  attention::PlanSource* sources = nullptr;  // n_sources, and one more whose `first` is n_sequences
  std::int64_t n_sources = 0;                // sequences of the caller
  std::int32_t n_head = 0;
  std::int32_t n_kv_head = 0;
  bool ready = false;
  bool spans_alone = false;  // neither segments nor bits: advance() can do it
  // Memory behind the pointers above; kept from one compile to the next.
  std::int64_t sequence_capacity = 0;
  std::int64_t source_capacity = 0;
  std::int64_t* positions = nullptr;
  std::int64_t position_capacity = 0;
  attention::PlanBits* bits = nullptr;
  std::int64_t bits_capacity = 0;
  std::uint64_t* words = nullptr;  // of trees and of segments that are not in order
  std::int64_t word_capacity = 0;

  // The PlanSequence of query i of the caller's sequence s; nullptr where there is no such query.
  const attention::PlanSequence* find(std::int64_t s, std::int64_t i) const noexcept;
};

}  // namespace rowmax
