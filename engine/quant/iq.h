// The IQ types of ggml: 256 weights whose magnitudes, eight or four beside one another, are entries of a grid, in groups
// of 32 or 16 with a scale d * (2s + 1) * (a power of two). s has 4 bits (IQ1: 3).
//   IQ2_XXS, IQ2_XS, IQ2_S  magnitudes 8, 25 and 43, times 1/8; signs of eight weights in 7 bits (the eighth makes their
//                           number even) or, in IQ2_S, 8
//   IQ3_XXS  eight magnitudes from 4 to 62, times 1/4; signs in 7 bits
//   IQ3_S    the odd numbers to 15; signs in 8 bits
//   IQ1_S, IQ1_M  -1, 0 and 1, all of a group (IQ1_M: of eight) moved by 1/8 or -1/8: here 8 times that, times 1/8
// Source: ggml-common.h and ggml-quants.c of https://github.com/ggml-org/ggml (block_iq2_xxs and so on).
//
// The formats differ in where their fields lie; bits are counted from the lowest of a block's first byte. An octet is
// eight weights.
#pragma once

#include <bit>
#include <cmath>

#include "engine/quant/integer_block.h"
#include "engine/quant/iq_grid.h"

namespace rowmax::engine::quant {

template <int kBytes>
struct BitBlock {
  std::uint8_t bytes[kBytes];

  // n <= 9 bits that lie in two bytes.
  int get(int at, int n) const noexcept {
    unsigned word = bytes[at / 8];
    if (at % 8 + n > 8) word |= static_cast<unsigned>(bytes[at / 8 + 1]) << 8;
    return static_cast<int>((word >> (at % 8)) & ((1u << n) - 1));
  }
  void set(int at, int n, int value) noexcept {
    for (int i = 0; i < n; ++i, ++at) {
      const int bit = 1 << (at % 8);
      bytes[at / 8] = static_cast<std::uint8_t>((value >> i & 1) != 0 ? bytes[at / 8] | bit : bytes[at / 8] & ~bit);
    }
  }
};

// Places: where the fields are, for octet o (entry e of the grid: an octet's only one, or one of its two) and group g.
//   kId, kName, kBytes, kGroup, kBook; grid()
//   kLowBits at low_at(e), and with kHighBits > 0 that many at high_at(e): the entry's number
//   kSignBits at sign_at(o): 7, 8, or 1 that says which way the octet is moved
//   scale_at(g), kScaleBits
template <class Places>
struct Iq : Places {
  static constexpr int kElements = 256, kCodeBits = 8, kOffset = 128, kIndexBits = Places::kEntryBits + 1;
  static constexpr bool kHasMin = false, kSubScales = true, kNeedsImportance = true;
  static constexpr int kGroup = Places::kGroup;
  using Block = BitBlock<Places::kBytes>;

  static std::uint16_t scale_bits(const Block& block) noexcept {
    if constexpr (requires { Places::d_at(0); }) {
      int bits = 0;
      for (int i = 0; i < 4; ++i) bits |= block.get(Places::d_at(i), 4) << (4 * i);
      return static_cast<std::uint16_t>(bits);
    } else {
      return static_cast<std::uint16_t>(block.get(0, 8) | block.get(8, 8) << 8);
    }
  }
  static int sub_scale(const Block& block, int g) noexcept {
    return 2 * block.get(Places::scale_at(g), Places::kScaleBits) + 1;
  }
  static void read_indices(const Block& block, std::uint8_t* indices) noexcept {
    for (int o = 0; o < kElements / 8; ++o) {
      const std::uint64_t octet = read_octet(block, o);
      std::memcpy(indices + 8 * o, &octet, 8);
    }
  }

  static void encode(const float* x, Block& block) noexcept {
    constexpr int kGroups = kElements / kGroup, kMostSub = (2 << Places::kScaleBits) - 1;
    float fits[kGroups], most = 0.0f;
    for (int g = 0; g < kGroups; ++g) {
      fits[g] = fit_group(x + kGroup * g);
      most = fits[g] > most ? fits[g] : most;
    }
    set_scale_bits(block, base::f32_to_f16(most / (static_cast<float>(kMostSub) * Places::kBook.unit)));
    const float d = base::f16_to_f32(scale_bits(block)) * Places::kBook.unit;
    for (int g = 0; g < kGroups; ++g) {
      const int sub = d > 0.0f ? round_code((fits[g] / d - 1.0f) / 2.0f, 0, kMostSub / 2) : 0;
      block.set(Places::scale_at(g), Places::kScaleBits, sub);
      choose(x + kGroup * g, d * static_cast<float>(2 * sub + 1), block, g);
    }
  }

