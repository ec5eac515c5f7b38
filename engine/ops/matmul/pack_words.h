// Codes of 1 and 2 bits from a file's bytes to a panel's words, without a byte a code in between. A word holds what one
// row has in one vector of a tile (panel.h):
//   2 bits   16 codes, bits 2j, 2j + 1 of byte i are code 4j + i
//   1 bit    32 codes, bit q of byte i stands for code 4q + i, 0 or 2
// Direct<Format>::read writes the words of a block, in the order of k. The formats without it are packed from
// read_codes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "engine/quant/i2_s.h"
#include "engine/quant/iq_bn.h"
#include "engine/quant/q1_0.h"
#include "engine/quant/q2_0.h"
#include "engine/quant/q2_0c.h"
#include "engine/quant/tq_0.h"

namespace rowmax::engine::panel {

template <class Format>
struct Direct : std::false_type {};

// Exchanges bits `kHigh` and `kLow` of the number of every bit in the word.
template <int kHigh, int kLow>
constexpr std::uint64_t exchange_bit_numbers(std::uint64_t word) noexcept {
  static_assert(kHigh > kLow);
  constexpr int kDistance = (1 << kHigh) - (1 << kLow);
  constexpr std::uint64_t kMovesUp = [] {
    std::uint64_t mask = 0;
    for (int bit = 0; bit < 64; ++bit) {
      if ((bit >> kLow & 1) == 1 && (bit >> kHigh & 1) == 0) mask |= std::uint64_t{1} << bit;
    }
    return mask;
  }();
  const std::uint64_t differ = (word ^ (word >> kDistance)) & kMovesUp;
  return word ^ differ ^ (differ << kDistance);
}

// In both halves: pair i of byte j becomes pair j of byte i.
constexpr std::uint64_t exchange_pairs(std::uint64_t word) noexcept {
  return exchange_bit_numbers<4, 2>(exchange_bit_numbers<3, 1>(word));
}

// In both halves: bit 4q + i becomes bit q of byte i.
constexpr std::uint64_t gather_fourths(std::uint64_t word) noexcept {
  word = exchange_bit_numbers<4, 1>(word);
  word = exchange_bit_numbers<3, 0>(word);
  word = exchange_bit_numbers<2, 1>(word);
  return exchange_bit_numbers<1, 0>(word);
}

// 32 * n pairs or 64 * n bits in the order of k.
template <std::uint64_t (*kTurn)(std::uint64_t)>
void turn_words(const std::uint8_t* bytes, int n, std::uint32_t* words) noexcept {
  for (int i = 0; i < n; ++i) {
    std::uint64_t word;
    std::memcpy(&word, bytes + 8 * i, sizeof word);
    word = kTurn(word);
    std::memcpy(words + 2 * i, &word, sizeof word);
  }
}

template <int kWeights>
struct DirectQ20 : std::true_type {
  static void read(const typename quant::Q20Blocks<kWeights>::Block& block, std::uint32_t* words) noexcept {
    turn_words<exchange_pairs>(block.qs, kWeights / 32, words);
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
struct Direct<quant::Q10> : std::true_type {
  static void read(const quant::Q10::Block& block, std::uint32_t* words) noexcept {
    turn_words<gather_fourths>(block.qs, 2, words);
  }
};

// Exchanges the bits of `low` that lie kDistance above kMask with those of `high` in it.
template <int kDistance, std::uint64_t kMask>
__attribute__((always_inline)) inline void exchange_bits(std::uint64_t& low, std::uint64_t& high) noexcept {
  const std::uint64_t differ = ((low >> kDistance) ^ high) & kMask;
  high ^= differ;
  low ^= differ << kDistance;
}

// 4 * kRun codes in kRun bytes, 16 or 32: byte p holds codes p, kRun + p, 2 * kRun + p and 3 * kRun + p, the first in
// its highest pair or in its lowest.
template <int kRun, bool kFirstHigh>
__attribute__((always_inline)) inline void read_runs(const void* bytes, std::uint32_t* words) noexcept {
  const auto quad = [&](int j) {  // of runs of 32, both: their words are neighbours
    std::uint32_t first, second = 0;
    std::memcpy(&first, static_cast<const std::byte*>(bytes) + 4 * j, 4);
    if constexpr (kRun == 32) std::memcpy(&second, static_cast<const std::byte*>(bytes) + 16 + 4 * j, 4);
    return first | static_cast<std::uint64_t>(second) << 32;
  };
  std::uint64_t q0 = quad(0), q1 = quad(1), q2 = quad(2), q3 = quad(3);
  // Pair n of quad j becomes pair j of word n.
  constexpr std::uint64_t kPairs = 0x3333333333333333u, kNibbles = 0x0F0F0F0F0F0F0F0Fu;
  exchange_bits<2, kPairs>(q0, q1);
  exchange_bits<2, kPairs>(q2, q3);
  exchange_bits<4, kNibbles>(q0, q2);
  exchange_bits<4, kNibbles>(q1, q3);
  constexpr int kBytes = kRun / 4;
  std::byte* to = reinterpret_cast<std::byte*>(words);
  std::memcpy(to, kFirstHigh ? &q3 : &q0, kBytes);
  std::memcpy(to + kBytes, kFirstHigh ? &q2 : &q1, kBytes);
  std::memcpy(to + 2 * kBytes, kFirstHigh ? &q1 : &q2, kBytes);
  std::memcpy(to + 3 * kBytes, kFirstHigh ? &q0 : &q3, kBytes);
}

template <>
struct Direct<quant::Tq20> : std::true_type {
  static void read(const quant::Tq20::Block& block, std::uint32_t* words) noexcept {
    for (int half = 0; half < 2; ++half) read_runs<32, false>(block.qs + 32 * half, words + 8 * half);
  }
};

template <int kRun>
struct DirectI2S : std::true_type {
  static void read(const TensorView& tensor, std::int64_t row, std::int64_t block, std::uint32_t* words) noexcept {
    read_runs<kRun, true>(tensor.bytes + row * (tensor.cols / 4) + block * kRun, words);
  }
};
template <>
struct Direct<quant::I2S> : DirectI2S<32> {};
template <>
struct Direct<quant::I2S64> : DirectI2S<16> {};

template <>
struct Direct<quant::Iq2Bn> : std::true_type {
  using Format = quant::Iq2Bn;
  static void read(const TensorView& tensor, std::int64_t row, std::int64_t block, std::uint32_t* words) noexcept {
    const std::byte* bytes = tensor.bytes + Format::row_at(tensor.cols, row) + Format::kHeadBytes;
    read_runs<16, false>(bytes + block * Format::kBytes, words);
  }
};

template <>
struct Direct<quant::Iq2BnR4> : std::true_type {  // which has a panel's words
  using Format = quant::Iq2BnR4;
  static void read(const TensorView& tensor, std::int64_t row, std::int64_t block, std::uint32_t* words) noexcept {
    const std::byte* bytes = tensor.bytes + Format::group_at(tensor.cols, row) + 16 + block * Format::kElements;
    for (int l = 0; l < 4; ++l) std::memcpy(words + l, bytes + 16 * l + 4 * (row % 4), 4);
  }
};

}  // namespace rowmax::engine::panel
