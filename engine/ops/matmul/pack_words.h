// Codes from a file's bytes to a panel's words, for four rows at a time and without a byte a code in between. A word holds
// what one row has in one vector of a tile (panel.h):
//   2 bits      16 codes, bits 2j, 2j + 1 of byte i are code 4j + i
//   1 bit       32 codes, bit q of byte i stands for code 4q + i, 0 or 2; so are the third and the fifth bits of codes
//   4 bits      8 codes, the halves of byte i are code 4j + i and 16 + 4j + i of word j
//   8 bits      4 codes
// Direct<Format>::turn makes all words of a block, in the panel's order, from kWords words of the file's that begin kAt
// bytes into the block. Direct<Format>::sub_scales makes the bytes of its record from the 16 that begin kSubsAt bytes into
// it. The formats without are packed from read_codes, sub_scale and sub_min.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "engine/ops/matmul/interleave.h"
#include "engine/quant/fp4.h"
#include "engine/quant/i2_s.h"
#include "engine/quant/iq4.h"
#include "engine/quant/iq_bn.h"
#include "engine/quant/q1_0.h"
#include "engine/quant/q2_0.h"
#include "engine/quant/q2_0c.h"
#include "engine/quant/q2_k.h"
#include "engine/quant/q3_k.h"
#include "engine/quant/q4_0.h"
#include "engine/quant/q4_1.h"
#include "engine/quant/q4_k.h"
#include "engine/quant/q5_0.h"
#include "engine/quant/q5_1.h"
#include "engine/quant/q5_k.h"
#include "engine/quant/q6_k.h"
#include "engine/quant/q8_0.h"
#include "engine/quant/tq_0.h"

