// Sliding windows in the cache: a page goes when no token to come can see a position of it, and what a sequence does see
// is always what was written for it. Both by their definitions, position by position.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include "engine/runtime/kv_cache.h"

namespace rowmax::engine::kv_cache_window_test {
namespace {

constexpr std::int64_t kPage = KvCache::kPageTokens;

bool append(KvCache& cache, SequenceId id, std::span<const TokenId> tokens, std::int64_t n_draft = 0) {
  cache.begin_batch();
  return cache.append(id, tokens, n_draft).ok();
}

// The pages begun by n tokens of which a token at position `next` or later sees, or will see, a position.
std::int64_t seen_pages(std::int64_t window, std::int64_t n, std::int64_t next) {
  std::int64_t count = 0;
  for (std::int64_t page = 0; page * kPage < n; ++page) {
    bool seen = false;
    for (std::int64_t j = page * kPage; j < (page + 1) * kPage; ++j) {
      seen = seen || window == 0 || j > next - window;  // the token sees itself and window - 1 before it
    }
    count += seen;
  }
  return count;
}

TEST(KvWindow, PagesGoWhenNothingOfThemIsInTheWindowOfATokenToCome) {
  const std::vector<KvCache::Layer> layers = {{1, 4, 100}, {1, 4, 0}, {1, 4, 100}, {2, 4, 7}, {1, 4, 1}, {1, 4, 64}};
  auto made = KvCache::create(
      {.layers = layers, .type = KvType::kF32, .context = 8 * kPage, .share = false, .rows_at_once = 8 * kPage});
  ASSERT_TRUE(made.ok());
  KvCache& cache = *made;
  ASSERT_EQ(cache.groups().size(), 5u);
  const SequenceId id = *cache.open();
  std::mt19937 random(3);
  std::int64_t n = 0;
  while (n < 7 * kPage) {
    const std::int64_t more = random() % 3 == 0 ? 1 + random() % 90 : 1;
    const std::int64_t drafts = random() % 2 == 0 ? random() % more : 0;
    ASSERT_TRUE(append(cache, id, std::vector<TokenId>(static_cast<std::size_t>(more), 1), drafts));
    ASSERT_TRUE(cache.prepare(id, n, n + more).ok());
    n += more;
    cache.settle(id);
    std::int64_t want = 0;
    for (const KvCache::Layer& layer : layers) {
      const std::int64_t page_bytes = kPage * layer.n_kv_head * layer.head_dim * 2 * 4;
      want += seen_pages(layer.window, n, n - drafts) * page_bytes;
    }
    ASSERT_EQ(cache.in_use_bytes(), want) << n << " tokens, drafts " << drafts;
    ASSERT_EQ(cache.pool().used_bytes(), want);
    if (drafts > 0) {
      ASSERT_EQ(cache.truncate(id, n - drafts), n - drafts);
      n -= drafts;
    }
  }
}

// Drives a cache as a session does, and keeps beside it what each sequence must find: at position j of a layer a number
// that stands for the tokens up to j and the layer.
class Driven {
 public:
  explicit Driven(const KvCache::Shape& shape) : cache(std::move(KvCache::create(shape)).value()) {}
  KvCache cache;

  static float number(std::span<const TokenId> tokens, std::int64_t layer) {
    std::uint64_t hash = 0x9E3779B97F4A7C15ull + static_cast<std::uint64_t>(layer);
    for (const TokenId token : tokens) hash = (hash ^ static_cast<std::uint64_t>(token)) * 0x100000001B3ull;
    return static_cast<float>(hash >> 40);
  }
  float* at(SequenceId id, std::int64_t layer, std::int64_t position) {
    const auto& table = cache.sequence(id).tables[cache.group_of(static_cast<std::size_t>(layer))];
    const std::int32_t page = table.pages[static_cast<std::size_t>(position / kPage)];
    if (page < 0) return nullptr;
    const KvView view = cache.view(layer);
    return static_cast<float*>(cache.layer_values(layer)) + page * view.v.page_stride +
           position % kPage * view.v.key_stride;
  }

