// Every rule and composition against the definition: visible, explain, materialise, counts, tiles, results.
#include "attention/plan/test_masks.h"

namespace rowmax::attention::test::compile_test {
namespace {

// Compares everything a plan says with the definition.
void check_case(const MaskCase& c, const char* what, bool explain) {
  const CaseSpec x(c);
  const Result<MaskPlan> plan = compile(x.spec, x.geometry());
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  ASSERT_EQ(plan->n_query(0), c.n_q);
  ASSERT_EQ(plan->n_key(0), c.n_kv);
  const std::int64_t row_words = (c.n_kv + 63) / 64 + 1;
  MaskStats want;
  for (std::int64_t h = 0; h < c.n_head; ++h) {
    std::vector<std::uint64_t> words(static_cast<std::size_t>(row_words * c.n_q), ~std::uint64_t{0});
    ASSERT_TRUE(plan->materialise(0, h, words, row_words).ok());
    for (std::int64_t i = 0; i < c.n_q; ++i) {
      std::int64_t n_visible = 0;
      for (std::int64_t j = 0; j < row_words * 64; ++j) {
        const bool bit = (words[static_cast<std::size_t>(i * row_words + j / 64)] >> (j % 64) & 1) != 0;
        if (j >= c.n_kv) {
          ASSERT_FALSE(bit) << what << ": bit past the last key";
          ASSERT_FALSE(plan->visible(0, h, i, j));
          continue;
        }
        const std::uint32_t hidden = c.hidden_by(h, i, j);
        ASSERT_EQ(plan->visible(0, h, i, j), hidden == 0) << what << ": query " << i << " key " << j;
        ASSERT_EQ(bit, hidden == 0) << what << ": query " << i << " key " << j;
        n_visible += hidden == 0;
        if (!explain) continue;
        const Result<MaskExplanation> e = plan->explain(0, h, i, j);
        ASSERT_TRUE(e.ok());
        ASSERT_EQ(e->hidden_by, hidden) << what << ": " << e->text;
        ASSERT_EQ(e->position, c.position(i));
      }
      want.visible_pairs += n_visible;
      want.empty_rows += n_visible == 0;
    }
  }
  const MaskStats stats = plan->stats();
  ASSERT_EQ(stats.visible_pairs, want.visible_pairs) << what;
  ASSERT_EQ(stats.empty_rows, want.empty_rows) << what;
}

// All windows x positions x spans x chunk x prefix x keep_first of small sequences.
void sweep_bounds(std::int64_t most, std::int64_t step) {
  std::int64_t n_cases = 0;
  for (std::int64_t n_q : {std::int64_t{1}, std::int64_t{2}, most / 2, most}) {
    for (std::int64_t n_kv : {std::int64_t{1}, std::int64_t{3}, most - 1, most}) {
      for (std::int64_t q_pos = -3; q_pos <= n_kv + 1; q_pos += step) {
        for (std::int64_t left = -2; left <= n_kv + 1; left += step) {
          for (std::int64_t right = -2; right <= n_kv + 1; right += step) {
            for (int more = 0; more < 27; ++more) {
              MaskCase c;
              c.n_q = n_q;
              c.n_kv = n_kv;
              c.q_pos = q_pos;
              c.left = left == n_kv + 1 ? kUnbounded : left;
              c.right = right == n_kv + 1 ? kUnbounded : right;
              if (more % 3 > 0) c.chunk = more % 3 == 1 ? 2 : (n_kv + 1) / 2;
              if (more / 3 % 3 > 0) c.has_prefix = true, c.prefix = more / 3 % 3 == 1 ? 1 : n_kv / 2 + 1;
              if (more / 9 > 0) c.keep_first = more / 9;
              if (++n_cases % 3 > 0) c.valid = {{n_cases % 3 == 1 ? n_kv / 3 : 0, n_kv - n_cases % 2 * (n_kv / 4)}};
              check_case(c, "bounds", false);
              if (testing::Test::HasFatalFailure()) return;
            }
          }
        }
      }
    }
  }
}
TEST(MaskRules, BoundsChunksPrefixesAndKeptKeysOfSmallSequences) { sweep_bounds(6, 2); }
TEST(Full_MaskRules, BoundsChunksPrefixesAndKeptKeysUpToTwelve) { sweep_bounds(12, 1); }

TEST(MaskRules, EveryPairOfRandomCompositionsIsExplained) {
  Random random(11);
  for (int round = 0; round < 1500; ++round) {
    check_case(random_case(random, 7, round % 4 == 0 ? 150 : 20), ("round " + std::to_string(round)).c_str(), true);
    if (HasFatalFailure()) return;
  }
}

TEST(MaskRules, EveryBlockShape) {
  Random random(12);
  for (std::int64_t q_block : {1, 2, 3, 4, 7, 64}) {
    for (std::int64_t k_block : {1, 2, 3, 4, 7, 8, 13, 16, 32, 33, 63, 64, 65, 100, 128}) {
      for (std::int64_t n_kv : {1, 63, 64, 65, 130, 200}) {
        MaskCase c;
        c.n_q = 9;
        c.n_kv = n_kv;
        c.n_head = 2;
        if (random.below(2) == 0) c.valid = {{n_kv / 3, n_kv}};
        c.blocks.push_back(MaskCase::random_bits(random, (c.n_q - 1) / q_block + 1, (n_kv - 1) / k_block + 1, 2, 0));
        c.blocks[0].q_block = q_block;
        c.blocks[0].k_block = k_block;
        check_case(c, "blocks", true);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Every forest of up to five nodes.
TEST(MaskRules, EveryTree) {
  for (std::int64_t n = 1; n <= 5; ++n) {
    std::int64_t n_forests = 1;
    for (std::int64_t i = 1; i <= n; ++i) n_forests *= i;
    for (std::int64_t f = 0; f < n_forests; ++f) {
      MaskCase c;
      c.n_q = n;
      c.has_tree = true;
      std::int64_t rest = f;
      for (std::int64_t i = 0; i < n; ++i) {
        c.parents.push_back(static_cast<std::int32_t>(rest % (i + 1)) - 1);
        rest /= i + 1;
      }
      for (std::int64_t n_kv : {n, n + 3, std::int64_t{63}, std::int64_t{66}}) {
        c.n_kv = n_kv;
        for (std::int64_t first_key : {std::int64_t{-1}, std::int64_t{0}, n_kv - n}) {
          c.first_key = first_key;
          check_case(c, "tree", n_kv < 10);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(MaskRules, LongTreesCrossWords) {
  Random random(13);
  MaskCase c;
  c.n_q = 150;
  c.n_kv = 230;
  c.has_tree = true;
  for (std::int64_t i = 0; i < c.n_q; ++i) {
    c.parents.push_back(i == 0 ? -1 : static_cast<std::int32_t>(i - 1 - random.below(std::min(i, std::int64_t{3}))));
  }
  for (std::int64_t first_key : {-1, 0, 5, 64, 70}) {
    c.first_key = first_key;
    check_case(c, "long tree", false);
  }
}

// Any composition gives the bits of the same mask as one bitmap on the same tile grid (guarantee G4).
TEST(MaskRules, CompositionsGiveTheBitsOfTheirBitmap) {
  Random random(14);
  for (int round = 0; round < 300; ++round) {
    MaskCase c = random_case(random, 9, 300);
    KeySpan valid{0, c.n_kv};
    for (const KeySpan& span : c.valid) valid = {std::max(valid.begin, span.begin), std::min(valid.end, span.end)};
    valid.end = std::max(valid.begin, valid.end);
    c.anchor = c.segments.empty() ? random.below(2) - 1 : 0;  // documents in order have grids of their own
    const CaseSpec x(c);
    const CaseBitmap bitmap(c);
    std::vector<Sequence> sequences = x.sequences;
    sequences[0].positions = nullptr;
    const Shape shape{c.n_head, 1, 6, 5};
    const Numbers numbers = random_numbers(random, shape, c.n_q, c.n_kv);
    RunOptions options;
    options.isa =
        supported_isas()[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(supported_isas().size())))];
    const Output one = run(shape, {numbers}, x.sequences, x.spec, options);
    const Output two =
        run(shape, {numbers}, sequences, MaskSpec().bitmap({&bitmap.view, 1}).valid({&valid, 1}), options);
    ASSERT_TRUE(one.same_bits(two)) << "round " << round;
    if (round % 5 != 0) continue;
    ASSERT_LT(worst_error(shape, numbers, one, 0, options,
                          [&](std::int64_t h, std::int64_t i, std::int64_t j) { return c.visible(h, i, j); }),
              1.0)
        << "round " << round;
  }
}

// Rows that share their bits are looked at once: runs of queries and heads of every shape, among them tiles that all
// rows of a block hide.
TEST(MaskRules, SharedBitsGiveTheBitsOfTheirBitmap) {
  Random random(16);
  for (int round = 0; round < 60; ++round) {
    MaskCase c;
    c.n_q = 100 + random.below(100);
    c.n_kv = 400;
    c.n_head = 4;
    if (round % 3 == 0) c.right = 0, c.q_pos = c.n_kv - c.n_q;
    const std::int64_t sizes[] = {1, 3, 48, 64, 100, 1000};
    for (int t = 0; t < 1 + round % 2; ++t) {
      const std::int64_t q_block = sizes[random.below(6)], k_block = sizes[random.below(6)];
      auto bits = MaskCase::random_bits(random, (c.n_q - 1) / q_block + 1, (c.n_kv - 1) / k_block + 1, c.n_head, 0);
      for (auto& word : bits.words)
        word &= random.below(2) == 0 ? 0 : std::uint64_t{random.bits()} << 32 | random.bits();
      if (random.below(4) == 0) bits.row_stride = 0;
      bits.q_block = q_block;
      bits.k_block = k_block;
      c.blocks.push_back(bits);
    }
    const CaseSpec x(c);
    const CaseBitmap bitmap(c);
    const Shape shape{4, 1 << (round % 3), 6, 5};
    const Numbers numbers = random_numbers(random, shape, c.n_q, c.n_kv);
    RunOptions options;
    options.isa = best_isa();
    const Output one = run(shape, {numbers}, x.sequences, x.spec, options);
    const Output two = run(shape, {numbers}, x.sequences, MaskSpec().bitmap({&bitmap.view, 1}), options);
    ASSERT_TRUE(one.same_bits(two)) << "round " << round;
    if (round % 10 != 0) continue;
    const auto visible = [&](std::int64_t h, std::int64_t i, std::int64_t j) { return c.visible(h, i, j); };
    ASSERT_LT(worst_error(shape, numbers, one, 0, options, visible), 1.0) << "round " << round;
  }
}

// What the kernel concludes from spans and words about a tile is true (guarantee G15): a word of 0 means no visible
// pair, all ones mean all visible, and a mask that is one band has no tile that looks partial but is not.
void check_tiles(const MaskCase& c) {
  const CaseSpec x(c);
  const Result<MaskPlan> plan = compile(x.spec, x.geometry());
  ASSERT_TRUE(plan.ok());
  MaskStats want;
  std::int64_t first = 0, end = c.n_kv;
  for (const KeySpan& span : c.valid) first = std::max(first, span.begin), end = std::min(end, span.end);
  const std::int64_t anchor = plan->anchor(0, 0);
  for (std::int64_t h = 0; h < c.n_head; ++h) {
    for (std::int64_t i = 0; i < c.n_q; ++i) {
      for (std::int64_t t = anchor; t < end; t += kKeyTile) {
        std::int64_t n_valid = 0, n_visible = 0;
        for (std::int64_t j = std::max(t, first); j < std::min(t + kKeyTile, end); ++j) {
          ++n_valid;
          n_visible += c.visible(h, i, j);
        }
        if (n_valid == 0) continue;
        ++(n_visible == 0 ? want.empty_tiles : n_visible == n_valid ? want.full_tiles : want.partial_tiles);
      }
    }
  }
  const MaskStats stats = plan->stats();
  ASSERT_EQ(stats.empty_tiles, want.empty_tiles);
  ASSERT_EQ(stats.full_tiles, want.full_tiles);
  ASSERT_EQ(stats.partial_tiles, want.partial_tiles);
}

TEST(MaskRules, TilesAreCountedAsTheDefinitionHasThem) {
  Random random(15);
  for (int round = 0; round < 1500; ++round) {
    MaskCase c = random_case(random, 5, 400);
    c.segments.clear();  // a document's tiles are counted from its own first key
    check_tiles(c);
    if (HasFatalFailure()) return;
  }
}

// The band's row spans are the definition's first and last visible key, exactly: no key too many (sound) and none too
// few (tight), so that a skipped tile is one without a visible pair and nothing else is skipped.
TEST(MaskRules, EveryBandUpToTwelveIsExact) {
  for (std::int64_t n_q = 1; n_q <= 12; ++n_q) {
    for (std::int64_t n_kv = 1; n_kv <= 12; ++n_kv) {
      for (std::int64_t left = -1; left <= 9; ++left) {
        for (std::int64_t right = -1; right <= 9; ++right) {
          for (std::int64_t q_pos = -8; q_pos <= 8; ++q_pos) {
            PlanSequence s;
            s.n_q = n_q;
            s.n_kv = s.kv_end = n_kv;
            s.q_pos = q_pos;
            s.left = left == 9 ? kUnbounded : left;
            s.right = right == 9 ? kUnbounded : right;
            for (std::int64_t i = 0; i < n_q; ++i) {
              std::int64_t first = -1, last = -1;
              for (std::int64_t j = 0; j < n_kv; ++j) {
                if ((right != 9 && j > q_pos + i + right) || (left != 9 && j < q_pos + i - left)) continue;
                if (first < 0) first = j;
                last = j;
              }
              const RowSpans spans = row_spans(s, i);
              ASSERT_EQ(spans.begin1, spans.end1);
              if (first < 0) {
                ASSERT_EQ(spans.begin0, spans.end0);
              } else {
                ASSERT_EQ(spans.begin0, first);
                ASSERT_EQ(spans.end0, last + 1);
              }
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace rowmax::attention::test::compile_test
