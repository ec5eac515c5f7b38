// G15: the tile classifier is sound: a tile that it skips has no visible pair, and one that it calls full has no hidden
// one; and tight where every row sees something. (What a plan counts: MaskRules.TilesAreCountedAsTheDefinitionHasThem,
// MaskRules.EveryBandUpToTwelveIsExact.)
#include <gtest/gtest.h>

#include <algorithm>

#include "attention/kernels/rows.h"

namespace rowmax::attention::g15_tiles_test {
namespace {

struct Counts {
  std::int64_t skipped = 0, full = 0, partial = 0;
};

// All tilings of a block's keys against the pairs themselves.
void check_block(const PlanSequence& s, bool band, Counts* counts) {
  CallArgs call{};
  call.group = 1;
  BlockArgs block{};
  block.sequence = &s;
  block.n_rows = static_cast<int>(s.n_q);
  RowSpans spans[12];
  const BlockSpans all = find_spans(call, block, spans);
  std::int64_t seen[13] = {};  // of keys before j, over all rows
  bool empty_row = false;
  for (std::int64_t i = 0; i < s.n_q; ++i) {
    const RowSpans row = row_spans(s, i);
    empty_row = empty_row || row.begin0 >= row.end0;
    for (std::int64_t j = 0; j < s.n_kv; ++j) {
      seen[j + 1] += (j >= row.begin0 && j < row.end0) || (j >= row.begin1 && j < row.end1);
    }
  }
  for (std::int64_t j = 0; j < s.n_kv; ++j) seen[j + 1] += seen[j];
  for (std::int64_t size = 1; size <= 5; ++size) {
    for (std::int64_t begin = 0; begin < s.n_kv; begin += size) {
      const std::int64_t end = std::min(begin + size, s.n_kv);
      const std::int64_t pairs = seen[end] - seen[begin];
      const bool touched = all.touches(begin, end), full = touched && all.covers(begin, end);
      if (!touched) {
        ASSERT_EQ(pairs, 0);
      }
      if (full) {
        ASSERT_EQ(pairs, (end - begin) * s.n_q);
      }
      if (band && !empty_row) {
        ASSERT_EQ(touched, pairs > 0);
        ASSERT_EQ(full, pairs == (end - begin) * s.n_q);
      }
      (!touched ? counts->skipped : full ? counts->full : counts->partial) += 1;
    }
  }
}

TEST(G15, EveryBandOfUpToTwelveInTilesOfOneToFive) {
  Counts counts;
  for (std::int64_t n_q = 1; n_q <= 12; ++n_q) {
    for (std::int64_t n_kv = 1; n_kv <= 12; ++n_kv) {
      for (std::int64_t left = -1; left <= 8; ++left) {
        for (std::int64_t right = -1; right <= 8; ++right) {
          for (std::int64_t q_pos = -8; q_pos <= 8; ++q_pos) {
            PlanSequence s;
            s.n_q = n_q;
            s.n_kv = s.kv_end = n_kv;
            s.q_pos = q_pos;
            s.left = left < 0 ? kUnbounded : left;
            s.right = right < 0 ? kUnbounded : right;
            check_block(s, true, &counts);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
  EXPECT_GT(counts.skipped, 500000);
  EXPECT_GT(counts.full, 100000);
  EXPECT_GT(counts.partial, 500000);
}

TEST(G15, RandomMasksOfTwoIntervals) {
  Counts counts;
  std::uint64_t state = 15;
  const auto below = [&](std::int64_t n) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<std::int64_t>((state >> 33) % static_cast<std::uint64_t>(n));
  };
  for (int round = 0; round < 200000; ++round) {
    PlanSequence s;
    s.n_q = 1 + below(12);
    s.n_kv = 1 + below(12);
    s.kv_begin = below(s.n_kv);
    s.kv_end = s.kv_begin + below(s.n_kv - s.kv_begin + 1);
    s.q_pos = below(17) - 8;
    s.left = below(2) == 0 ? kUnbounded : below(9) - 1;
    s.right = below(2) == 0 ? kUnbounded : below(9) - 1;
    s.chunk = below(3) == 0 ? 1 + below(7) : 0;
    s.chunk_origin = s.kv_begin;
    s.prefix_end = below(3) == 0 ? below(13) : 0;
    s.keep_end = below(3) == 0 ? s.kv_begin + below(4) : 0;
    check_block(s, false, &counts);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(counts.full, 1000);
}

}  // namespace
}  // namespace rowmax::attention::g15_tiles_test
