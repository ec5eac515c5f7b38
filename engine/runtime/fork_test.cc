// A fork remembers what its sequence does: both go on with the bits of sequences that computed everything themselves,
// whatever becomes of the other, and it takes what a count by hand says.

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "engine/runtime/test_models.h"

namespace rowmax::engine::fork_test {
namespace {

constexpr std::int64_t kPage = 64, kContext = 512;

Session session_of(const std::string& arch, int max_sequences = 4, std::int64_t budget = 0) {
  return test_session(arch, kContext, max_sequences, budget);
}

std::vector<TokenId> tokens_of(std::int64_t n, int seed = 0) {
  std::vector<TokenId> tokens;
  for (std::int64_t i = 0; i < n; ++i) tokens.push_back(static_cast<TokenId>((i * 7919 + seed * 101 + i / 7) % 431));
  return tokens;
}
std::vector<TokenId> joined(std::vector<TokenId> head, const std::vector<TokenId>& tail) {
  head.insert(head.end(), tail.begin(), tail.end());
  return head;
}

std::vector<float> rows_of(const Session& session, std::int64_t first, std::int64_t n) {
  std::vector<float> all;
  for (std::int64_t row = first; row < first + n; ++row) {
    all.insert(all.end(), session.logits(row).begin(), session.logits(row).end());
  }
  return all;
}
std::vector<float> compute(Session& session, SequenceId id, std::span<const TokenId> tokens,
                           LogitsFor logits = LogitsFor::kAll, std::int64_t n_draft = 0) {
  const BatchItem item{id, tokens, logits, n_draft};
  const Status status = session.forward({&item, 1});
  EXPECT_TRUE(status.ok()) << status.error().message;
  return rows_of(session, 0, session.n_logit_rows());
}
// The logits of the tokens behind the first n, from a session that has seen nothing else.
std::vector<float> from_scratch(const std::string& arch, const std::vector<TokenId>& tokens, std::int64_t n) {
  Session session = session_of(arch, 1);
  const SequenceId id = *session.open();
  if (n > 0) compute(session, id, std::span(tokens).first(static_cast<std::size_t>(n)), LogitsFor::kNone);
  return compute(session, id, std::span(tokens).subspan(static_cast<std::size_t>(n)));
}
bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && !a.empty() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class Fork : public testing::TestWithParam<const char*> {
 protected:
  const std::string arch_ = GetParam();
};
INSTANTIATE_TEST_SUITE_P(Models, Fork, testing::Values("llama", "gemma3", "qwen35", "lfm2"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(Fork, BothGoOnAsIfEachHadComputedItAll) {
  for (const std::int64_t n : {1, 36, 37, 63, 64, 65, 127, 128, 129, 165, 200, 256}) {
    const std::vector<TokenId> head = tokens_of(n);
    const std::vector<TokenId> tails[] = {tokens_of(70, 1), tokens_of(70, 2)};
    const std::vector<float> want[] = {from_scratch(arch_, joined(head, tails[0]), n),
                                       from_scratch(arch_, joined(head, tails[1]), n)};
    for (const bool together : {false, true}) {
      const std::string what = std::to_string(n) + (together ? " tokens, together" : " tokens, apart");
      Session session = session_of(arch_);
      const SequenceId a = *session.open();
      compute(session, a, head, LogitsFor::kNone);
      const SequenceId b = *session.fork(a);
      ASSERT_NE(a, b);
      EXPECT_EQ(std::vector<TokenId>(session.tokens(b).begin(), session.tokens(b).end()), head);
      if (together) {
        const BatchItem items[] = {{b, tails[1], LogitsFor::kAll}, {a, tails[0], LogitsFor::kAll}};
        ASSERT_TRUE(session.forward(items).ok());
        EXPECT_TRUE(same(rows_of(session, 0, 70), want[1])) << what;
        EXPECT_TRUE(same(rows_of(session, 70, 70), want[0])) << what;
      } else {
        // Token by token, in turns: each writes its pages between the other's.
        std::vector<float> got[2];
        for (std::size_t i = 0; i < 70; ++i) {
          for (const int k : {0, 1}) {
            const auto row = compute(session, k == 0 ? a : b, std::span(tails[k]).subspan(i, 1));
            got[k].insert(got[k].end(), row.begin(), row.end());
          }
        }
        EXPECT_TRUE(same(got[0], want[0])) << what;
        EXPECT_TRUE(same(got[1], want[1])) << what;
      }
    }
  }
}

TEST_P(Fork, ClosingEitherLeavesTheOther) {
  for (const std::int64_t n : {64, 100, 200}) {
    const std::vector<TokenId> head = tokens_of(n), tail = tokens_of(40, 1);
    const std::vector<float> want = from_scratch(arch_, joined(head, tail), n);
    for (const bool first : {false, true}) {
      Session session = session_of(arch_, 2);
      const SequenceId a = *session.open();
      compute(session, a, head, LogitsFor::kNone);
      const SequenceId b = *session.fork(a);
      session.close(first ? a : b);
      const SequenceId c = *session.open();  // takes what was given back, and writes it
      compute(session, c, tokens_of(n, 3), LogitsFor::kNone);
      EXPECT_TRUE(same(compute(session, first ? b : a, tail), want)) << n;
      session.close(a);
      session.close(b);
      EXPECT_EQ(session.memory().kv_held_bytes, 0);
    }
  }
}

// The drafts' pages are full and offered to nobody; the sequences take back and confirm different numbers of them.
TEST_P(Fork, DraftsArePendingInBoth) {
  for (const std::int64_t n : {60, 100, 150}) {
    const std::vector<TokenId> head = tokens_of(n), drafts = tokens_of(80, 5), tail = tokens_of(10, 1);
    for (const std::int64_t kept : {0, 1, 30, 68, 80}) {
      Session session = session_of(arch_);
      const SequenceId a = *session.open();
      compute(session, a, std::span(head).first(head.size() - 1), LogitsFor::kNone);
      compute(session, a, joined({head.back()}, drafts), LogitsFor::kLast, 80);
      const SequenceId b = *session.fork(a);
      const auto go_on = [&](SequenceId id, std::int64_t n_kept) {
        ASSERT_TRUE(session.confirm(id, n + n_kept).ok());
        std::vector<TokenId> all = head;
        all.insert(all.end(), drafts.begin(), drafts.begin() + n_kept);
        const std::int64_t left = *session.truncate(id, n + n_kept);
        // A recurrent state goes back to the mark, which the fork has, too; where the other has computed the same page
        // meanwhile, to that one's end.
        if ((arch_ != "qwen35" && arch_ != "lfm2") || n_kept == 80) {
          ASSERT_EQ(left, n + n_kept);
        } else {
          ASSERT_TRUE(left == n - 1 || (id == b && left > n - 1 && left % kPage == 0)) << left;
        }
        all = joined(all, tail);
        EXPECT_TRUE(same(compute(session, id, std::span(all).subspan(static_cast<std::size_t>(left))),
                         from_scratch(arch_, all, left)))
            << n << ", " << n_kept << " of the drafts, sequence " << id;
      };
      go_on(a, kept);
      go_on(b, 80 - kept);
      // What both were is found by others, as far as it was confirmed.
      const SequenceId c = *session.open();
      const std::vector<TokenId> all = joined(joined(head, drafts), tail);
      const std::int64_t found = *session.reuse(c, all);
      const std::int64_t confirmed = n + std::max(kept, 80 - kept);
      if (arch_ == "llama") {
        EXPECT_EQ(found, confirmed == n + 80 ? std::ssize(all) - 1 : confirmed);
      }
      EXPECT_LE(found, confirmed == n + 80 ? std::ssize(all) - 1 : confirmed);
      EXPECT_TRUE(same(compute(session, c, std::span(all).subspan(static_cast<std::size_t>(found))),
                       from_scratch(arch_, all, found)));
    }
  }
}

TEST_P(Fork, PagesThatEitherPublishesAreFoundAndTheSameTokensAreHeldOnce) {
  Session session = session_of(arch_);
  const SequenceId a = *session.open();
  const std::vector<TokenId> head = tokens_of(100), tails[] = {tokens_of(100, 1), tokens_of(100, 2)};
  compute(session, a, head, LogitsFor::kNone);
  const SequenceId b = *session.fork(a);
  compute(session, a, tails[0], LogitsFor::kNone);
  compute(session, b, tails[1], LogitsFor::kNone);
  for (const auto& tail : tails) {
    const SequenceId c = *session.open();
    std::vector<TokenId> all = joined(joined(head, tail), tokens_of(9, 4));
    const std::int64_t found = *session.reuse(c, all);
    EXPECT_EQ(found, arch_ == "qwen35" || arch_ == "lfm2" ? 192 : 200);
    EXPECT_TRUE(same(compute(session, c, std::span(all).subspan(static_cast<std::size_t>(found))),
                     from_scratch(arch_, all, found)));
    session.close(c);
  }
  // A fork that goes on with the same tokens shares all full pages again.
  const SequenceId d = *session.fork(a);
  compute(session, a, tails[1], LogitsFor::kNone);
  const std::int64_t held = session.memory().kv_held_bytes;
  compute(session, d, tails[1], LogitsFor::kNone);
  EXPECT_LE(session.memory().kv_held_bytes, held);
}

// Drafts lie in a full page that both share; a third sequence computed the same and published it first.
TEST_P(Fork, ASharedPageGivesWayToOneThatIsKnown) {
  const std::vector<TokenId> head = tokens_of(60), drafts = tokens_of(80, 5), tail = tokens_of(30, 1);
  Session session = session_of(arch_);
  const SequenceId a = *session.open(), c = *session.open();
  compute(session, a, joined(head, drafts), LogitsFor::kLast, 80);
  const SequenceId b = *session.fork(a);
  compute(session, c, joined(head, drafts), LogitsFor::kNone);
  ASSERT_TRUE(session.confirm(a, 130).ok());
  // Two full pages, of which a and c no longer hold those that slid out of a window, and the last one three times.
  EXPECT_EQ(session.memory().kv_held_bytes, 5 * sequence_cost(test_model(arch_).description(), kPage)->kv_bytes);
  const std::vector<TokenId> all = joined(joined(head, drafts), tail);
  const std::vector<float> want = from_scratch(arch_, all, 140);
  EXPECT_TRUE(same(compute(session, b, tail), want));
  EXPECT_TRUE(same(compute(session, a, tail), want));
  EXPECT_TRUE(same(compute(session, c, tail), want));
  for (const SequenceId id : {a, b, c}) session.close(id);
  EXPECT_EQ(session.memory().kv_held_bytes, 0);
}

TEST_P(Fork, TakesTheLastPagesAndNothingElse) {
  const auto full = sequence_cost(test_model(arch_).description(), kPage);
  ASSERT_TRUE(full.ok());
  const std::int64_t one_each = full->kv_bytes;  // one page of each group
  for (const std::int64_t n : {0, 1, 63, 64, 100, 128, 129, 300, 320}) {
    Session session = session_of(arch_);
    const SequenceId a = *session.open();
    if (n > 0) compute(session, a, tokens_of(n), LogitsFor::kNone);
    const std::int64_t before = session.memory().kv_held_bytes;
    const SequenceId b = *session.fork(a);
    EXPECT_EQ(session.memory().kv_held_bytes - before, n % kPage == 0 ? 0 : one_each) << n;
    session.close(b);
    EXPECT_EQ(session.memory().kv_held_bytes, before) << n;
  }
}

TEST_P(Fork, IsRefusedWithoutRoomAndChangesNothing) {
  const std::int64_t page = sequence_cost(test_model(arch_).description(), kPage)->kv_bytes;
  Session session = session_of(arch_, 3, 3 * page);
  const auto unopened = session.fork(0);
  ASSERT_FALSE(unopened.ok());
  EXPECT_EQ(unopened.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(session.fork(-1).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(session.fork(3).error().code, ErrorCode::kInvalidArgument);
  const SequenceId a = *session.open();
  EXPECT_EQ(session.swap(a, 1).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(session.swap(1, a).error().code, ErrorCode::kInvalidArgument);
  const std::vector<TokenId> head = tokens_of(100), tail = tokens_of(20, 1);
  compute(session, a, head, LogitsFor::kNone);
  const std::int64_t before = session.memory().kv_held_bytes;
  const SequenceId b = *session.fork(a);  // two pages and one
  const auto short_of = session.fork(a);
  ASSERT_FALSE(short_of.ok());
  EXPECT_EQ(short_of.error().code, ErrorCode::kLimit);
  for (const std::string& text : {std::string("sequence 0"), std::to_string(page), std::to_string(3 * page)}) {
    EXPECT_NE(short_of.error().message.find(text), std::string::npos) << text << ": " << short_of.error().message;
  }
  EXPECT_EQ(session.memory().kv_held_bytes, before + page);
  const SequenceId c = *session.open();  // the place is free
  const auto no_sequence = session.fork(a);
  ASSERT_FALSE(no_sequence.ok());
  EXPECT_EQ(no_sequence.error().code, ErrorCode::kLimit);
  EXPECT_NE(no_sequence.error().message.find("all 3 sequences"), std::string::npos);
  session.close(c);
  const std::vector<float> want = from_scratch(arch_, joined(head, tail), 100);
  EXPECT_TRUE(same(compute(session, a, tail), want));
  EXPECT_TRUE(same(compute(session, b, tail), want));
}

TEST_P(Fork, SwapExchangesWhatIsRemembered) {
  Session session = session_of(arch_);
  const SequenceId a = *session.open(), b = *session.open();
  const std::vector<TokenId> heads[] = {tokens_of(70, 1), tokens_of(150, 2)}, tail = tokens_of(12, 3);
  compute(session, a, heads[0], LogitsFor::kNone);
  compute(session, b, heads[1], LogitsFor::kNone);
  ASSERT_TRUE(session.swap(a, b).ok());
  ASSERT_TRUE(session.swap(a, a).ok());
  EXPECT_EQ(session.tokens(a).size(), 150u);
  EXPECT_TRUE(same(compute(session, a, tail), from_scratch(arch_, joined(heads[1], tail), 150)));
  EXPECT_TRUE(same(compute(session, b, tail), from_scratch(arch_, joined(heads[0], tail), 70)));
  session.close(a);
  const SequenceId c = *session.open();  // begins from nothing, with the memory that was the other's
  EXPECT_TRUE(same(compute(session, c, heads[0]), from_scratch(arch_, joined({}, heads[0]), 0)));
  EXPECT_TRUE(same(compute(session, b, heads[0]), from_scratch(arch_, joined(joined(heads[0], tail), heads[0]), 82)));
}

}  // namespace
}  // namespace rowmax::engine::fork_test