 private:
  static constexpr bool kMoved = Places::kSignBits == 1;
  static constexpr int kEntriesOfOctet = Places::kEntryBits == 2 ? 1 : 2;
  static constexpr int kLevels = 1 << Places::kEntryBits;

  static int entry(const Block& block, int e) noexcept {
    int number = block.get(Places::low_at(e), Places::kLowBits);
    if constexpr (Places::kHighBits > 0) {
      number |= block.get(Places::high_at(e), Places::kHighBits) << Places::kLowBits;
    }
    return Places::grid()[number];
  }
  static std::uint64_t read_octet(const Block& block, int o) noexcept {
    std::uint64_t signs;
    unsigned bits = static_cast<unsigned>(block.get(Places::sign_at(o), Places::kSignBits));
    if constexpr (kMoved) {
      signs = bits * 0x0101010101010101u;
    } else {
      if constexpr (Places::kSignBits == 7) bits |= static_cast<unsigned>(std::popcount(bits) & 1) << 7;
      signs = spread_bits(bits);
    }
    signs <<= Places::kEntryBits;
    if constexpr (kEntriesOfOctet == 1) {
      return signs | spread_pairs(static_cast<std::uint32_t>(entry(block, o)));
    } else {
      return signs | spread_triples(static_cast<std::uint32_t>(entry(block, 2 * o)),
                                    static_cast<std::uint32_t>(entry(block, 2 * o + 1)));
    }
  }
  static void set_scale_bits(Block& block, std::uint16_t bits) noexcept {
    for (int i = 0; i < 4; ++i) {
      int at = 4 * i;
      if constexpr (requires { Places::d_at(0); }) at = Places::d_at(i);
      block.set(at, 4, bits >> (4 * i) & 15);
    }
  }

