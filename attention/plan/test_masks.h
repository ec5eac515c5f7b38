// Test support: masks as plain data, from which both the spec and the definition at the top of mask.h are made. The
// definition is written pair by pair, rule by rule, in 128 bits, and shares nothing with the plans.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "attention/plan/plan.h"
#include "attention/test_problem.h"

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

// The spec of a case with the arrays of views it points to; the case must outlive it.
struct CaseSpec {
  explicit CaseSpec(const MaskCase& c) {
    sequences.push_back(c.sequence());
    if (c.left != kUnbounded || c.right != kUnbounded) spec.window(c.left, c.right);
    if (c.chunk != 0) spec.chunk(c.chunk);
    if (c.keep_first >= 0) spec.keep_first(c.keep_first);
    for (const KeySpan& span : c.valid) spec.valid({&span, 1});
    for (const auto& ids : c.segments) segments.push_back({ids.q.data(), ids.k.data()});
    for (const auto& bits : c.bitmaps) bitmaps.push_back({bits.words.data(), bits.row_stride, bits.head_stride});
    for (const auto& bits : c.blocks) {
      blocks.push_back({bits.words.data(), bits.row_stride, bits.head_stride, bits.q_block, bits.k_block});
    }
    for (const SegmentIds& x : segments) spec.segments({&x, 1});
    for (const BitmapView& x : bitmaps) spec.bitmap({&x, 1});
    for (const BlockMaskView& x : blocks) spec.blocks({&x, 1});
    tree = {c.parents.data(), c.first_key};
    if (c.has_tree) spec.tree({&tree, 1});
    prefix = c.prefix;
    if (c.has_prefix) spec.prefix({&prefix, 1});
    n_head = static_cast<std::int32_t>(c.n_head);
  }
  CaseSpec(const CaseSpec&) = delete;
  CaseSpec& operator=(const CaseSpec&) = delete;
  Geometry geometry() const { return {sequences, n_head, 1}; }

  MaskSpec spec;
  std::vector<Sequence> sequences;
  std::vector<SegmentIds> segments;
  std::vector<BitmapView> bitmaps;
  std::vector<BlockMaskView> blocks;
  TreeView tree;
  std::int64_t prefix = 0;
  std::int32_t n_head = 1;
};

inline MaskCase::Ids random_ids(Random& random, std::int64_t n_q, std::int64_t n_kv) {
  MaskCase::Ids ids;
  const bool ordered = random.below(2) == 0;
  const auto fill = [&](std::vector<std::int32_t>* values, std::int64_t n) {
    std::int32_t id = static_cast<std::int32_t>(random.below(2));
    for (std::int64_t i = 0; i < n; ++i) {
      id = ordered ? id + static_cast<std::int32_t>(random.below(5) == 0) : static_cast<std::int32_t>(random.below(3));
      values->push_back(id);
    }
  };
  fill(&ids.q, n_q);
  fill(&ids.k, n_kv);
  return ids;
}

// A mask of random conditions, each with probability about 1/4; numbers around the edges of the sequence.
inline MaskCase random_case(Random& random, std::int64_t most_q, std::int64_t most_kv) {
  MaskCase c;
  c.n_q = 1 + random.below(most_q);
  c.n_kv = 1 + random.below(most_kv);
  c.n_head = 1 + random.below(2);
  c.q_pos = random.below(c.n_kv + 10) - 5;
  const auto sometimes = [&] { return random.below(4) == 0; };
  if (sometimes()) {
    for (std::int64_t i = 0; i < c.n_q; ++i) c.positions.push_back(random.below(c.n_kv + 10) - 5);
  }
  if (random.below(2) == 0) c.right = random.below(3) == 0 ? random.below(12) - 4 : 0;
  if (sometimes()) c.left = random.below(c.n_kv / 2 + 6) - 3;
  if (sometimes()) c.chunk = 1 + random.below(c.n_kv);
  if (sometimes()) c.keep_first = random.below(6);
  if (sometimes()) c.has_prefix = true, c.prefix = random.below(c.n_kv + 4) - 2;
  for (int t = 0; t < 2 && sometimes(); ++t) {
    const std::int64_t begin = random.below(c.n_kv / 2 + 1);
    c.valid.push_back({begin, begin + random.below(c.n_kv - begin + 1)});
  }
  for (int t = 0; t < 2 && sometimes(); ++t) c.segments.push_back(random_ids(random, c.n_q, c.n_kv));
  for (int t = 0; t < 2 && sometimes(); ++t) {
    c.bitmaps.push_back(MaskCase::random_bits(random, c.n_q, c.n_kv, c.n_head, 1));
  }
  for (int t = 0; t < 2 && sometimes(); ++t) {
    const std::int64_t sizes[] = {1, 2, 3, 5, 8, 16, 31, 32, 64, 65, 128, std::int64_t{1} << 60};
    const std::int64_t q_block = sizes[random.below(12)], k_block = sizes[random.below(12)];
    c.blocks.push_back(
        MaskCase::random_bits(random, (c.n_q - 1) / q_block + 1, (c.n_kv - 1) / k_block + 1, c.n_head, 1));
    c.blocks.back().q_block = q_block;
    c.blocks.back().k_block = k_block;
  }
  if (sometimes() && c.n_q <= c.n_kv) {
    c.has_tree = true;
    for (std::int64_t i = 0; i < c.n_q; ++i) c.parents.push_back(static_cast<std::int32_t>(random.below(i + 1)) - 1);
    c.first_key = random.below(2) == 0 ? -1 : random.below(c.n_kv - c.n_q + 1);
  }
  return c;
}

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
