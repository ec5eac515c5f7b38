// Trees of drafts: whatever is guessed, tokens, text and log-probabilities are those of plain generation, to the bit.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "engine/runtime/test_models.h"
#include "rowmax/engine/generate.h"

namespace rowmax::engine::draft_tree_test {
namespace {

Session session_of(const std::string& arch, int max_sequences, std::int64_t budget = 0) {
  return test_session(arch, 256, max_sequences, budget);
}

std::vector<TokenId> prompt_of(int n) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < n; ++i) tokens.push_back(10 + (i * 37 + i / 5) % 240);
  return tokens;
}

GenerateOptions sampled(float temperature, std::int64_t max_tokens) {
  GenerateOptions options;
  options.max_tokens = max_tokens;
  options.sampling.temperature = temperature;
  options.sampling.seed = 5;
  options.sampling.repetition_penalty = 1.3f;
  options.ignore_eos = true;
  options.log_probability = true;
  return options;
}

struct Tree {
  std::vector<TokenId> draft;
  std::vector<std::int32_t> parents;

  std::int32_t add(TokenId token, std::int32_t parent) {
    draft.push_back(token);
    parents.push_back(parent);
    return static_cast<std::int32_t>(draft.size()) - 1;
  }
};

GenerateResult plain(const std::string& arch, const std::vector<TokenId>& prompt, const GenerateOptions& options) {
  Session session = session_of(arch, 1);
  auto made = generate(session, *session.open(), prompt, options);
  EXPECT_TRUE(made.ok()) << made.error().message;
  return std::move(made).value();
}

struct Answer {
  std::vector<TokenId> tokens;
  std::string text;
  std::vector<double> log_probabilities;
  StopReason reason = StopReason::kCancelled;
  int n_forward = 0;  // with logits
  std::int64_t n_rows = 0;
};

// One generation to its end, as the header shows it. trees: what to propose when so many tokens were accepted.
template <class Trees>
Answer run(Session& session, SequenceId sequence, const std::vector<TokenId>& prompt, const GenerationOptions& options,
           const Trees& trees, std::int64_t at_most = 480) {
  Answer answer;
  auto generation = Generation::start(session, sequence, prompt, options);
  EXPECT_TRUE(generation.ok()) << generation.error().message;
  while (!generation->done()) {
    const Tree tree = trees(generation->tokens().size());
    const auto taken = generation->propose(tree.draft, tree.parents);
    EXPECT_TRUE(taken.ok()) << taken.error().message;
    const auto items = generation->pending_items(at_most);
    EXPECT_TRUE(items.ok()) << items.error().message;
    std::int64_t n_tokens = 0;
    for (const BatchItem& item : *items) n_tokens += std::ssize(item.tokens);
    EXPECT_LE(n_tokens, at_most);
    EXPECT_TRUE(session.forward(*items).ok() || session.item_status()[0].ok());
    if (items->front().logits == LogitsFor::kNone) continue;
    ++answer.n_forward;
    answer.n_rows += n_tokens;
    bool mine = true;
    for (std::int64_t k = 0; mine;) {
      auto step = generation->accept(session.logits(k));
      EXPECT_TRUE(step.ok()) << step.error().message;
      if (!step.ok()) return answer;
      answer.tokens.push_back(step->token);
      answer.text += step->text;
      answer.log_probabilities.push_back(step->log_probability);
      if (step->done) answer.reason = step->reason;
      k = step->row;
      mine = step->next_row;
    }
  }
  return answer;
}

void expect_same(const Answer& got, const GenerateResult& want, const std::string& what) {
  EXPECT_EQ(got.tokens, want.tokens) << what;
  EXPECT_EQ(got.text, want.text) << what;
  EXPECT_EQ(got.log_probabilities, want.log_probabilities) << what;
  EXPECT_EQ(got.reason, want.reason) << what;
}