  // Entries and signs of an octet for this scale, and the squared error. moved: the sign of all, where there is one.
  static float choose_octet(const float* x, float scale, int moved, Block& block, int o) noexcept {
    float levels[kLevels], values[8], error = 0.0f;
    for (int i = 0; i < kLevels; ++i) levels[i] = scale * static_cast<float>(Places::kBook.values[moved * kLevels + i]);
    std::memcpy(values, x, sizeof values);
    int signs = moved;
    if constexpr (!kMoved) {
      signs = 0;
      for (int i = 0; i < 8; ++i) signs |= (x[i] < 0.0f) << i;
      if (Places::kSignBits == 7 && std::popcount(static_cast<unsigned>(signs)) % 2 != 0) {
        int least = 0;  // a wrong sign costs least where there is least of it
        for (int i = 1; i < 8; ++i) least = std::fabs(x[i]) < std::fabs(x[least]) ? i : least;
        signs ^= 1 << least;
      }
      for (int i = 0; i < 8; ++i) values[i] = (signs >> i & 1) != 0 ? -x[i] : x[i];
    }
    block.set(Places::sign_at(o), Places::kSignBits, signs);
    constexpr int n = 1 << (Places::kLowBits + Places::kHighBits);
    for (int i = 0; i < kEntriesOfOctet; ++i) {
      const auto found = nearest_entry<Places::kEntryBits>(Places::grid(), n, levels, values + 4 * i);
      const int e = kEntriesOfOctet * o + i;
      block.set(Places::low_at(e), Places::kLowBits, found.index);
      if constexpr (Places::kHighBits > 0) {
        block.set(Places::high_at(e), Places::kHighBits, found.index >> Places::kLowBits);
      }
      error += found.error;
    }
    return error;
  }
  // The octets of a group that share a sign have the one of the smaller error.
  static void choose(const float* x, float scale, Block& block, int g) noexcept {
    constexpr int kShared = kMoved && Places::kGroup == 32 ? 4 : 1, kOctets = kGroup / 8;
    for (int first = 0; first < kOctets; first += kShared) {
      const auto all = [&](int moved) {
        float error = 0.0f;
        for (int i = first; i < first + kShared; ++i) {
          error += choose_octet(x + 8 * i, scale, moved, block, kOctets * g + i);
        }
        return error;
      };
      const float error = all(0);
      if (kMoved && !(all(1) < error)) all(0);
    }
  }
  // A scale for a group: the largest magnitude on the largest value, then the best one for the values that are nearest
  // then, whatever the grid says.
  static float fit_group(const float* x) noexcept {
    float most = 0.0f, largest = 0.0f;
    for (int i = 0; i < kGroup; ++i) most = std::fabs(x[i]) > most ? std::fabs(x[i]) : most;
    if (most == 0.0f) return 0.0f;
    for (const int value : Places::kBook.values) largest = std::fmax(largest, static_cast<float>(value));
    double sum_vx = 0.0, sum_vv = 0.0;
    for (int i = 0; i < kGroup; ++i) {
      const float wanted = x[i] / most * largest;
      float nearest = 0.0f;
      for (const int value : Places::kBook.values) {
        const auto v = static_cast<float>(value);
        if (value != 0 && (nearest == 0.0f || std::fabs(v - wanted) < std::fabs(nearest - wanted))) nearest = v;
      }
      sum_vx += static_cast<double>(nearest) * static_cast<double>(x[i]);
      sum_vv += static_cast<double>(nearest) * static_cast<double>(nearest);
    }
    return sum_vx > 0.0 ? static_cast<float>(sum_vx / sum_vv) : 0.0f;
  }
};

inline constexpr Codebook kIq2Book{{8, 25, 43, 0, -8, -25, -43, 0}, 0.125f};
inline constexpr Codebook kIq3XxsBook{{4, 12, 20, 28, 36, 44, 52, 62, -4, -12, -20, -28, -36, -44, -52, -62}, 0.25f};
inline constexpr Codebook kIq3SBook{{1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15}};
inline constexpr Codebook kIq1Book{{-7, 1, 9, 0, -9, -1, 7, 0}, 0.125f};

struct Iq2XxsPlaces {
  static constexpr std::uint32_t kId = 16;
  static constexpr const char* kName = "IQ2_XXS";
  static constexpr int kBytes = 66, kGroup = 32, kEntryBits = 2, kLowBits = 8, kHighBits = 0, kSignBits = 7,
                       kScaleBits = 4;
  static constexpr const Codebook& kBook = kIq2Book;
  static const std::uint16_t* grid() noexcept { return kIq2XxsGrid; }
  // d, then for each group 4 bytes of entries and 4 of signs, with s in their highest bits.
  static constexpr int low_at(int e) noexcept { return 16 + e / 4 * 64 + e % 4 * 8; }
  static constexpr int sign_at(int o) noexcept { return 16 + o / 4 * 64 + 32 + o % 4 * 7; }
  static constexpr int scale_at(int g) noexcept { return 16 + g * 64 + 60; }
};
struct Iq2XsPlaces {
  static constexpr std::uint32_t kId = 17;
  static constexpr const char* kName = "IQ2_XS";
  static constexpr int kBytes = 74, kGroup = 16, kEntryBits = 2, kLowBits = 9, kHighBits = 0, kSignBits = 7,
                       kScaleBits = 4;
  static constexpr const Codebook& kBook = kIq2Book;
  static const std::uint16_t* grid() noexcept { return kIq2XsGrid; }
  // d, for each octet 16 bits, then the scales.
  static constexpr int low_at(int e) noexcept { return 16 + e * 16; }
  static constexpr int sign_at(int o) noexcept { return 16 + o * 16 + 9; }
  static constexpr int scale_at(int g) noexcept { return 16 + 512 + g * 4; }
};
struct Iq2SPlaces {
  static constexpr std::uint32_t kId = 22;
  static constexpr const char* kName = "IQ2_S";
  static constexpr int kBytes = 82, kGroup = 16, kEntryBits = 2, kLowBits = 8, kHighBits = 2, kSignBits = 8,
                       kScaleBits = 4;
  static constexpr const Codebook& kBook = kIq2Book;
  static const std::uint16_t* grid() noexcept { return kIq2SGrid; }
  // d, low bits of entries, signs, high bits, scales.
  static constexpr int low_at(int e) noexcept { return 16 + e * 8; }
  static constexpr int sign_at(int o) noexcept { return 16 + 256 + o * 8; }
  static constexpr int high_at(int e) noexcept { return 16 + 512 + e * 2; }
  static constexpr int scale_at(int g) noexcept { return 16 + 576 + g * 4; }
};
struct Iq3XxsPlaces {
  static constexpr std::uint32_t kId = 18;
  static constexpr const char* kName = "IQ3_XXS";
  static constexpr int kBytes = 98, kGroup = 32, kEntryBits = 3, kLowBits = 8, kHighBits = 0, kSignBits = 7,
                       kScaleBits = 4;
  static constexpr const Codebook& kBook = kIq3XxsBook;
  static const std::uint16_t* grid() noexcept { return kIq3XxsGrid; }
  // d, entries, then for each group 4 bytes of signs with s in their highest bits.
  static constexpr int low_at(int e) noexcept { return 16 + e * 8; }
  static constexpr int sign_at(int o) noexcept { return 16 + 512 + o / 4 * 32 + o % 4 * 7; }
  static constexpr int scale_at(int g) noexcept { return 16 + 512 + g * 32 + 28; }
};
struct Iq3SPlaces {
  static constexpr std::uint32_t kId = 21;
  static constexpr const char* kName = "IQ3_S";
  static constexpr int kBytes = 110, kGroup = 32, kEntryBits = 3, kLowBits = 8, kHighBits = 1, kSignBits = 8,
                       kScaleBits = 4;
  static constexpr const Codebook& kBook = kIq3SBook;
  static const std::uint16_t* grid() noexcept { return kIq3SGrid; }
  // d, low bits of entries, high bits, signs, scales.
  static constexpr int low_at(int e) noexcept { return 16 + e * 8; }
  static constexpr int high_at(int e) noexcept { return 16 + 512 + e; }
  static constexpr int sign_at(int o) noexcept { return 16 + 576 + o * 8; }
  static constexpr int scale_at(int g) noexcept { return 16 + 832 + g * 4; }
};
struct Iq1SPlaces {
  static constexpr std::uint32_t kId = 19;
  static constexpr const char* kName = "IQ1_S";
  static constexpr int kBytes = 50, kGroup = 32, kEntryBits = 2, kLowBits = 8, kHighBits = 3, kSignBits = 1,
                       kScaleBits = 3;
  static constexpr const Codebook& kBook = kIq1Book;
  static const std::uint16_t* grid() noexcept { return kIq1SGrid; }
  // d, low bits of entries, then for each group 16 bits: high bits of four entries, s, the sign.
  static constexpr int low_at(int e) noexcept { return 16 + e * 8; }
  static constexpr int high_at(int e) noexcept { return 16 + 256 + e / 4 * 16 + e % 4 * 3; }
  static constexpr int scale_at(int g) noexcept { return 16 + 256 + g * 16 + 12; }
  static constexpr int sign_at(int o) noexcept { return 16 + 256 + o / 4 * 16 + 15; }
};
struct Iq1MPlaces {
  static constexpr std::uint32_t kId = 29;
  static constexpr const char* kName = "IQ1_M";
  static constexpr int kBytes = 56, kGroup = 16, kEntryBits = 2, kLowBits = 8, kHighBits = 3, kSignBits = 1,
                       kScaleBits = 3;
  static constexpr const Codebook& kBook = kIq1Book;
  static const std::uint16_t* grid() noexcept { return kIq1SGrid; }
  // Low bits of entries, for each octet high bits and sign in 4 bits, then for four groups 12 bits of s and 4 of d.
  static constexpr int low_at(int e) noexcept { return e * 8; }
  static constexpr int high_at(int e) noexcept { return 256 + e * 4; }
  static constexpr int sign_at(int o) noexcept { return 256 + o * 4 + 3; }
  static constexpr int scale_at(int g) noexcept { return 384 + g / 4 * 16 + g % 4 * 3; }
  static constexpr int d_at(int i) noexcept { return 384 + i * 16 + 12; }
};

using Iq2Xxs = Iq<Iq2XxsPlaces>;
using Iq2Xs = Iq<Iq2XsPlaces>;
using Iq2S = Iq<Iq2SPlaces>;
using Iq3Xxs = Iq<Iq3XxsPlaces>;
using Iq3S = Iq<Iq3SPlaces>;
using Iq1S = Iq<Iq1SPlaces>;
using Iq1M = Iq<Iq1MPlaces>;

}  // namespace rowmax::engine::quant
