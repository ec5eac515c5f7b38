// How PackedMatrix lays out 16 rows, and the kernels that each instruction set offers for each layout.
//
// An integer panel is a scale area, padded to 64 bytes, then a code area of one tile for every 32 k:
//   codes   tile bytes 4 * r + i belong to row r; "quad q" is k = 4q .. 4q+3 of the tile, i = k - 4q.
//           1 bit: one vector of 64 bytes, bit q = quad q (1 stands for code 2). 2 bits: two, vector h has bits 2j,
//           2j+1 = quad 4h + j; 3 bits: a third one, bit q = the third bit of quad q. 4, 5, 6 bits: four vectors of 64
//           bytes; byte (r, i) of vector j holds the low four bits of quad j in its low half and of quad j + 4 in its
//           high half. 5 bits: one more vector, bit q = the fifth bit of quad q. 6 bits: two more, vector h has bits
//           2j, 2j+1 = the upper bits of quad 4h + j. 8 bits: eight vectors, code - 128 as a signed byte of quads 0
//           .. 7.
//   scales  without sub-scales, for each tile: 16 halves d, then with a minimum 16 halves m. With them, for each 256 k:
//           16 halves d, [16 halves dmin], then for each group 16 bytes sub-scale, [16 bytes sub-minimum]; with
//           kNibbles both are in one byte, the sub-scale low; with kOddNibbles sub-scales are 2n + 1, and a byte has the
//           n of a tile's two groups, the first low. Scales that are bytes by themselves: no halves, for each group 16
//           bytes.
// A float panel is [k][16], padded to 64 bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/quant/codebook.h"

// Loops over tokens and groups index arrays that must stay in registers: g++ -O2 does not unroll them by itself.
#define ROWMAX_UNROLL _Pragma("GCC unroll 16")

namespace rowmax::engine::panel {

inline constexpr int kRows = 16;
inline constexpr int kTile = 32;  // k of a tile of codes = activations that share a scale
inline constexpr int kTerms = 2;  // signed bytes that stand for one activation: coarse * 128 + fine
inline constexpr int kTermShift = 7;
inline constexpr int kMaxCode = 127 << kTermShift;
inline constexpr int kCodeBytes = kTile * kTerms;      // of one token in one tile: 32 coarse ones, then 32 fine ones
inline constexpr int kMostCodeBytes = 2 * kCodeBytes;  // that a kernel may want in their place
inline constexpr int kQuads = 8;                       // of 4 k, in a tile
inline constexpr int kVector = 64;                     // bytes: one quad of 16 rows
inline constexpr int kTokenStep = 4;                   // many tokens are padded to a multiple of this
inline constexpr int kMaxTokenGroup = 16;
inline constexpr int kF32Chunk = 256;        // k of one chain on the f32 path
inline constexpr int kInt8Chunk = 1024;      // k unpacked at a time for many tokens (16 KiB of codes)
inline constexpr int kTernaryChunk = 512;    // the same for ternary panels, which are taken two at a time
inline constexpr int kTaskTokens = 240;      // the most tokens of a Job with more than kTokenStep
inline constexpr int kPrefetchBytes = 2048;  // ahead of a tile of codes

__attribute__((always_inline)) constexpr std::int64_t round_up(std::int64_t value, std::int64_t multiple) noexcept {
  return (value + multiple - 1) / multiple * multiple;
}

struct alignas(16) ByteTable {
  std::uint8_t v[16];
};

enum class PanelKind { kFloat, kInteger, kTernary };

using quant::ScaleKind;

// kScaleTiles_: tiles of k that share a record of scales. kBookBits_: not 0 where the bits choose a value of Job::book;
// those of the value plus kOffset.
template <int kBits_, int kGroup_, int kOffset_, bool kHasMin_, bool kSubScales_, int kScaleTiles_, int kBookBits_ = 0,
          ScaleKind kScale_ = ScaleKind::kHalf>
struct IntegerPanel {
  static constexpr PanelKind kPanelKind = PanelKind::kInteger;
  static constexpr int kBits = kBits_, kGroup = kGroup_, kOffset = kOffset_;
  static constexpr bool kHasBook = kBookBits_ > 0;
  static constexpr int kDotBits = kHasBook ? kBookBits_ : kBits;  // of a code in dot products
  static constexpr ScaleKind kScale = kScale_;
  static constexpr bool kHasMin = kHasMin_, kSubScales = kSubScales_;
  static_assert(kGroup == 16 || kGroup == 32);
  static_assert((kBits >= 1 && kBits <= 6) || kBits == 8);
  static_assert(!kHasBook || kBits == 3 || kBits == 4);
  static_assert(!kSubScales || kScaleTiles_ == 8 || kScale != ScaleKind::kHalf);