// The id that the caller holds has the accepted tokens, and goes on with the bits of a sequence of its own; no other
// sequence is left in use.
void expect_one_sequence(Session& session, int max_sequences, SequenceId sequence, const std::string& arch,
                         const std::vector<TokenId>& prompt, const std::vector<TokenId>& tokens) {
  std::vector<TokenId> all = prompt;
  all.insert(all.end(), tokens.begin(), tokens.end());
  const std::span<const TokenId> held = session.tokens(sequence);
  ASSERT_LE(held.size(), all.size());
  ASSERT_TRUE(std::equal(held.begin(), held.end(), all.begin()));
  all.push_back(42);
  std::vector<SequenceId> others;
  for (int i = 1; i < max_sequences; ++i) {
    const auto other = session.open();
    ASSERT_TRUE(other.ok()) << "a fork was left open";
    others.push_back(*other);
  }
  Session fresh = session_of(arch, 1);
  const BatchItem mine{sequence, std::span(all).subspan(held.size()), LogitsFor::kLast};
  const BatchItem theirs{*fresh.open(), all, LogitsFor::kLast};
  ASSERT_TRUE(session.forward({&mine, 1}).ok());
  ASSERT_TRUE(fresh.forward({&theirs, 1}).ok());
  EXPECT_EQ(std::memcmp(session.logits(0).data(), fresh.logits(0).data(), session.logits(0).size_bytes()), 0);
  for (const SequenceId other : others) session.close(other);
}

class DraftTree : public testing::TestWithParam<const char*> {
 protected:
  const std::string arch_ = GetParam();
};
INSTANTIATE_TEST_SUITE_P(Models, DraftTree, testing::Values("llama", "gemma3", "qwen35", "lfm2moe"),
                         [](const auto& info) { return std::string(info.param); });

// Random shapes; tokens that are right, wrong, and siblings that are the same.
TEST_P(DraftTree, RandomTreesChangeNothing) {
  std::mt19937 random(7);
  for (const int n_prompt : {5, 58, 130}) {
    for (const float temperature : {0.0f, 1.0f}) {
      const std::vector<TokenId> prompt = prompt_of(n_prompt);
      const GenerateOptions options = sampled(temperature, 30);
      const GenerateResult want = plain(arch_, prompt, options);
      for (const int max_sequences : {1, 2, 4, 9}) {
        for (const std::int64_t at_most : {1, 7, 20, 480}) {
          const auto trees = [&](std::size_t n) {
            Tree tree;
            std::vector<std::size_t> depths;
            const std::size_t size = random() % 14;
            for (std::size_t i = 0; i < size; ++i) {
              const std::int32_t parent = static_cast<std::int32_t>(random() % (i + 1)) - 1;
              const std::size_t depth = parent < 0 ? 0 : depths[static_cast<std::size_t>(parent)] + 1;
              const TokenId truth = n + depth < want.tokens.size() ? want.tokens[n + depth] : 3;
              tree.add(random() % 2 == 0 ? truth : static_cast<TokenId>((truth + random() % 3) % 200), parent);
              depths.push_back(depth);
            }
            return tree;
          };
          Session session = session_of(arch_, max_sequences);
          const SequenceId sequence = *session.open();
          const std::string what = arch_ + ", prompt " + std::to_string(n_prompt) + ", sequences " +
                                   std::to_string(max_sequences) + ", room " + std::to_string(at_most);
          expect_same(run(session, sequence, prompt, options, trees, at_most), want, what);
          expect_one_sequence(session, max_sequences, sequence, arch_, prompt, want.tokens);
          if (HasFailure()) return;
        }
      }
    }
  }
}

// Three chains of four, of which `right` has so many right tokens: so many forwards fewer, whichever it is.
TEST_P(DraftTree, RightGuessesSaveForwards) {
  const std::vector<TokenId> prompt = prompt_of(60);
  const GenerateOptions options = sampled(1, 25);
  const GenerateResult want = plain(arch_, prompt, options);
  for (int chain = 0; chain < 3; ++chain) {
    for (std::size_t right = 0; right <= 4; ++right) {
      const auto trees = [&](std::size_t n) {
        Tree tree;
        for (int c = 0; c < 3; ++c) {
          std::int32_t at = -1;
          for (std::size_t i = 0; i < 4; ++i) {
            const TokenId truth = n + i < want.tokens.size() ? want.tokens[n + i] : 3;
            at = tree.add(c == chain && i < right ? truth : (truth + 1 + c) % 200, at);
          }
        }
        return tree;
      };
      Session session = session_of(arch_, 3);
      const SequenceId sequence = *session.open();
      const Answer got = run(session, sequence, prompt, options, trees);
      const std::string what = arch_ + ", chain " + std::to_string(chain) + ", right " + std::to_string(right);
      expect_same(got, want, what);
      EXPECT_EQ(got.n_forward, (25 + static_cast<int>(right)) / (static_cast<int>(right) + 1)) << what;
      EXPECT_LE(got.n_rows, got.n_forward * 3 * 5) << what;
      expect_one_sequence(session, 3, sequence, arch_, prompt, want.tokens);
    }
  }
}