namespace rowmax::engine::panel {
namespace {

using Words = Slice<std::uint32_t>;  // one of each of four rows
using Bytes = Slice<std::uint8_t>;   // one of each row of a panel

inline constexpr int kRowsAtOnce = kSquare<std::uint32_t>;

// Where the words of four rows lie in tiles: each in a vector of its own.
struct Tiles {
  struct Place {
    std::uint8_t* at;
    void operator=(Words words) const noexcept { std::memcpy(at, &words, sizeof words); }
  };
  std::uint8_t* at;
  Place operator[](int word) const noexcept { return {at + kVector * word}; }
  Tiles operator+(int words) const noexcept { return {at + kVector * words}; }
};

// The first kWords words of four rows that begin `at` bytes behind what `rows` points to.
template <int kWords>
inline void take_words(const std::byte* const* rows, std::int64_t at, Words* words) noexcept {
  constexpr int kTurned = kSquare<std::uint32_t>, kWhole = kWords / kTurned * kTurned;
  ROWMAX_UNROLL
  for (int w = 0; w < kWhole; w += kTurned) {
    Words slices[kTurned];
    ROWMAX_UNROLL
    for (int r = 0; r < kTurned; ++r) std::memcpy(&slices[r], rows[r] + at + 4 * w, kSlice);
    turn<std::uint32_t>(slices);
    ROWMAX_UNROLL
    for (int i = 0; i < kTurned; ++i) words[w + i] = slices[i];
  }
  for (int w = kWhole; w < kWords; ++w) {
    std::uint32_t of_rows[kTurned];
    for (int r = 0; r < kTurned; ++r) std::memcpy(&of_rows[r], rows[r] + at + 4 * w, sizeof of_rows[r]);
    std::memcpy(&words[w], of_rows, sizeof of_rows);
  }
}

// ---- bits of words in other places

// Exchanges bits `kHigh` and `kLow` of the number of every bit in the word.
template <int kHigh, int kLow>
inline Words exchange_bit_numbers(Words word) noexcept {
  static_assert(kHigh > kLow);
  constexpr int kDistance = (1 << kHigh) - (1 << kLow);
  constexpr std::uint32_t kMovesUp = [] {
    std::uint32_t mask = 0;
    for (int bit = 0; bit < 32; ++bit) {
      if ((bit >> kLow & 1) == 1 && (bit >> kHigh & 1) == 0) mask |= std::uint32_t{1} << bit;
    }
    return mask;
  }();
  const Words differ = (word ^ (word >> kDistance)) & kMovesUp;
  return word ^ differ ^ (differ << kDistance);
}

// Pair i of byte j becomes pair j of byte i.
inline Words exchange_pairs(Words word) noexcept {
  return exchange_bit_numbers<4, 2>(exchange_bit_numbers<3, 1>(word));
}

// Bit 4q + i becomes bit q of byte i.
inline Words gather_fourths(Words word) noexcept {
  word = exchange_bit_numbers<4, 1>(word);
  word = exchange_bit_numbers<3, 0>(word);
  word = exchange_bit_numbers<2, 1>(word);
  return exchange_bit_numbers<1, 0>(word);
}

// Exchanges the bits of `low` that lie kDistance above kMask with those of `high` in it.
template <int kDistance, std::uint32_t kMask, class Word>
inline void exchange_bits(Word& low, Word& high) noexcept {
  const Word differ = ((low >> kDistance) ^ high) & kMask;
  high ^= differ;
  low ^= differ << kDistance;
}

// In every byte: pair n of word j becomes pair j of word n.
template <class Word>
inline void turn_pairs(Word (&w)[4]) noexcept {
  exchange_bits<2, 0x33333333u>(w[0], w[1]);
  exchange_bits<2, 0x33333333u>(w[2], w[3]);
  exchange_bits<4, 0x0F0F0F0Fu>(w[0], w[2]);
  exchange_bits<4, 0x0F0F0F0Fu>(w[1], w[3]);
}

// In every byte: bit n of word j becomes bit j of word n.
inline void turn_bits(Words (&w)[8]) noexcept {
  ROWMAX_UNROLL
  for (int i = 0; i < 8; i += 2) exchange_bits<1, 0x55555555u>(w[i], w[i + 1]);
  ROWMAX_UNROLL
  for (int i = 0; i < 4; ++i) exchange_bits<2, 0x33333333u>(w[i / 2 * 4 + i % 2], w[i / 2 * 4 + i % 2 + 2]);
  ROWMAX_UNROLL
  for (int i = 0; i < 4; ++i) exchange_bits<4, 0x0F0F0F0Fu>(w[i], w[i + 4]);
}

// 64 codes in 16 bytes: byte p holds codes p, 16 + p, 32 + p and 48 + p, the first in its lowest pair or in its highest.
// The words lie kApart apart.
template <int kApart, bool kFirstHigh = false>
inline void turn_run(const Words* in, Tiles out) noexcept {
  Words w[4] = {in[0], in[1], in[2], in[3]};
  turn_pairs(w);
  ROWMAX_UNROLL
  for (int n = 0; n < 4; ++n) out[kApart * n] = w[kFirstHigh ? 3 - n : n];
}

// 64 codes of four bits in 32 bytes: the low halves are the first 32, the high halves others, `kApart` words behind.
template <int kApart>
inline void split_halves(const Words* in, Tiles out) noexcept {
  constexpr std::uint32_t kLow = 0x0F0F0F0Fu, kHigh = 0xF0F0F0F0u;
  ROWMAX_UNROLL
  for (int j = 0; j < 4; ++j) {
    out[j] = (in[j] & kLow) | ((in[j + 4] << 4) & kHigh);
    out[j + kApart] = ((in[j] >> 4) & kLow) | (in[j + 4] & kHigh);
  }
}

// The third or fifth bits of 256 codes in 32 bytes: bit b of byte i belongs to code 32 b + i.
template <int kApart>
inline void turn_single_bits(const Words* in, Tiles out) noexcept {
  Words w[8] = {in[0], in[1], in[2], in[3], in[4], in[5], in[6], in[7]};
  turn_bits(w);
  ROWMAX_UNROLL
  for (int b = 0; b < 8; ++b) out[kApart * b] = w[b];
}

// ---- codes

template <class Format>
struct Direct : std::false_type {};

// Of blocks, which may differ in what lies before the codes.
template <std::size_t kAt_, int kWords_>
struct FromBlock : std::true_type {
  static constexpr std::int64_t kAt = kAt_;
  static constexpr int kWords = kWords_;
};

template <std::size_t kAt, int kWords>
struct AsStored : FromBlock<kAt, kWords> {
  static void turn(const Words* in, Tiles out) noexcept {
    ROWMAX_UNROLL
    for (int i = 0; i < kWords; ++i) out[i] = in[i];
  }
};
template <>
struct Direct<quant::Q40> : AsStored<offsetof(quant::Q40::Block, qs), 4> {};
template <>
struct Direct<quant::Q41> : AsStored<offsetof(quant::Q41::Block, qs), 4> {};
template <>
struct Direct<quant::Q80> : AsStored<offsetof(quant::Q80::Block, qs), 8> {};  // signed bytes here and there
template <>
struct Direct<quant::Iq4Nl> : AsStored<offsetof(quant::Iq4Nl::Block, qs), 4> {};
template <>
struct Direct<quant::Iq4Xs> : AsStored<offsetof(quant::Iq4Xs::Block, qs), 32> {};
template <>
struct Direct<quant::Mxfp4> : AsStored<offsetof(quant::Mxfp4::Block, qs), 4> {};

template <std::size_t kAt>
struct DirectQ5 : FromBlock<kAt, 5> {
  static void turn(const Words* in, Tiles out) noexcept {
    ROWMAX_UNROLL
    for (int i = 0; i < 4; ++i) out[i] = in[1 + i];
    out[4] = gather_fourths(in[0]);
  }
};
template <>
struct Direct<quant::Q50> : DirectQ5<offsetof(quant::Q50::Block, qh)> {};
template <>
struct Direct<quant::Q51> : DirectQ5<offsetof(quant::Q51::Block, qh)> {};

template <>
struct Direct<quant::Q4K> : FromBlock<offsetof(quant::Q4K::Block, qs), 32> {
  static void turn(const Words* in, Tiles out) noexcept {
    ROWMAX_UNROLL
    for (int pair = 0; pair < 4; ++pair) split_halves<4>(in + 8 * pair, out + 8 * pair);
  }
};
template <>
struct Direct<quant::Q5K> : FromBlock<offsetof(quant::Q5K::Block, qh), 40> {
  static void turn(const Words* in, Tiles out) noexcept {
    ROWMAX_UNROLL
    for (int pair = 0; pair < 4; ++pair) split_halves<5>(in + 8 + 8 * pair, out + 10 * pair);
    turn_single_bits<5>(in, out + 4);
  }
};
template <>
struct Direct<quant::Q6K> : FromBlock<offsetof(quant::Q6K::Block, ql), 48> {
  static void turn(const Words* in, Tiles out) noexcept {
    ROWMAX_UNROLL
    for (int half = 0; half < 2; ++half) {
      const Words *low = in + 16 * half, *high = in + 32 + 8 * half;
      const Tiles tiles = out + 24 * half;
      split_halves<12>(low, tiles);
      split_halves<12>(low + 8, tiles + 6);
      turn_run<6>(high, tiles + 4);
      turn_run<6>(high + 4, tiles + 5);
    }
  }
};
template <>
struct Direct<quant::Q3K> : FromBlock<offsetof(quant::Q3K::Block, hmask), 24> {
  static void turn(const Words* in, Tiles out) noexcept {
    ROWMAX_UNROLL
    for (int run = 0; run < 4; ++run) turn_run<3>(in + 8 + 4 * run, out + 12 * (run / 2) + run % 2);
    turn_single_bits<3>(in, out + 2);
  }
};

template <std::size_t kAt>
struct DirectPairs256 : FromBlock<kAt, 16> {
  static void turn(const Words* in, Tiles out) noexcept {
    ROWMAX_UNROLL
    for (int run = 0; run < 4; ++run) turn_run<2>(in + 4 * run, out + 8 * (run / 2) + run % 2);
  }
};
template <>
struct Direct<quant::Q2K> : DirectPairs256<offsetof(quant::Q2K::Block, qs)> {};
template <>
struct Direct<quant::Tq20> : DirectPairs256<offsetof(quant::Tq20::Block, qs)> {};

template <int kWeights>
struct DirectQ20 : FromBlock<offsetof(typename quant::Q20Blocks<kWeights>::Block, qs), kWeights / 16> {
  static void turn(const Words* in, Tiles out) noexcept {
    for (int i = 0; i < kWeights / 16; ++i) out[i] = exchange_pairs(in[i]);
  }
};
template <>
struct Direct<quant::Q20> : DirectQ20<64> {};
template <>
struct Direct<quant::Q20G128> : DirectQ20<128> {};
template <>
struct Direct<quant::Pq20> : DirectQ20<128> {};
template <>
struct Direct<quant::Q20C> : DirectQ20<512> {};
template <>
struct Direct<quant::Q20CType41> : DirectQ20<512> {};

template <>
struct Direct<quant::Q10> : FromBlock<offsetof(quant::Q10::Block, qs), 4> {
  static void turn(const Words* in, Tiles out) noexcept {
    ROWMAX_UNROLL
    for (int i = 0; i < 4; ++i) out[i] = gather_fourths(in[i]);
  }
};

// Of ternary rows: begin() is where the codes of a row or of its group begin, kBytes what a block takes there; those of
// groups make all four rows' words themselves.
template <>
struct Direct<quant::I2S> : FromBlock<0, 8> {
  static constexpr std::int64_t kBytes = 32;
  static const std::byte* begin(const TensorView& tensor, std::int64_t row) noexcept {
    return tensor.bytes + row * (tensor.cols / 4);
  }
  static void turn(const Words* in, Tiles out) noexcept {
    turn_run<2, true>(in, out);
    turn_run<2, true>(in + 4, out + 1);
  }
};
template <>
struct Direct<quant::I2S64> : FromBlock<0, 4> {
  static constexpr std::int64_t kBytes = 16;
  static const std::byte* begin(const TensorView& tensor, std::int64_t row) noexcept {
    return Direct<quant::I2S>::begin(tensor, row);
  }
  static void turn(const Words* in, Tiles out) noexcept { turn_run<1, true>(in, out); }
};
template <>
struct Direct<quant::Iq2Bn> : FromBlock<0, 4> {
  static constexpr std::int64_t kBytes = 16;
  static const std::byte* begin(const TensorView& tensor, std::int64_t row) noexcept {
    return tensor.bytes + quant::Iq2Bn::row_at(tensor.cols, row) + quant::Iq2Bn::kHeadBytes;
  }
  static void turn(const Words* in, Tiles out) noexcept { turn_run<1>(in, out); }
};

template <>
struct Direct<quant::I2SRow4> : std::true_type {
  static constexpr std::int64_t kBytes = 32;
  static const std::byte* begin(const TensorView& tensor, std::int64_t row) noexcept {
    return tensor.bytes + row / 4 * tensor.cols;
  }
  static void read_group(const std::byte* bytes, Tiles out) noexcept {
    for (int half = 0; half < 2; ++half) {
      std::uint32_t rows[4];  // quads of columns, with a pair for each row, the first in the highest
      std::memcpy(rows, bytes + 16 * half, sizeof rows);
      turn_pairs(rows);
      out[half] = Words{rows[3], rows[2], rows[1], rows[0]};
    }
  }
};
template <>
struct Direct<quant::Iq2BnR4> : std::true_type {  // which has a panel's words
  static constexpr std::int64_t kBytes = 64;
  static const std::byte* begin(const TensorView& tensor, std::int64_t row) noexcept {
    return tensor.bytes + quant::Iq2BnR4::group_at(tensor.cols, row) + 16;
  }
  static void read_group(const std::byte* bytes, Tiles out) noexcept {
    for (int l = 0; l < 4; ++l) {
      Words words;
      std::memcpy(&words, bytes + 16 * l, sizeof words);
      out[l] = words;
    }
  }
};

// ---- sub-scales, of all rows at once

template <class Format>
struct DirectSubs : std::false_type {};

// in: byte i of the file's 16 for every row; out: those of a panel's record. Four bytes a word, which do not mix.
template <std::size_t kAt_>
struct SubsAsStored : std::true_type {
  static constexpr std::int64_t kAt = kAt_;
  static void turn(const Words* in, Words* out) noexcept {
    ROWMAX_UNROLL
    for (int i = 0; i < 16; ++i) out[i] = in[i];
  }
};
template <>
struct DirectSubs<quant::Q2K> : SubsAsStored<offsetof(quant::Q2K::Block, scales)> {};
template <>
struct DirectSubs<quant::Q6K> : SubsAsStored<offsetof(quant::Q6K::Block, scales)> {};

template <std::size_t kAt_>
struct DirectKScales : std::true_type {
  static constexpr std::int64_t kAt = kAt_;
  static void turn(const Words* in, Words* out) noexcept {  // as KScales has them
    constexpr std::uint32_t kSix = 0x3F3F3F3Fu, kLow = 0x0F0F0F0Fu, kTop = 0x30303030u;
    ROWMAX_UNROLL
    for (int j = 0; j < 4; ++j) {
      out[2 * j] = in[j] & kSix;
      out[2 * j + 1] = in[j + 4] & kSix;
      out[2 * j + 8] = (in[j + 8] & kLow) | ((in[j] >> 2) & kTop);
      out[2 * j + 9] = ((in[j + 8] >> 4) & kLow) | ((in[j + 4] >> 2) & kTop);
    }
  }
};
template <>
struct DirectSubs<quant::Q4K> : DirectKScales<offsetof(quant::Q4K::Block, scales)> {};
template <>
struct DirectSubs<quant::Q5K> : DirectKScales<offsetof(quant::Q5K::Block, scales)> {};

// Four bits and two more, less 32.
inline Words six_bits_less_32(Words low, Words high) noexcept {
  const Words code = (low & 0x0F0F0F0Fu) | ((high & 0x03030303u) << 4);
  return std::bit_cast<Words>(std::bit_cast<Bytes>(code) - std::uint8_t{32});
}
template <>
struct DirectSubs<quant::Q3K> : std::true_type {
  static constexpr int kBefore = 4 - sizeof(quant::Bits16);  // so that 16 bytes do not pass the block's end
  static constexpr std::int64_t kAt = offsetof(quant::Q3K::Block, scales) - kBefore;
  static void turn(const Words* in, Words* out) noexcept {
    const Words* scales = in + kBefore;
    ROWMAX_UNROLL
    for (int g = 0; g < 16; ++g) {
      out[g] = six_bits_less_32(scales[g % 8] >> (g / 8 * 4), scales[8 + g % 4] >> (g / 4 * 2));
    }
  }
};
template <>
struct DirectSubs<quant::Iq4Xs> : std::true_type {
  static constexpr std::int64_t kAt = offsetof(quant::Iq4Xs::Block, scales_h);
  static void turn(const Words* in, Words* out) noexcept {
    ROWMAX_UNROLL
    for (int g = 0; g < 8; ++g) {
      out[g] = six_bits_less_32(in[2 + g / 2] >> (g % 2 * 4), in[g / 4] >> (g % 4 * 2));
    }
  }
};

}  // namespace
}  // namespace rowmax::engine::panel