  static constexpr int kGroups = kTile / kGroup;                // in a tile
  static constexpr int kTileBytes = kRows * kTile * kBits / 8;  // of codes
  static constexpr int kScaleTiles = kScaleTiles_;
  static constexpr int kHalvesBytes = kScale == ScaleKind::kHalf ? kRows * 2 * (kHasMin ? 2 : 1) : 0;
  static constexpr bool kNibbles = kSubScales && kHasMin && kGroup == 16;  // sub-scales and sub-minima of 4 bits
  static constexpr bool kOddNibbles = kSubScales && kHasBook && kGroup == 16 && kScale == ScaleKind::kHalf;
  static constexpr int kSubBytes = kRows * (kHasMin && !kNibbles ? 2 : 1);  // of one group; kOddNibbles: of a tile
  static constexpr int kSubsOfTile = kOddNibbles ? 1 : kGroups;
  static constexpr int kRecordBytes = kHalvesBytes + (kSubScales ? kScaleTiles * kSubsOfTile * kSubBytes : 0);
  static constexpr int kBlock = kTile * kScaleTiles;  // cols are a multiple of this

  __attribute__((always_inline)) static constexpr std::int64_t scale_bytes(std::int64_t cols) noexcept {
    return round_up(cols / kBlock * kRecordBytes, kVector);
  }
  __attribute__((always_inline)) static constexpr std::int64_t bytes(std::int64_t cols) noexcept {
    return scale_bytes(cols) + cols / kTile * kTileBytes;
  }
};

struct TernaryPanel {
  static constexpr PanelKind kPanelKind = PanelKind::kTernary;
  static constexpr bool kHasBook = false;
  static constexpr int kBits = 2, kOffset = 1;
  static constexpr int kTileBytes = kRows * kTile * kBits / 8;
  static constexpr int kHeadBytes = kRows * 4;
  static constexpr int kBlock = kTile;
  // Sums of 2^22 products of a code (at most 3) and a signed byte fit 32 bits.
  static constexpr std::int64_t kMaxCols = 1 << 22;
  __attribute__((always_inline)) static constexpr std::int64_t bytes(std::int64_t cols) noexcept {
    return kHeadBytes + cols / kTile * kTileBytes;
  }
};

enum class Float { kF32, kF16, kBf16 };
template <Float kKind_>
struct FloatPanel {
  static constexpr PanelKind kPanelKind = PanelKind::kFloat;
  static constexpr Float kKind = kKind_;
  static constexpr int kElementBytes = kKind == Float::kF32 ? 4 : 2;
  static constexpr int kBlock = 1;
  __attribute__((always_inline)) static constexpr std::int64_t bytes(std::int64_t cols) noexcept {
    return round_up(cols * kRows * kElementBytes, kVector);
  }
};

// Every layout there is; its place in the list is PackedMatrix::layout(). Formats choose theirs in pack.cc.
template <class... kPanels>
struct PanelList {
  static constexpr int kSize = sizeof...(kPanels);
};
using Panels = PanelList<FloatPanel<Float::kF32>, FloatPanel<Float::kF16>, FloatPanel<Float::kBf16>,
                         IntegerPanel<4, 32, 8, false, false, 1>,                       // Q4_0
                         IntegerPanel<4, 32, 0, true, false, 1>,                        // Q4_1
                         IntegerPanel<5, 32, 16, false, false, 1>,                      // Q5_0
                         IntegerPanel<5, 32, 0, true, false, 1>,                        // Q5_1
                         IntegerPanel<8, 32, 128, false, false, 1>,                     // Q8_0
                         IntegerPanel<4, 32, 0, true, true, 8>,                         // Q4_K
                         IntegerPanel<5, 32, 0, true, true, 8>,                         // Q5_K
                         IntegerPanel<6, 16, 32, false, true, 8>,                       // Q6_K
                         IntegerPanel<2, 16, 0, true, true, 8>,                         // Q2_K
                         IntegerPanel<3, 16, 4, false, true, 8>,                        // Q3_K
                         IntegerPanel<4, 32, 128, false, false, 1, 8>,                  // IQ4_NL
                         IntegerPanel<4, 32, 128, false, true, 8, 8>,                   // IQ4_XS, IQ3_XXS, IQ3_S
                         IntegerPanel<3, 32, 128, false, true, 8, 8>,                   // IQ2_XXS, IQ1_S
                         IntegerPanel<3, 16, 128, false, true, 8, 8>,                   // IQ2_XS, IQ2_S, IQ1_M
                         IntegerPanel<4, 32, 16, false, true, 1, 5, ScaleKind::kE8M0>,  // MXFP4
                         IntegerPanel<4, 16, 32, false, true, 2, 6, ScaleKind::kE4M3>,  // NVFP4
                         IntegerPanel<2, 32, 1, false, false, 2>,                       // Q2_0
                         IntegerPanel<2, 32, 1, false, false, 4>,                       // Q2_0_128, PQ2_0, PTQ1_0
                         IntegerPanel<2, 32, 1, false, false, 8>,                       // TQ1_0, TQ2_0, STQ1_0
                         IntegerPanel<2, 32, 1, true, false, 8>,                        // Q2_0C
                         IntegerPanel<1, 32, 1, false, false, 4>,                       // Q1_0
                         TernaryPanel>;                                                 // I2_S, IQ1_BN, IQ2_BN

// ---- rounded activations

// -offset * (sum of the activations of a group), which a dot product over unsigned codes starts from. One array for
// each offset and group that a layout uses. Minima of groups of 16 are multiplied with those of offset 1.
inline constexpr int kCorrections = 12;
struct Correction {
  int offset, group, first;  // first k of the group in the tile
};
constexpr Correction kCorrectionTable[kCorrections] = {{8, 32, 0},   {16, 32, 0}, {128, 32, 0}, {32, 16, 0},
                                                       {32, 16, 16}, {1, 32, 0},  {4, 16, 0},   {4, 16, 16},
                                                       {1, 16, 0},   {1, 16, 16}, {128, 16, 0}, {128, 16, 16}};
__attribute__((always_inline)) constexpr int correction_index(int offset, int group, int first) noexcept {
  for (int i = 0; i < kCorrections; ++i) {
    const Correction& row = kCorrectionTable[i];
    if (row.offset == offset && row.group == group && row.first == first) return i;
  }
  return -1;
}

// The rows of the table that a layout uses whose dot products start for `offset` (0: codes of 8 bits on some ISAs), as
// bits.
template <class Panel>
__attribute__((always_inline)) constexpr unsigned corrections_of(int offset) noexcept {
  unsigned bits = 0;
  if constexpr (Panel::kPanelKind == PanelKind::kInteger) {
    for (int first = 0; offset != 0 && first < kTile; first += Panel::kGroup) {
      bits |= 1u << correction_index(offset, Panel::kGroup, first);
    }
    for (int first = 0; Panel::kHasMin && Panel::kGroups > 1 && first < kTile; first += Panel::kGroup) {
      bits |= 1u << correction_index(1, Panel::kGroup, first);
    }
  }
  return bits;
}

// Tokens lie in groups of `group`, what a kernel takes at once: 4, 12 or 16. The last group is as wide as it must be:
// up to 4 tokens in all are one group of that many, more are padded with zeros to a multiple of 4. What belongs to tile
// b of token lane t of group g has the index group * g * n_tiles + b * width(group * g) + t.
struct TokenGroups {
  std::int64_t n_tok;
  std::int64_t n_tiles;
  int group;