// a - b - c        What the caller must compute, by hand: the ways a b c, a b d e, f, of which the second is longest.
//      \ d - e     A second a with a b below it is the first one, and an a alone begins it.
//  f   a - b
TEST_P(DraftTree, ItemsAreTheWaysToTheLeaves) {
  Session session = session_of(arch_, 3);
  const SequenceId sequence = *session.open();
  const std::vector<TokenId> prompt = prompt_of(20);
  auto generation = Generation::start(session, sequence, prompt, sampled(0, 20));
  Tree tree;
  const TokenId a = 1, b = 2, c = 3, d = 4, e = 5, f = 6;
  const std::int32_t at_a = tree.add(a, -1), at_b = tree.add(b, at_a);
  tree.add(c, at_b);
  tree.add(f, -1);
  tree.add(e, tree.add(d, at_b));
  tree.add(b, tree.add(a, -1));
  EXPECT_EQ(*generation->propose(tree.draft, tree.parents), 8);
  const auto before = *generation->pending_items();
  ASSERT_EQ(before.size(), 1u);
  EXPECT_EQ(before[0].logits, LogitsFor::kNone);
  EXPECT_EQ(before[0].tokens.size(), 19u);
  ASSERT_TRUE(session.forward(before).ok());
  const auto expect_items = [&](std::span<const BatchItem> items, std::vector<std::vector<TokenId>> want) {
    ASSERT_EQ(items.size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i) {
      want[i].insert(want[i].begin(), prompt.back());
      EXPECT_TRUE(std::ranges::equal(items[i].tokens, want[i])) << i;
      EXPECT_EQ(items[i].n_draft, std::ssize(want[i]) - 1);
      EXPECT_EQ(items[i].sequence == sequence, i == 0);
      EXPECT_EQ(session.tokens(items[i].sequence).size(), 19u);
    }
  };
  expect_items(*generation->pending_items(), {{a, b, d, e}, {a, b, c}, {f}});
  EXPECT_FALSE(session.open().ok());  // all are in use
  expect_items(*generation->pending_items(9), {{a, b, d, e}, {a, b, c}});
  expect_items(*generation->pending_items(8), {{a, b, d, e}});
  expect_items(*generation->pending_items(4), {{a, b, d}});
  const SequenceId other = *session.open();
  expect_items(*generation->pending_items(), {{a, b, d, e}, {a, b, c}});
  const BatchItem one = *generation->pending();
  expect_items({&one, 1}, {{a, b, d, e}});
  EXPECT_TRUE(session.open().ok());
  expect_items(*generation->pending_items(), {{a, b, d, e}});  // none is free: the longest
  session.close(other);
  expect_items(*generation->pending_items(), {{a, b, d, e}, {a, b, c}});
  generation = Generation::start(session, sequence, prompt, sampled(0, 4));  // what it had open is closed with it
  EXPECT_EQ(*generation->propose(tree.draft, tree.parents), 7);              // e is behind the end
  expect_items(*generation->pending_items(), {{a, b, c}, {f}});
  EXPECT_TRUE(generation->cancel().ok());
  EXPECT_TRUE(session.open().ok());
}