  // Computes `tokens` behind those of the sequence; false when there is no room.
  bool compute(SequenceId id, std::span<const TokenId> tokens, std::int64_t n_draft = 0) {
    const std::int64_t start = std::ssize(cache.sequence(id).tokens), rows = cache.shape().rows_at_once;
    cache.begin_batch();
    const Status status = cache.append(id, tokens, n_draft);
    if (!status.ok()) {
      EXPECT_EQ(status.error().code, ErrorCode::kLimit);
      return false;
    }
    const std::int64_t end = start + std::ssize(tokens);
    for (std::int64_t begin = start; begin < end; begin += rows) {
      const std::int64_t stop = std::min(begin + rows, end);
      if (begin > start) cache.publish(id, begin);
      EXPECT_TRUE(cache.prepare(id, begin, stop).ok());
      const std::span<const TokenId> all(cache.sequence(id).tokens);
      for (std::int64_t layer = 0; layer < std::ssize(cache.shape().layers); ++layer) {
        for (std::int64_t j = begin; j < stop; ++j) {
          float* const slot = at(id, layer, j);
          EXPECT_NE(slot, nullptr);
          if (slot != nullptr) *slot = number(all.first(static_cast<std::size_t>(j + 1)), layer);
        }
      }
      expect_right(id, begin);
    }
    cache.publish(id);
    cache.settle(id);
    return true;
  }
  // What a token at `next` and those behind it see is there and is the sequence's own.
  void expect_right(SequenceId id, std::int64_t next) {
    const std::span<const TokenId> all(cache.sequence(id).tokens);
    for (std::int64_t layer = 0; layer < std::ssize(cache.shape().layers); ++layer) {
      const std::int64_t window = cache.shape().layers[static_cast<std::size_t>(layer)].window;
      const std::int64_t first = window == 0 ? 0 : std::max<std::int64_t>(0, next - window + 1);
      for (std::int64_t j = first; j < std::min(next, std::ssize(all)); ++j) {
        const float* const slot = at(id, layer, j);
        ASSERT_NE(slot, nullptr) << "sequence " << id << " layer " << layer << " position " << j << " seen from "
                                 << next;
        ASSERT_EQ(*slot, number(all.first(static_cast<std::size_t>(j + 1)), layer))
            << "sequence " << id << " layer " << layer << " position " << j << " seen from " << next;
      }
    }
  }
};

std::vector<TokenId> prompt_of(std::mt19937& random) {
  // Few beginnings, so that prompts meet, and an end of its own.
  std::vector<TokenId> tokens(random() % (6 * kPage), static_cast<TokenId>(random() % 2));
  const std::size_t n = random() % 40 + 1;
  for (std::size_t i = 0; i < n; ++i) tokens.push_back(static_cast<TokenId>(random() % 3));
  return tokens;
}

class KvWindowLife : public testing::TestWithParam<std::vector<std::int64_t>> {};

TEST_P(KvWindowLife, WhatASequenceSeesIsItsOwnWhateverOthersDo) {
  std::vector<KvCache::Layer> layers;
  for (const std::int64_t window : GetParam()) layers.push_back({1, 1, window});
  for (const bool tight : {false, true}) {
    KvCache::Shape shape{.layers = layers, .type = KvType::kF32, .context = 8 * kPage, .max_sequences = 3};
    shape.rows_at_once = 50;
    const bool all_slide = std::ranges::find(GetParam(), 0) == GetParam().end();
    shape.kv_budget_bytes = tight ? std::ssize(layers) * 512 * (all_slide ? 4 : 7) : 0;
    Driven driven(shape);
    KvCache& cache = driven.cache;
    std::mt19937 random(tight ? 11 : 12);
    int n_refused = 0, n_reused = 0, n_back = 0, n_forks = 0;
    for (int step = 0; step < 3000; ++step) {
      const auto id = static_cast<SequenceId>(random() % 3);
      if (!cache.is_open(id)) {
        const auto from = static_cast<SequenceId>(random() % 3);
        if (!cache.is_open(from) || random() % 3 == 0) {
          ASSERT_TRUE(cache.open().ok());
          continue;
        }
        const std::int64_t before = cache.in_use_bytes();
        const auto fork = cache.fork(from);
        ASSERT_TRUE(fork.ok() || tight) << fork.error().message;
        if (!fork.ok()) continue;
        ASSERT_EQ(cache.sequence(*fork).tokens, cache.sequence(from).tokens);
        const bool partly = std::ssize(cache.sequence(from).tokens) % kPage != 0;
        ASSERT_EQ(cache.in_use_bytes() - before, partly ? cache.bytes_per_token() * kPage : 0);
        ++n_forks;
        continue;
      }
      const std::int64_t size = std::ssize(cache.sequence(id).tokens);
      switch (random() % 7) {
        case 0: {
          const std::vector<TokenId> tokens = prompt_of(random);
          const std::int64_t kept = cache.reuse(id, tokens);
          ASSERT_LT(kept, std::ssize(tokens));
          ASSERT_EQ(kept, std::ssize(cache.sequence(id).tokens));
          ASSERT_TRUE(std::equal(tokens.begin(), tokens.begin() + kept, cache.sequence(id).tokens.begin()));
          n_reused += kept > 0;
          driven.expect_right(id, kept);
          n_refused += !driven.compute(id, std::span(tokens).subspan(static_cast<std::size_t>(kept)));
          break;
        }
        case 1:
        case 2: {
          const std::int64_t n = std::min<std::int64_t>(1 + random() % 9, shape.context - size);
          std::vector<TokenId> tokens;
          for (std::int64_t i = 0; i < n; ++i) tokens.push_back(static_cast<TokenId>(random() % 2));
          n_refused += !driven.compute(id, tokens, n > 0 ? random() % n : 0);
          break;
        }
        case 3: {
          const std::int64_t n = size > 0 ? size - 1 - random() % std::min<std::int64_t>(size, 150) : 0;
          const std::int64_t kept = cache.truncate(id, n);
          ASSERT_LE(kept, n);
          ASSERT_EQ(kept, std::ssize(cache.sequence(id).tokens));
          n_back += kept > 0 && kept < n;
          break;
        }
        case 4:
          cache.confirm(id, size - (size > 0 ? random() % 2 : 0));
          cache.publish(id);
          cache.settle(id);
          break;
        case 5: {
          const auto other = static_cast<SequenceId>(random() % 3);
          if (!cache.is_open(other)) break;
          const std::vector<TokenId> mine = cache.sequence(id).tokens, theirs = cache.sequence(other).tokens;
          cache.swap(id, other);
          ASSERT_EQ(cache.sequence(id).tokens, theirs);
          ASSERT_EQ(cache.sequence(other).tokens, mine);
          break;
        }
        default:
          if (random() % 2 == 0) cache.close(id);
      }
      for (SequenceId other = 0; other < 3; ++other) {
        if (cache.is_open(other)) driven.expect_right(other, cache.sequence(other).confirmed);
      }
      ASSERT_LE(cache.in_use_bytes(), cache.pool().used_bytes());
      ASSERT_LE(cache.pool().used_bytes(), cache.pool().resident_bytes());
      ASSERT_LE(cache.pool().resident_bytes(), cache.pool().budget_bytes());
      if (HasFatalFailure()) FAIL() << "step " << step;
    }
    EXPECT_EQ(n_refused > 0, tight);
    EXPECT_GT(n_reused, 30);
    EXPECT_GT(n_forks, 30);
    if (!tight && GetParam().size() > 1) {
      EXPECT_GT(n_back, 5);
    }
    for (SequenceId id = 0; id < 3; ++id) {
      if (cache.is_open(id)) cache.close(id);
    }
    EXPECT_EQ(cache.in_use_bytes(), 0);
    // Nothing is lost: a sequence can have all of it.
    const SequenceId id = *cache.open();
    const std::vector<TokenId> whole(static_cast<std::size_t>(tight ? 6 * kPage : 8 * kPage), 5);
    EXPECT_TRUE(driven.compute(id, whole));
  }
}

INSTANTIATE_TEST_SUITE_P(Windows, KvWindowLife,
                         testing::Values(std::vector<std::int64_t>{0, 100}, std::vector<std::int64_t>{37},
                                         std::vector<std::int64_t>{130, 0, 0, 20, 64}, std::vector<std::int64_t>{0}));

class KvWindow100 : public testing::Test {
 protected:
  static KvCache::Shape shape(int sequences, std::int64_t pages_beside = 0) {
    KvCache::Shape shape{.layers = {{1, 1, 0}, {1, 1, 100}}, .type = KvType::kF32, .context = 16 * kPage};
    shape.max_sequences = sequences;
    shape.rows_at_once = kPage;
    if (pages_beside > 0) shape.kv_budget_bytes = 512 * (16 + pages_beside);
    return shape;
  }
  static std::vector<TokenId> ramp(std::int64_t n, TokenId start = 0) {
    std::vector<TokenId> tokens;
    for (std::int64_t i = 0; i < n; ++i) tokens.push_back(start + static_cast<TokenId>(i));
    return tokens;
  }
};

// A prompt of ten pages and 20 tokens, and 120 tokens of an answer: its end stays the place to go on from.
TEST_F(KvWindow100, APromptsEndCanBeTakenUpWhenItsSequenceWentOn) {
  Driven driven(shape(2));
  KvCache& cache = driven.cache;
  const SequenceId a = *cache.open(), b = *cache.open();
  const std::vector<TokenId> prompt = ramp(10 * kPage + 20);
  ASSERT_TRUE(driven.compute(a, prompt));
  for (TokenId token = 0; token < 120; ++token) ASSERT_TRUE(driven.compute(a, std::vector<TokenId>{token}));
  // Token 780 sees 100 keys: pages from (780 - 99) / 64 = 10 on.
  EXPECT_EQ(cache.sequence(a).tables[1].first, 10);
  EXPECT_EQ(cache.reuse(b, prompt), 10 * kPage + 19);
  EXPECT_EQ(cache.sequence(b).tables[1].first, 8);  // (659 - 99) / 64
  driven.expect_right(b, 10 * kPage + 19);
  // The same for the sequence itself. Token 700 would see from page 9 on, which is still there, as is page 8.
  EXPECT_EQ(cache.truncate(a, 700), 700);
  driven.expect_right(a, 700);
}

TEST_F(KvWindow100, WhereTheWindowIsGoneTruncateGoesFurtherBack) {
  KvCache::Shape alone = shape(1);
  alone.share = false;  // nothing is kept
  Driven driven(alone);
  KvCache& cache = driven.cache;
  const SequenceId a = *cache.open();
  ASSERT_TRUE(driven.compute(a, ramp(600)));
  // Token 600 sees from 501 on: page 7, which has positions 448 to 511, is the first that is held.
  EXPECT_EQ(cache.sequence(a).tables[1].first, 7);
  EXPECT_EQ(cache.truncate(a, 547), 547);  // sees from 448 on
  EXPECT_EQ(cache.truncate(a, 546), 0);
  EXPECT_EQ(cache.in_use_bytes(), 0);
  ASSERT_TRUE(driven.compute(a, ramp(90)));
  EXPECT_EQ(cache.truncate(a, 1), 1);
}

// What was slid over goes first, the last of it before the first; the window before the prompt's end stays longest.
TEST_F(KvWindow100, PagesOfThePromptsEndAreKeptLongest) {
  for (const bool enough : {false, true}) {
    Driven driven(shape(2, enough ? 12 : 4));
    KvCache& cache = driven.cache;
    const SequenceId a = *cache.open();
    const std::vector<TokenId> prompt = ramp(10 * kPage + 20);
    ASSERT_TRUE(driven.compute(a, prompt));
    for (TokenId token = 0; token < 250; ++token) ASSERT_TRUE(driven.compute(a, std::vector<TokenId>{token}));
    const SequenceId b = *cache.open();
    // 910 tokens: 15 pages and, from (910 - 99) / 64 = 12 on, 3. Of 20 or 28 pages 2 or 10 are left: 8 and 9, then the one
    // that the prompt began, and the first seven; two of these make room for a copy of the one that was begun.
    EXPECT_EQ(cache.in_use_bytes(), 18 * 512);
    EXPECT_EQ(cache.reuse(b, prompt), enough ? 10 * kPage + 19 : 10 * kPage);
    // The window before edge 5: pages (320 - 99) / 64 = 3 and 4. It was slid over long ago.
    cache.close(b);
    const SequenceId c = *cache.open();
    std::vector<TokenId> early(prompt.begin(), prompt.begin() + 5 * kPage);
    early.push_back(9999);
    EXPECT_EQ(cache.reuse(c, early), enough ? 5 * kPage : 0);
  }
}

// The window's pages were evicted, the block is still known: whoever computes them again gives them back to it.
TEST_F(KvWindow100, WhatWasEvictedComesBackToTheBlockThatIsKnown) {
  Driven driven(shape(3, 6));
  KvCache& cache = driven.cache;
  const std::vector<TokenId> prompt = ramp(5 * kPage + 1);
  const SequenceId a = *cache.open(), b = *cache.open();
  ASSERT_TRUE(driven.compute(a, prompt));
  for (TokenId token = 0; token < 200; ++token) ASSERT_TRUE(driven.compute(a, std::vector<TokenId>{token}));
  ASSERT_TRUE(driven.compute(b, ramp(330, 7000)));
  EXPECT_EQ(cache.reuse(b, prompt), 0);  // of 22 pages a had 9 and 3, b 6 and 3
  ASSERT_TRUE(driven.compute(b, prompt));
  EXPECT_EQ(cache.sequence(a).blocks[4], cache.sequence(b).blocks[4]);
  const SequenceId c = *cache.open();
  EXPECT_EQ(cache.reuse(c, prompt), 5 * kPage);
  driven.expect_right(c, 5 * kPage);
}

TEST_F(KvWindow100, WhatIsAppendedTogetherIsCountedTogether) {
  KvCache::Shape tight = shape(3);
  tight.kv_budget_bytes = 512 * 12;
  Driven driven(tight);
  KvCache& cache = driven.cache;
  const SequenceId a = *cache.open(), b = *cache.open(), c = *cache.open();
  // 250 tokens: 4 pages, and at most 4 of the window. 100 tokens: 2 and 2. 1 token: 1 and 1.
  cache.begin_batch();
  ASSERT_TRUE(cache.append(a, ramp(250)).ok());
  const Status refused = cache.append(b, ramp(200, 1000));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kLimit);
  for (const char* text : {"sequence 1 ", "4096 bytes", " 200 tokens", "2048 of", "6144"}) {
    EXPECT_NE(refused.error().message.find(text), std::string::npos) << text << ": " << refused.error().message;
  }
  EXPECT_TRUE(cache.sequence(b).tokens.empty());
  ASSERT_TRUE(cache.append(c, ramp(100, 2000)).ok());
  EXPECT_FALSE(cache.append(b, ramp(1, 3000)).ok());
  for (std::int64_t begin = 0; begin < 250; begin += kPage) {
    ASSERT_TRUE(cache.prepare(a, begin, std::min<std::int64_t>(begin + kPage, 250)).ok());
    if (begin < 100) {
      ASSERT_TRUE(cache.prepare(c, begin, std::min<std::int64_t>(begin + kPage, 100)).ok());
    }
  }
}

}  // namespace
}  // namespace rowmax::engine::kv_cache_window_test
