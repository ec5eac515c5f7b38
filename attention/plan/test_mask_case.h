// Test support: masks as plain data, from which both the spec and the definition at the top of mask.h are made. The
// definition is written pair by pair, rule by rule, in 128 bits, and shares nothing with the plans.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "rowmax/mask.h"

namespace rowmax::attention::test {

using Wide = __int128;

inline constexpr MaskRule kAllRules[] = {MaskRule::kValid,      MaskRule::kSegments, MaskRule::kChunk,
                                         MaskRule::kBitmap,     MaskRule::kBlocks,   MaskRule::kTree,
                                         MaskRule::kRightBound, MaskRule::kLeftBound};

// One mask over one sequence.
struct MaskCase {
  std::int64_t n_q = 0, n_kv = 0, q_pos = 0, anchor = -1;
  std::int64_t n_head = 1;
  std::vector<std::int64_t> positions;  // empty: q_pos + i
  std::int64_t left = kUnbounded, right = kUnbounded, chunk = 0, keep_first = -1;
  std::vector<KeySpan> valid;  // one a term
  struct Ids {
    std::vector<std::int32_t> q, k;
  };
  std::vector<Ids> segments;
  struct Bits {
    std::vector<std::uint64_t> words;
    std::int64_t row_stride = 0, head_stride = 0, q_block = 1, k_block = 1;
    bool bit(std::int64_t h, std::int64_t i, std::int64_t j) const {
      const std::int64_t c = j / k_block;
      const std::int64_t at = h * head_stride + i / q_block * row_stride + c / 64;
      return (words[static_cast<std::size_t>(at)] >> (c % 64) & 1) != 0;
    }
  };
  std::vector<Bits> bitmaps, blocks;
  bool has_tree = false;
  std::vector<std::int32_t> parents;
  std::int64_t first_key = -1;
  bool has_prefix = false;
  std::int64_t prefix = 0;

  std::int64_t position(std::int64_t i) const {
    return positions.empty() ? q_pos + i : positions[static_cast<std::size_t>(i)];
  }

  Sequence sequence() const { return {0, n_q, q_pos, n_kv, positions.empty() ? nullptr : positions.data(), anchor}; }

  // A row with its own bit count, so that reading past it is seen by sanitizers.
  template <class Random>
  static Bits random_bits(Random& random, std::int64_t n_row, std::int64_t n_bit, std::int64_t n_head, int density) {
    Bits bits;
    bits.row_stride = (n_bit + 63) / 64;
    bits.head_stride = random.below(2) == 0 ? 0 : bits.row_stride * n_row;
    const std::int64_t n_words = bits.row_stride * n_row * (bits.head_stride == 0 ? 1 : n_head);
    for (std::int64_t w = 0; w < n_words; ++w) {
      std::uint64_t word = std::uint64_t{random.bits()} << 32 | random.bits();
      for (int k = 0; k < density; ++k) word |= std::uint64_t{random.bits()} << 32 | random.bits();
      bits.words.push_back(word);
    }
    return bits;
  }