// Generations with trees share a batch; a budget is too small for all chains, and the forks' items fail alone.
TEST_P(DraftTree, ManyShareABatchAndABudget) {
  const std::vector<TokenId> prompts[] = {prompt_of(61), prompt_of(125)};
  const GenerateOptions options = sampled(1, 20);
  const GenerateResult want[] = {plain(arch_, prompts[0], options), plain(arch_, prompts[1], options)};
  const std::int64_t page = sequence_cost(test_model(arch_).description(), 64)->kv_bytes;
  const std::int64_t budgets[] = {0, 5 * page, 6 * page, 8 * page};
  for (const std::int64_t budget : budgets) {
    Session session = session_of(arch_, 7, budget);
    std::vector<Generation> running;
    for (const auto& prompt : prompts) {
      running.push_back(std::move(Generation::start(session, *session.open(), prompt, options)).value());
    }
    Answer got[2];
    int n_failed = 0, n_forks = 0;
    for (int round = 0; round < 60 && !std::ranges::all_of(running, &Generation::done); ++round) {
      std::vector<BatchItem> items;
      std::vector<std::pair<std::size_t, std::size_t>> parts;  // generation, number of its items
      for (std::size_t g = 0; g < 2; ++g) {
        if (running[g].done()) continue;
        Tree tree;
        const std::size_t n = running[g].tokens().size();
        for (TokenId c = 0; c < 3; ++c) {
          std::int32_t at = -1;
          for (std::size_t i = 0; i < 4; ++i) {
            const TokenId truth = n + i < 20 ? want[g].tokens[n + i] : 3;
            at = tree.add(c == static_cast<TokenId>(n % 3) || i < 2 ? truth : (truth + 1 + c) % 200, at);
          }
        }
        ASSERT_TRUE(running[g].propose(tree.draft, tree.parents).ok());
        const auto mine = *running[g].pending_items();
        items.insert(items.end(), mine.begin(), mine.end());
        parts.emplace_back(g, mine.size());
        n_forks += static_cast<int>(mine.size()) - 1;
      }
      (void)session.forward(items);
      ASSERT_EQ(session.item_status().size(), items.size());
      std::int64_t row = 0;
      std::size_t item = 0;
      for (const auto& [g, n] : parts) {
        bool mine = session.item_status()[item].ok() && items[item].logits != LogitsFor::kNone;
        for (std::int64_t k = 0; mine;) {
          auto step = running[g].accept(session.logits(row + k));
          ASSERT_TRUE(step.ok()) << step.error().message;
          got[g].tokens.push_back(step->token);
          got[g].text += step->text;
          got[g].log_probabilities.push_back(step->log_probability);
          if (step->done) got[g].reason = step->reason;
          k = step->row;
          mine = step->next_row;
        }
        for (std::size_t i = 0; i < n; ++i, ++item) {
          row += n_logit_rows(items[item]);
          n_failed += !session.item_status()[item].ok();
        }
      }
    }
    for (std::size_t g = 0; g < 2; ++g) expect_same(got[g], want[g], "budget of " + std::to_string(budget / page));
    // Both sequences alone take 3 and 2 pages; behind these, room is for some forks, or for one generation's.
    EXPECT_EQ(n_forks > 0, budget != 5 * page);
    EXPECT_EQ(n_failed > 0, budget > 5 * page);
  }
}

// A guess over the edge of a page is found by others when it is accepted, on whichever chain.
TEST_P(DraftTree, PagesOfTheAcceptedChainAreOffered) {
  const std::vector<TokenId> prompt = prompt_of(60);
  const GenerateOptions options = sampled(0, 20);
  const GenerateResult want = plain(arch_, prompt, options);
  Session session = session_of(arch_, 4);
  const SequenceId sequence = *session.open(), other = *session.open();
  Answer got = run(session, sequence, prompt, options, [&](std::size_t n) {
    Tree tree;
    std::int32_t at = tree.add(199, tree.add(198, tree.add(197, -1)));
    at = -1;
    for (std::size_t i = n; i < std::min<std::size_t>(n + 2, 20); ++i) at = tree.add(want.tokens[i], at);
    return tree;
  });
  expect_same(got, want, arch_);
  std::vector<TokenId> all = prompt;
  all.insert(all.end(), want.tokens.begin(), want.tokens.end());
  if (arch_ == "llama") {
    EXPECT_EQ(*session.reuse(other, all), std::ssize(all) - 1);
  }
  session.close(sequence);
  session.close(other);
  EXPECT_EQ(session.memory().kv_held_bytes, 0);
}

TEST(DraftTree, RefusesWhatIsNoTree) {
  Session session = session_of("llama", 2);
  auto generation = Generation::start(session, *session.open(), prompt_of(5), sampled(0, 20));
  const auto refused = [&](const Tree& tree, const std::string& text) {
    const auto n = generation->propose(tree.draft, tree.parents);
    ASSERT_FALSE(n.ok()) << text;
    EXPECT_EQ(n.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(n.error().message.find(text), std::string::npos) << n.error().message;
  };
  refused({{1, 2}, {-1}}, "parents: expected one for each of 2 tokens, found 1");
  refused({{1, 2}, {-1, 1}}, "parents[1]: expected -1 or an earlier token, found 1");
  refused({{1, 2}, {0, -1}}, "parents[0]");
  refused({{1, 2}, {-1, -2}}, "parents[1]");
  refused({{1, 431}, {-1, 0}}, "draft[1]: expected token ids 0 to 430, found 431");
  refused({{-1}, {-1}}, "draft[0]");
  EXPECT_EQ(*generation->propose({}, {}), 0);
  EXPECT_FALSE(generation->pending_items(0).ok());
  EXPECT_EQ(generation->pending_items()->size(), 1u);
}

}  // namespace
}  // namespace rowmax::engine::draft_tree_test
