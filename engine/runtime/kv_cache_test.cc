#include "engine/runtime/kv_cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

namespace rowmax::engine::kv_cache_test {
namespace {

constexpr std::int64_t kPage = KvCache::kPageTokens;

KvCache make(std::int64_t context, int sequences, bool share = true) {
  auto cache = KvCache::create({.layers = {{1, 4}, {1, 4}},
                                .type = KvType::kF32,
                                .context = context,
                                .max_sequences = sequences,
                                .share = share});
  EXPECT_TRUE(cache.ok());
  return std::move(cache).value();
}
const std::vector<std::int32_t>& pages(const KvCache& cache, SequenceId id) {
  return cache.sequence(id).tables[0].pages;
}
std::vector<TokenId> ramp(std::int64_t n, TokenId start = 0) {
  std::vector<TokenId> tokens(static_cast<std::size_t>(n));
  std::iota(tokens.begin(), tokens.end(), start);
  return tokens;
}
bool append(KvCache& cache, SequenceId id, std::span<const TokenId> tokens, std::int64_t n_draft = 0) {
  cache.begin_batch();
  const auto start = std::ssize(cache.sequence(id).tokens);
  return cache.append(id, tokens, n_draft).ok() && cache.prepare(id, start, start + std::ssize(tokens)).ok();
}
// A number in the first value slot of a page stands for its contents.
float& mark(KvCache& cache, std::int64_t layer, std::int32_t page) {
  return static_cast<float*>(cache.layer_values(layer))[page * cache.view(layer).v.page_stride];
}

TEST(KvCache, APrefixComputedByOneSequenceServesAnother) {
  KvCache cache = make(4 * kPage, 2);
  const SequenceId a = *cache.open(), b = *cache.open();
  EXPECT_FALSE(cache.open().ok());
  const std::vector<TokenId> prompt = ramp(3 * kPage + 10);
  ASSERT_TRUE(append(cache, a, prompt));
  EXPECT_EQ(cache.reuse(b, prompt), 0);  // nothing is published before it is computed
  cache.publish(a);
  EXPECT_EQ(cache.reuse(b, prompt), 3 * kPage + 9);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(pages(cache, a)[i], pages(cache, b)[i]);
  std::vector<TokenId> other = prompt;
  other[static_cast<std::size_t>(kPage + 5)] = 9999;
  EXPECT_EQ(cache.reuse(b, other), kPage + 5);  // its own prefix goes further than the last whole page
  EXPECT_NE(pages(cache, b)[1], pages(cache, a)[1]);
  cache.close(a);
  const SequenceId c = *cache.open();
  EXPECT_EQ(cache.reuse(c, prompt), 3 * kPage + 9);  // still findable after the sequence ended
}

TEST(KvCache, ValuesThatLieInTheKeysTakeNoRoom) {
  const auto cache = KvCache::create(
      {.layers = {{1, 6, 0, 4}, {1, 4}}, .type = KvType::kF32, .context = 2 * kPage, .max_sequences = 1});
  ASSERT_TRUE(cache.ok());
  EXPECT_EQ(cache->bytes_per_token(), (6 + 2 * 4) * 4);
  const KvView view = cache->view(0);
  EXPECT_EQ(cache->layer_keys(0), cache->layer_values(0));
  EXPECT_EQ(view.k_dim, 6);
  EXPECT_EQ(view.v_dim, 4);
  // Rows of keys one behind the other; the pages of both layers lie together.
  for (const KvStrides& strides : {view.k, view.v}) {
    EXPECT_EQ(strides.dim_stride, 1);
    EXPECT_EQ(strides.key_stride, 6);
    EXPECT_EQ(strides.page_stride, (6 + 2 * 4) * kPage);
  }
  EXPECT_NE(cache->layer_keys(1), cache->layer_values(1));
  EXPECT_EQ(static_cast<const float*>(cache->layer_keys(1)) - static_cast<const float*>(cache->layer_keys(0)),
            6 * kPage);
}

TEST(KvCache, AlwaysLeavesTheLastTokenToCompute) {
  KvCache cache = make(4 * kPage, 2);
  const SequenceId a = *cache.open(), b = *cache.open();
  const std::vector<TokenId> prompt = ramp(2 * kPage);
  ASSERT_TRUE(append(cache, a, prompt));
  cache.publish(a);
  EXPECT_EQ(cache.reuse(b, prompt), 2 * kPage - 1);
  EXPECT_EQ(cache.reuse(a, prompt), 2 * kPage - 1);
}

TEST(KvCache, WritingIntoASharedPageCopiesItFirst) {
  KvCache cache = make(3 * kPage, 2);
  const SequenceId a = *cache.open(), b = *cache.open();
  const std::vector<TokenId> prompt = ramp(kPage + 1);
  ASSERT_TRUE(append(cache, a, prompt));
  const std::int32_t page = pages(cache, a)[0];
  mark(cache, 0, page) = 1.5f;
  mark(cache, 1, page) = 2.5f;
  cache.publish(a);
  ASSERT_EQ(cache.reuse(b, prompt), kPage);
  cache.truncate(b, 10);  // b will write positions 10.. of a page that a reads
  const std::int32_t copy = pages(cache, b)[0];
  ASSERT_NE(copy, page);
  EXPECT_EQ(mark(cache, 0, copy), 1.5f);
  EXPECT_EQ(mark(cache, 1, copy), 2.5f);
  mark(cache, 1, copy) = -1;
  EXPECT_EQ(mark(cache, 1, page), 2.5f);
}

TEST(KvCache, APublishedPageThatIsWrittenAgainIsNotFoundAnyMore) {
  KvCache cache = make(3 * kPage, 2);
  const SequenceId a = *cache.open(), b = *cache.open();
  const std::vector<TokenId> prompt = ramp(kPage + 1);
  ASSERT_TRUE(append(cache, a, std::span(prompt).first(static_cast<std::size_t>(kPage))));
  cache.publish(a);
  cache.truncate(a, 5);
  EXPECT_EQ(cache.reuse(b, prompt), 0);
  cache.publish(a);
  EXPECT_EQ(cache.reuse(b, prompt), 5);
}

TEST(KvCache, OldCachedPagesMakeRoomAndNothingLeaks) {
  KvCache cache = make(3 * kPage, 2);  // six pages
  const SequenceId a = *cache.open(), b = *cache.open();
  for (int round = 0; round < 50; ++round) {
    for (SequenceId id : {a, b}) {
      cache.truncate(id, 0);
      const std::vector<TokenId> prompt = ramp(3 * kPage, static_cast<TokenId>((round % 7) * 1000 + id));
      const std::int64_t had = cache.reuse(id, prompt);
      ASSERT_TRUE(append(cache, id, std::span(prompt).subspan(static_cast<std::size_t>(had)))) << round;
      cache.publish(id);
    }
  }
  EXPECT_FALSE(append(cache, a, ramp(1)));  // both sequences are full: there is no seventh page
  EXPECT_EQ(cache.sequence(a).tokens.size(), static_cast<std::size_t>(3 * kPage));
}

TEST(KvCache, OnlyConfirmedPagesArePublished) {
  KvCache cache = make(4 * kPage, 2);
  const SequenceId a = *cache.open(), b = *cache.open();
  const std::vector<TokenId> prompt = ramp(3 * kPage);
  ASSERT_TRUE(append(cache, a, std::span(prompt).first(static_cast<std::size_t>(2 * kPage + 9)), kPage + 9));
  cache.publish(a);
  EXPECT_EQ(cache.reuse(b, prompt), kPage);
  cache.confirm(a, 2 * kPage - 1);
  cache.publish(a);
  EXPECT_EQ(cache.reuse(b, prompt), 2 * kPage - 1);
  cache.confirm(a, 2 * kPage);
  cache.publish(a);
  EXPECT_EQ(cache.reuse(b, prompt), 2 * kPage);
  // What was taken back and comes again as drafts is not confirmed any more.
  cache.truncate(b, 0);
  cache.truncate(a, 10);
  cache.close(b);
  const std::vector<TokenId> other = ramp(2 * kPage, 5000);
  cache.truncate(a, 0);
  ASSERT_TRUE(append(cache, a, other));
  cache.truncate(a, 10);
  ASSERT_TRUE(append(cache, a, std::span(other).subspan(10), 2 * kPage - 10));
  cache.publish(a);
  const SequenceId c = *cache.open();
  EXPECT_EQ(cache.reuse(c, other), 10);
}

TEST(KvCache, WithoutSharingNothingIsShared) {
  KvCache cache = make(3 * kPage, 2, false);
  const SequenceId a = *cache.open(), b = *cache.open();
  const std::vector<TokenId> prompt = ramp(2 * kPage + 3);
  ASSERT_TRUE(append(cache, a, prompt));
  cache.publish(a);
  EXPECT_EQ(cache.reuse(b, prompt), 0);
}

}  // namespace
}  // namespace rowmax::engine::kv_cache_test
