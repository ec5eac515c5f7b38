// Test support: random masks as plain data (test_mask_case.h).
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "attention/plan/plan.h"
#include "attention/plan/test_mask_case.h"
#include "attention/test_problem.h"

namespace rowmax::attention::test {

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

}  // namespace rowmax::attention::test