  // The definition, one rule by itself.
  bool hides(MaskRule rule, std::int64_t h, std::int64_t i, std::int64_t j) const {
    const Wide p = position(i);
    std::int64_t first = 0, end = n_kv;
    for (const KeySpan& span : valid) {
      first = std::max(first, span.begin);
      end = std::min(end, span.end);
    }
    switch (rule) {
      case MaskRule::kValid: return j < first || j >= end;
      case MaskRule::kSegments:
        for (const Ids& ids : segments) {
          if (ids.q[static_cast<std::size_t>(i)] != ids.k[static_cast<std::size_t>(j)]) return true;
        }
        return false;
      case MaskRule::kChunk: {
        if (chunk == 0) return false;
        const auto index = [&](Wide x) {
          const Wide d = x - first;
          return d >= 0 ? d / chunk : -((chunk - 1 - d) / chunk);
        };
        return index(j) != index(p);
      }
      case MaskRule::kBitmap:
        for (const Bits& bits : bitmaps) {
          if (!bits.bit(h, i, j)) return true;
        }
        return false;
      case MaskRule::kBlocks:
        for (const Bits& bits : blocks) {
          if (!bits.bit(h, i, j)) return true;
        }
        return false;
      case MaskRule::kTree: {
        if (!has_tree) return false;
        const std::int64_t from = first_key == -1 ? n_kv - n_q : first_key;
        if (j < from) return false;
        for (std::int64_t node = i; node != -1; node = parents[static_cast<std::size_t>(node)]) {
          if (from + node == j) return false;
        }
        return true;
      }
      case MaskRule::kRightBound: return !(has_prefix && j < prefix) && right != kUnbounded && j > p + right;
      case MaskRule::kLeftBound:
        return !(has_prefix && j < prefix) && left != kUnbounded && j < p - left &&
               !(j >= first && j < Wide{first} + keep_first);
    }
    return true;
  }
  std::uint32_t hidden_by(std::int64_t h, std::int64_t i, std::int64_t j) const {
    std::uint32_t bits = 0;
    for (const MaskRule rule : kAllRules) bits |= hides(rule, h, i, j) ? static_cast<std::uint32_t>(rule) : 0u;
    return bits;
  }
  bool visible(std::int64_t h, std::int64_t i, std::int64_t j) const { return hidden_by(h, i, j) == 0; }
};

// The spec of one case a sequence, with the arrays of views it points to; the cases must outlive it. Queries lie one
// after another. All cases have the window, chunk, keep_first and n_head of the first, and as many terms of each kind.
struct CasesSpec {
  explicit CasesSpec(std::span<const MaskCase> cases) {
    const MaskCase& c = cases[0];
    n_head = static_cast<std::int32_t>(c.n_head);
    std::int64_t row = 0;
    for (const MaskCase& x : cases) {
      sequences.push_back(x.sequence());
      sequences.back().q_begin = row;
      row += x.n_q;
      trees.push_back({x.parents.data(), x.first_key});
      prefixes.push_back(x.prefix);
    }
    if (c.left != kUnbounded || c.right != kUnbounded) spec.window(c.left, c.right);
    if (c.chunk != 0) spec.chunk(c.chunk);
    if (c.keep_first >= 0) spec.keep_first(c.keep_first);
    for (std::size_t t = 0; t < c.valid.size(); ++t) {
      for (const MaskCase& x : cases) valid[t].push_back(x.valid[t]);
      spec.valid(valid[t]);
    }
    for (std::size_t t = 0; t < c.segments.size(); ++t) {
      for (const MaskCase& x : cases) segments[t].push_back({x.segments[t].q.data(), x.segments[t].k.data()});
      spec.segments(segments[t]);
    }
    for (std::size_t t = 0; t < c.bitmaps.size(); ++t) {
      for (const MaskCase& x : cases) {
        const MaskCase::Bits& bits = x.bitmaps[t];
        bitmaps[t].push_back({bits.words.data(), bits.row_stride, bits.head_stride});
      }
      spec.bitmap(bitmaps[t]);
    }
    for (std::size_t t = 0; t < c.blocks.size(); ++t) {
      for (const MaskCase& x : cases) {
        const MaskCase::Bits& bits = x.blocks[t];
        blocks[t].push_back({bits.words.data(), bits.row_stride, bits.head_stride, bits.q_block, bits.k_block});
      }
      spec.blocks(blocks[t]);
    }
    if (c.has_tree) spec.tree(trees);
    if (c.has_prefix) spec.prefix(prefixes);
  }
  CasesSpec(const CasesSpec&) = delete;
  CasesSpec& operator=(const CasesSpec&) = delete;
  Geometry geometry() const { return {sequences, n_head, 1}; }

  MaskSpec spec;
  std::vector<Sequence> sequences;
  std::vector<KeySpan> valid[MaskSpec::kMaxTerms];
  std::vector<SegmentIds> segments[MaskSpec::kMaxTerms];
  std::vector<BitmapView> bitmaps[MaskSpec::kMaxTerms];
  std::vector<BlockMaskView> blocks[MaskSpec::kMaxTerms];
  std::vector<TreeView> trees;
  std::vector<std::int64_t> prefixes;
  std::int32_t n_head = 1;
};

// The spec of one case.
struct CaseSpec : CasesSpec {
  explicit CaseSpec(const MaskCase& c) : CasesSpec({&c, 1}) {}
};

// The case as one bitmap for each head, made by the definition.
struct CaseBitmap {
  explicit CaseBitmap(const MaskCase& c) {
    const std::int64_t stride = (c.n_kv + 63) / 64;
    words.assign(static_cast<std::size_t>(stride * c.n_q * c.n_head), 0);
    for (std::int64_t h = 0; h < c.n_head; ++h) {
      for (std::int64_t i = 0; i < c.n_q; ++i) {
        for (std::int64_t j = 0; j < c.n_kv; ++j) {
          if (!c.visible(h, i, j)) continue;
          words[static_cast<std::size_t>((h * c.n_q + i) * stride + j / 64)] |= std::uint64_t{1} << (j % 64);
        }
      }
    }
    view = {words.data(), stride, stride * c.n_q};
  }
  std::vector<std::uint64_t> words;
  BitmapView view;
};

}  // namespace rowmax::attention::test
