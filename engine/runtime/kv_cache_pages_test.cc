#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "engine/runtime/kv_cache.h"
#include "engine/runtime/test_models.h"

namespace rowmax::engine::kv_cache_pages_test {
namespace {

constexpr std::int64_t kPage = kPrefixPageTokens;

std::vector<TokenId> some_tokens(std::int64_t n) {
  std::vector<TokenId> tokens;
  for (TokenId i = 0; i < n; ++i) tokens.push_back((i * 7919 + i / 7) % 200 + 10);
  return tokens;
}

struct Page {
  PageParts parts = 0;
  std::vector<std::byte> bytes;
};

std::vector<float> logits_of(Session& session, SequenceId sequence, std::span<const TokenId> tokens) {
  const BatchItem item{.sequence = sequence, .tokens = tokens};
  EXPECT_TRUE(session.forward({&item, 1}).ok());
  const auto row = session.logits(0);
  return {row.begin(), row.end()};
}

class Pages : public testing::TestWithParam<const char*> {
 protected:
  static constexpr std::int64_t kWhole = 5, kTokens = 5 * kPage + 9;
  const std::vector<TokenId> tokens_ = some_tokens(kTokens);
  Session from_ = test_session(GetParam(), 512, 2);
  std::vector<float> want_;
  std::vector<Page> pages_;

  void SetUp() override {
    const SequenceId sequence = *from_.open();
    want_ = logits_of(from_, sequence, tokens_);
    const PageLayout layout = from_.page_layout();
    for (std::int64_t i = 0; i < kWhole; ++i) {
      Page page;
      page.parts = from_.page_parts(sequence, i);
      page.bytes.resize(static_cast<std::size_t>(page_bytes(layout, page.parts)));
      from_.copy_page(sequence, i, page.parts, page.bytes);
      pages_.push_back(std::move(page));
    }
    EXPECT_EQ(from_.page_parts(sequence, kWhole), 0u);
    EXPECT_EQ(from_.page_parts(sequence, -1), 0u);
    EXPECT_EQ(from_.page_parts(99, 0), 0u);
  }
  Result<std::int64_t> append(Session& to, SequenceId sequence, std::int64_t n, std::int64_t fails_at = 1000) {
    std::vector<PageParts> parts;
    for (std::int64_t i = 0; i < n; ++i) parts.push_back(pages_[static_cast<std::size_t>(i)].parts);
    return to.append_pages(sequence, std::span(tokens_).first(static_cast<std::size_t>(n * kPage)), parts,
                           [&](std::size_t page, std::span<std::byte> bytes) {
                             if (static_cast<std::int64_t>(page) == fails_at) return false;
                             EXPECT_EQ(bytes.size(), pages_[page].bytes.size());
                             std::memcpy(bytes.data(), pages_[page].bytes.data(), bytes.size());
                             return true;
                           });
  }
  // What follows has the bits of a computation from nothing.
  void expect_rest(Session& to, SequenceId sequence) {
    const auto held = to.tokens(sequence).size();
    EXPECT_TRUE(
        std::equal(tokens_.begin(), tokens_.begin() + static_cast<std::ptrdiff_t>(held), to.tokens(sequence).begin()));
    EXPECT_EQ(logits_of(to, sequence, std::span(tokens_).subspan(held)), want_);
  }
};
INSTANTIATE_TEST_SUITE_P(Models, Pages, testing::Values("llama", "gemma2", "gemma3", "qwen35", "lfm2", "deepseek2"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(Pages, AreGoneOnFrom) {
  Session to = test_session(GetParam(), 512, 2);
  const SequenceId sequence = *to.open();
  const auto held = append(to, sequence, kWhole);
  ASSERT_TRUE(held.ok()) << held.error().message;
  EXPECT_EQ(*held, kWhole * kPage);
  expect_rest(to, sequence);
  // Others find them in memory.
  const SequenceId other = *to.open();
  const auto reused = to.reuse(other, tokens_);
  const bool has_state = to.page_layout().state_bytes > 0;  // whose state is kept at the edge of the page
  EXPECT_EQ(*reused, has_state ? kWhole * kPage : kTokens - 1);
  expect_rest(to, other);
  // And their bytes are the same again.
  const PageParts parts = to.page_parts(sequence, kWhole - 1);
  ASSERT_EQ(parts, pages_.back().parts);
  std::vector<std::byte> bytes(pages_.back().bytes.size());
  to.copy_page(sequence, kWhole - 1, parts, bytes);
  EXPECT_EQ(bytes, pages_.back().bytes);
}

TEST_P(Pages, AReaderThatFailsLeavesWhatWasRead) {
  for (std::int64_t fails_at = 0; fails_at < kWhole; ++fails_at) {
    Session to = test_session(GetParam(), 512, 2);
    const SequenceId sequence = *to.open();
    const auto held = append(to, sequence, kWhole, fails_at);
    ASSERT_TRUE(held.ok()) << held.error().message;
    EXPECT_LE(*held, fails_at * kPage);
    EXPECT_EQ(*held, std::ssize(to.tokens(sequence)));
    expect_rest(to, sequence);
    const SequenceId other = *to.open();
    EXPECT_TRUE(to.reuse(other, tokens_).ok());
    expect_rest(to, other);
  }
}

TEST_P(Pages, WithoutTheLastStateOrKeysTheyAreRefused) {
  Session to = test_session(GetParam(), 512, 2);
  const SequenceId sequence = *to.open();
  const PageParts all = pages_.back().parts;
  for (int bit = 0; bit < 32; ++bit) {
    if ((all >> bit & 1) == 0) continue;
    pages_.back().parts = all & ~(PageParts{1} << bit);
    const auto held = append(to, sequence, kWhole);
    ASSERT_FALSE(held.ok()) << bit;
    EXPECT_EQ(held.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(to.tokens(sequence).size(), 0u);
  }
  pages_.back().parts = all;
  expect_rest(to, sequence);
}

TEST_P(Pages, RoomIsCounted) {
  const std::int64_t budget = from_.cost(3 * kPage)->kv_peak_bytes;
  Session to = test_session(GetParam(), 512, 2, budget);
  if (from_.cost(kWhole * kPage)->kv_peak_bytes == budget) return;  // windows alone
  const SequenceId sequence = *to.open();
  const auto held = append(to, sequence, kWhole);
  ASSERT_FALSE(held.ok());
  EXPECT_EQ(held.error().code, ErrorCode::kLimit);
  EXPECT_EQ(to.tokens(sequence).size(), 0u);
  EXPECT_EQ(to.memory().kv_held_bytes, 0);
}

TEST_P(Pages, OnlyToWholePages) {
  Session to = test_session(GetParam(), 512, 2);
  const SequenceId sequence = *to.open();
  (void)logits_of(to, sequence, std::span(tokens_).first(10));
  EXPECT_FALSE(append(to, sequence, kWhole).ok());
  EXPECT_FALSE(append(to, 99, kWhole).ok());
  EXPECT_EQ(to.tokens(sequence).size(), 10u);
}

}  // namespace
}  // namespace rowmax::engine::kv_cache_pages_test