  int width(std::int64_t token) const noexcept __attribute__((always_inline)) {
    const std::int64_t left = n_tok <= kTokenStep ? n_tok : round_up(n_tok - token, kTokenStep);
    return static_cast<int>(left < group ? left : group);
  }
};

// Tables of sums of few tokens' activations that kernels may look up by codes in place of multiplying: kLutBytes each a
// tile and token. What they hold is the business of the instruction set that builds and reads them.
enum Lut : int { kPairLut, kQuadLut, kLuts };  // for codes of 2 bits (0, 1, 2) and of 1 bit
inline constexpr int kLutBytes[kLuts] = {512, 384};

// Rounded in blocks of 32: kCodeBytes bytes of codes and one of everything else an index.
struct Int8Activations : TokenGroups {
  std::int8_t* codes;
  float* scales;                            // d
  float* sums;                              // d * float(sum of codes)
  std::int32_t* corrections[kCorrections];  // nullptr: no term needs it
  bool half_sums;                           // some correction is of 16 k
  std::uint8_t* luts[kLuts];                // up to kTokenStep tokens
  std::int32_t* lut_starts;                 // what sums of looked up values start from
};

// Rounded to one byte a number with one scale a token: kTile bytes of codes an index.
struct TokenActivations : TokenGroups {
  std::int8_t* codes;
  float* scales;       // s, one a token (padding tokens too)
  std::int32_t* sums;  // of codes, one a token
};

// ---- kernels

// A range of panels times a range of tokens; token_begin is a multiple of the token group.
struct Job {
  const std::byte* panels;  // panel 0 of the matrix
  std::int64_t panel_bytes, rows, cols;
  std::int64_t panel_begin, panel_end;
  std::int64_t token_begin, token_end;
  float* y;
  std::int64_t ldy;
  const float* x;  // f32 path
  std::int64_t ldx;
  const quant::Codebook* book;       // of panels that have one
  const Int8Activations* int8;       // integer panels
  const TokenActivations* by_token;  // ternary panels
};

using JobFn = void (*)(const Job& job) noexcept;
// How an integer kernel wants its activations.
enum class Rounding { kNone, kBlocks, kByToken };
struct PanelKernels {
  JobFn few, many;  // on rounded activations, up to kTokenStep tokens in all and more; nullptr for float panels
  Rounding rounding;
  unsigned few_corrections, many_corrections;  // that they read, as bits
  int panel_step;                              // panels that many takes at once
  int few_tokens_step;                         // panels taken at once where they are at most kTokenStep
  JobFn f32;
  // Where the codes of a matrix are below 3 and this is there, it takes the place of `few`, lut_step panels at once.
  JobFn few_by_lut = nullptr;
  Lut lut = kPairLut;
  int lut_step = 1;
  // A call none of whose terms has as many goes to Kernels::for_fewer; above kTokenStep where there is one.
  std::int64_t min_tokens = 1;
};
// Both round the tokens of token groups [group_begin, group_end).
using RoundFn = void (*)(const float* x, std::int64_t ldx, const Int8Activations& out, std::int64_t group_begin,
                         std::int64_t group_end) noexcept;
using RoundByTokenFn = void (*)(const float* x, std::int64_t ldx, const TokenActivations& out, std::int64_t group_begin,
                                std::int64_t group_end) noexcept;
// The tables of some kinds (bits of 1 << Lut) for activations that are rounded.
using BuildLutsFn = void (*)(const Int8Activations& act, unsigned kinds) noexcept;
struct Kernels {
  PanelKernels panels[Panels::kSize];
  RoundFn round;
  RoundByTokenFn round_by_token;
  int token_group;
  BuildLutsFn build_luts = nullptr;
  const Kernels* for_fewer = nullptr;  // see min_tokens; nullptr: this table takes all
};

const Kernels& kernels_scalar() noexcept;
const Kernels& kernels_avx2() noexcept;
const Kernels& kernels_avxvnni() noexcept;
const Kernels& kernels_avx512() noexcept;
const Kernels& kernels_avx512vbmi() noexcept;
const Kernels& kernels_amx() noexcept;
const Kernels& kernels_neon() noexcept;
const Kernels& kernels_dotprod() noexcept;
const Kernels& kernels_i8mm() noexcept;

}  // namespace rowmax::engine::panel
