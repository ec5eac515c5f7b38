#include "rowmax/engine/generation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "rowmax/engine/generate.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine::generation_test {
namespace {

// Models stay loaded for all tests.
const Model& model_of(const std::string& arch) {
  struct Loaded {
    std::vector<std::byte> bytes;
    SerialExecutor executor;
    std::unique_ptr<Model> model;
  };
  static std::map<std::string, Loaded> all;
  Loaded& loaded = all[arch];
  if (loaded.model == nullptr) {
    tools::SyntheticSpec spec;
    spec.arch = arch;
    loaded.bytes = std::move(tools::synthetic_model_bytes(spec)).value();
    ModelOptions options;
    options.isa = supported_isas().back();
    auto file = GgufFile::parse(loaded.bytes, "synthetic");
    loaded.model =
        std::make_unique<Model>(std::move(Model::load(std::move(file).value(), options, loaded.executor)).value());
  }
  return *loaded.model;
}

struct Engine {
  SerialExecutor executor;
  const Model& model;
  Session session;

  explicit Engine(const std::string& arch, std::int64_t context = 256)
      : model(model_of(arch)), session(make(model, context, executor)) {}
  static Session make(const Model& model, std::int64_t context, Executor& executor) {
    SessionOptions options;
    options.context = context;
    options.max_sequences = 4;
    return std::move(Session::create(model, options, executor)).value();
  }
};

std::vector<TokenId> prompt_of(int n, int seed = 0) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < n; ++i) tokens.push_back(10 + (i * 37 + seed * 101 + i / 5) % 240);
  return tokens;
}

GenerationOptions sampled(float temperature, std::int64_t max_tokens, std::uint64_t seed = 5) {
  GenerationOptions options;
  options.max_tokens = max_tokens;
  options.sampling.temperature = temperature;
  options.sampling.seed = seed;
  options.sampling.repetition_penalty = 1.3f;
  options.ignore_eos = true;
  options.log_probability = true;
  return options;
}

struct Answer {
  std::vector<TokenId> sampled;
  std::vector<double> log_probabilities;
  std::string text;
  StopReason reason = StopReason::kCancelled;

  void add(const GenerationStep& step) {
    sampled.push_back(step.token);
    log_probabilities.push_back(step.log_probability);
    text += step.text;
    if (step.done) reason = step.reason;
  }
  bool operator==(const Answer&) const = default;
};

// The definition: a token at a time, from a session of its own, without a Generation.
Answer by_definition(const std::string& arch, const std::vector<TokenId>& prompt, const GenerationOptions& options) {
  Engine engine(arch);
  const SequenceId sequence = *engine.session.open();
  auto sampler = Sampler::create(options.sampling, engine.model.shape().n_vocab);
  for (const TokenId token : prompt) EXPECT_TRUE(sampler->accept(token).ok());
  Answer answer;
  std::vector<TokenId> next = prompt;
  std::string bytes;
  while (std::ssize(answer.sampled) < options.max_tokens) {
    const BatchItem item{sequence, next, LogitsFor::kLast};
    EXPECT_TRUE(engine.session.forward({&item, 1}).ok());
    const TokenId token = *sampler->sample(engine.session.logits(0));
    EXPECT_TRUE(sampler->accept(token).ok());
    answer.sampled.push_back(token);
    answer.log_probabilities.push_back(log_probability(engine.session.logits(0), token));
    next = {token};
  }
  return answer;
}

void expect_same(const Answer& got, const Answer& want, const std::string& what) {
  EXPECT_EQ(got.sampled, want.sampled) << what;
  EXPECT_EQ(got.log_probabilities, want.log_probabilities) << what;
}

// Runs one generation to its end. drafts: what to propose when so many tokens were accepted. n_computed counts tokens.
template <class Drafts>
Answer run(Engine& engine, SequenceId sequence, const std::vector<TokenId>& prompt, const GenerationOptions& options,
           const Drafts& drafts, std::int64_t at_most = 480, int* n_forward = nullptr,
           std::int64_t* n_computed = nullptr) {
  auto generation = Generation::start(engine.session, sequence, prompt, options);
  EXPECT_TRUE(generation.ok()) << generation.error().message;
  Answer answer;
  while (!generation->done()) {
    EXPECT_TRUE(generation->propose(drafts(generation->tokens().size())).ok());
    auto item = generation->pending(at_most);
    EXPECT_TRUE(item.ok()) << item.error().message;
    EXPECT_LE(std::ssize(item->tokens), at_most);
    EXPECT_TRUE(engine.session.forward({&*item, 1}).ok());
    if (n_forward != nullptr) ++*n_forward;
    if (n_computed != nullptr) *n_computed += std::ssize(item->tokens);
    bool go_on = true;
    for (std::int64_t row = 0; go_on && row < n_logit_rows(*item); ++row) {
      auto step = generation->accept(engine.session.logits(row));
      EXPECT_TRUE(step.ok()) << step.error().message;
      answer.add(*step);
      go_on = step->next_row;
    }
  }
  return answer;
}
const auto kNoDrafts = [](std::size_t) { return std::vector<TokenId>(); };

TEST(Generation, ManyInOneBatchGiveWhatEachGivesAlone) {
  for (const char* arch : {"llama", "qwen35", "qwen3moe"}) {
    Engine engine(arch);
    const std::vector<TokenId> prompts[] = {prompt_of(5), prompt_of(101, 1), prompt_of(66, 2)};
    const GenerationOptions options[] = {sampled(0, 12), sampled(0.9f, 15), sampled(1.3f, 6, 9)};
    std::vector<Generation> running;
    std::vector<Answer> answers(3);
    for (int i = 0; i < 3; ++i) {
      running.push_back(
          std::move(Generation::start(engine.session, *engine.session.open(), prompts[i], options[i])).value());
    }
    int n_pieces = 0;
    for (int round = 0; !std::ranges::all_of(running, &Generation::done); ++round) {
      std::vector<BatchItem> items;
      std::vector<std::size_t> of;
      for (std::size_t i = 0; i < 3; ++i) {
        if (running[i].done() || (i == 0 && round > 3 && round < 9)) continue;  // the first pauses for a while
        items.push_back(*running[i].pending(i == 1 ? 17 : 480));
        n_pieces += items.back().logits == LogitsFor::kNone;
        of.push_back(i);
      }
      ASSERT_TRUE(engine.session.forward(items).ok());
      std::int64_t row = 0;
      for (std::size_t k = 0; k < items.size(); ++k) {
        if (items[k].logits == LogitsFor::kNone) continue;
        auto step = running[of[k]].accept(engine.session.logits(row++));
        ASSERT_TRUE(step.ok()) << step.error().message;
        EXPECT_FALSE(step->next_row);
        answers[of[k]].add(*step);
      }
    }
    EXPECT_EQ(n_pieces, 5);  // 101 tokens, 17 at a time
    for (int i = 0; i < 3; ++i) {
      const std::string what = std::string(arch) + ", generation " + std::to_string(i);
      expect_same(answers[i], by_definition(arch, prompts[i], options[i]), what);
      EXPECT_EQ(answers[i].reason, StopReason::kLength);
      Engine other(arch);
      GenerateOptions plain;
      static_cast<GenerationOptions&>(plain) = options[i];
      auto whole = generate(other.session, *other.session.open(), prompts[i], plain);
      ASSERT_TRUE(whole.ok());
      EXPECT_EQ(whole->text, answers[i].text) << what;
      EXPECT_EQ(whole->tokens, answers[i].sampled) << what;
      EXPECT_EQ(whole->log_probabilities, answers[i].log_probabilities) << what;
    }
  }
}

// Right drafts, wrong ones, partly right ones: time alone may differ.
TEST(Generation, DraftsChangeNothingButTheNumberOfForwards) {
  for (const char* arch : {"llama", "gemma2", "qwen35", "qwen35moe", "lfm2", "deepseek2"}) {
    for (const float temperature : {0.0f, 1.0f}) {
      const std::vector<TokenId> prompt = prompt_of(58);
      const GenerationOptions options = sampled(temperature, 24);
      const Answer want = by_definition(arch, prompt, options);
      const std::vector<TokenId>& truth = want.sampled;
      for (int right = 0; right <= 5; ++right) {  // of five drafts; the page's edge lies among them
        const std::string what = std::string(arch) + ", right drafts: " + std::to_string(right);
        const auto drafts = [&](std::size_t n) {
          std::vector<TokenId> guess;
          for (std::size_t i = 0; i < 5; ++i) {
            const TokenId t = n + i < truth.size() ? truth[n + i] : 3;
            guess.push_back(static_cast<int>(i) < right ? t : (t + 1) % 200);
          }
          return guess;
        };
        Engine engine(arch);
        const SequenceId sequence = *engine.session.open();
        int n_forward = 0;
        std::int64_t n_computed = 0;
        const Answer got = run(engine, sequence, prompt, options, drafts, 480, &n_forward, &n_computed);
        expect_same(got, want, what);
        EXPECT_EQ(got.reason, StopReason::kLength);
        EXPECT_EQ(n_forward, (24 + right) / (right + 1)) << what;
        // A recurrent state is computed again from before the drafts, and no further back: at most the token, the right
        // drafts and the one that was sampled in the wrong one's place.
        const bool recurrent = std::string(arch).starts_with("qwen35") || std::string(arch) == "lfm2";
        const std::int64_t each = 6 + (recurrent && right < 5 ? right + 1 : 0);
        EXPECT_LE(n_computed, 58 + 5 + (n_forward - 1) * each) << what;
        // The sequence holds what was accepted, and the next logits have the bits of a plain one's.
        std::vector<TokenId> all = prompt;
        all.insert(all.end(), truth.begin(), truth.end());
        const std::span<const TokenId> held = engine.session.tokens(sequence);
        ASSERT_LE(held.size(), all.size());
        EXPECT_TRUE(std::equal(held.begin(), held.end(), all.begin())) << what;
        all.push_back(42);
        Engine other(arch);
        std::vector<float> rows[2];
        for (Engine* e : {&engine, &other}) {
          const SequenceId id = e == &engine ? sequence : *e->session.open();
          const auto begin = e->session.tokens(id).size();
          const BatchItem item{id, std::span(all).subspan(begin), LogitsFor::kLast};
          ASSERT_TRUE(e->session.forward({&item, 1}).ok());
          rows[e == &other].assign(e->session.logits(0).begin(), e->session.logits(0).end());
        }
        EXPECT_EQ(rows[0], rows[1]) << what;
      }
    }
  }
}

TEST(Generation, DraftsAtThePromptInSmallRoomAndBehindTheEnd) {
  for (const char* arch : {"llama", "qwen35"}) {
    const std::vector<TokenId> prompt = prompt_of(45, 3);
    const GenerationOptions options = sampled(0.8f, 20);
    const Answer want = by_definition(arch, prompt, options);
    std::uint64_t state = 1;
    for (const std::int64_t room : {1, 2, 3, 7, 46, 50}) {
      const auto drafts = [&](std::size_t n) {
        std::vector<TokenId> guess(want.sampled.begin() + static_cast<std::ptrdiff_t>(n), want.sampled.end());
        guess.resize(guess.size() + 3, 9);
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        if ((state >> 40) % 2 == 0) guess[(state >> 50) % guess.size()] = 8;
        return guess;
      };
      Engine engine(arch);
      expect_same(run(engine, *engine.session.open(), prompt, options, drafts, room), want,
                  std::string(arch) + ", room for " + std::to_string(room));
    }
  }
}

// Each reason to stop, reached in the middle of accepted drafts, is the one that plain generation gives.
TEST(Generation, EndsAmongDraftsAsWithoutThem) {
  for (const char* arch : {"llama", "qwen35"}) {
    const Model& model = model_of(arch);
    const std::vector<TokenId> prompt = prompt_of(30);
    const Answer free = by_definition(arch, prompt, sampled(0.7f, 40));
    const auto drafts = [&](std::size_t n) {
      const std::size_t end = std::min(n + 6, free.sampled.size());
      return std::vector<TokenId>(free.sampled.begin() + static_cast<std::ptrdiff_t>(std::min(n, end)),
                                  free.sampled.begin() + static_cast<std::ptrdiff_t>(end));
    };
    struct Case {
      StopReason reason;
      GenerationOptions options;
      std::int64_t context = 256;
    };
    std::vector<Case> cases(4, {StopReason::kStop, sampled(0.7f, 40)});
    cases[0].options.stop = {*model.tokenizer().piece(free.sampled[9], false)};
    cases[1].options.stop_tokens = {free.sampled[9]};
    cases[2] = {StopReason::kLength, sampled(0.7f, 10)};
    cases[3] = {StopReason::kContext, sampled(0.7f, -1), 40};
    for (const Case& c : cases) {
      Engine plain(arch, c.context), engine(arch, c.context);
      const SequenceId a = *plain.session.open(), b = *engine.session.open();
      const Answer want = run(plain, a, prompt, c.options, kNoDrafts);
      const Answer got = run(engine, b, prompt, c.options, drafts);
      EXPECT_TRUE(got == want) << arch << " " << stop_reason_name(c.reason);
      EXPECT_EQ(want.reason, c.reason);
      EXPECT_LE(want.sampled.size(), 11u);
      EXPECT_TRUE(std::equal(want.sampled.begin(), want.sampled.end(), free.sampled.begin()));
      // Nothing but accepted tokens is left in the sequence.
      std::vector<TokenId> all = prompt;
      all.insert(all.end(), want.sampled.begin(), want.sampled.end());
      const std::span<const TokenId> held = engine.session.tokens(b);
      ASSERT_LE(held.size(), all.size());
      EXPECT_TRUE(std::equal(held.begin(), held.end(), all.begin()));
    }
  }
}

TEST(Generation, PagesWithDraftsArePublishedOnAcceptance) {
  const std::vector<TokenId> prompt = prompt_of(60);
  const GenerationOptions options = sampled(0, 20);
  const std::vector<TokenId> truth = by_definition("llama", prompt, options).sampled;
  for (const bool right : {false, true}) {
    Engine engine("llama");
    const SequenceId other = *engine.session.open();
    const SequenceId sequence = *engine.session.open();
    auto generation = Generation::start(engine.session, sequence, prompt, options);
    std::vector<TokenId> draft(truth.begin(), truth.begin() + 8), all = prompt;
    if (!right) draft[2] = (draft[2] + 1) % 200;
    all.insert(all.end(), draft.begin(), draft.end());
    all.push_back(1);
    EXPECT_EQ(*generation->propose(draft), 8);
    const BatchItem item = *generation->pending();
    ASSERT_EQ(item.tokens.size(), 68u);
    ASSERT_TRUE(engine.session.forward({&item, 1}).ok());
    EXPECT_EQ(*engine.session.reuse(other, all), 60);  // the prompt
    const int n_right = right ? 8 : 2;
    for (int row = 0;; ++row) {
      auto step = generation->accept(engine.session.logits(row));
      ASSERT_TRUE(step.ok());
      EXPECT_EQ(*engine.session.reuse(other, all), 60 + std::min(row + 1, n_right)) << row;
      EXPECT_EQ(step->next_row, row < n_right) << row;
      if (!step->next_row) break;
    }
    EXPECT_EQ(generation->pending()->n_draft, 0);  // they held for one forward()
    engine.session.close(sequence);
    EXPECT_EQ(*engine.session.reuse(other, all), 60 + n_right);
  }
}

TEST(Generation, LogitsThatWereLostAreComputedAgain) {
  for (const char* arch : {"llama", "qwen35"}) {
    Engine engine(arch);
    const std::vector<TokenId> prompt = prompt_of(70, 4);
    const GenerationOptions options = sampled(0.8f, 12);
    const Answer want = by_definition(arch, prompt, options);
    auto generation = Generation::start(engine.session, *engine.session.open(), prompt, options);
    Answer got;
    for (int round = 0; !generation->done(); ++round) {
      if (round % 3 == 1) {
        const std::vector<TokenId> draft = {want.sampled[got.sampled.size()], 7, 7};
        ASSERT_TRUE(generation->propose(draft).ok());
      }
      const BatchItem item = *generation->pending(9);
      ASSERT_TRUE(engine.session.forward({&item, 1}).ok());
      if (item.logits == LogitsFor::kNone || round % 4 == 2) continue;  // nobody looks at them
      auto step = generation->accept(engine.session.logits(0));
      ASSERT_TRUE(step.ok()) << step.error().message;
      got.add(*step);  // and where the next row would be known, nobody looks either
      ASSERT_LT(round, 200);
    }
    expect_same(got, want, arch);
  }
}

TEST(Generation, AMaskIsTheSoftmaxOfTheAllowedTokens) {
  const std::vector<TokenId> prompt = prompt_of(12);
  for (const float temperature : {0.0f, 1.0f}) {
    // Everything allowed is no mask.
    GenerationOptions options = sampled(temperature, 10);
    std::vector<std::vector<TokenId>> seen;
    options.token_mask = [&](std::span<const TokenId> generated, std::span<std::uint64_t> allowed) -> Status {
      seen.emplace_back(generated.begin(), generated.end());
      for (std::uint64_t& word : allowed) {
        EXPECT_EQ(word, 0u);
        word = ~std::uint64_t{0};
      }
      return {};
    };
    Engine engine("llama");
    const Answer got = run(engine, *engine.session.open(), prompt, options, kNoDrafts);
    expect_same(got, by_definition("llama", prompt, options), "all allowed");
    ASSERT_EQ(seen.size(), 10u);
    for (std::size_t i = 0; i < seen.size(); ++i) {
      EXPECT_EQ(seen[i], std::vector<TokenId>(got.sampled.begin(), got.sampled.begin() + static_cast<int>(i)));
    }
    // A few allowed: as if the others' logits were far below (here through a bias that does that).
    const std::vector<TokenId> few = {3, 64, 130, 200};
    options.token_mask = [&](std::span<const TokenId>, std::span<std::uint64_t> allowed) -> Status {
      for (const TokenId id : few) allowed[static_cast<std::size_t>(id / 64)] |= std::uint64_t{1} << (id % 64);
      return {};
    };
    GenerationOptions biased = sampled(temperature, 10);
    for (TokenId id = 0; id < engine.model.shape().n_vocab; ++id) {
      if (std::ranges::find(few, id) == few.end()) biased.sampling.logit_bias.emplace_back(id, -1e6f);
    }
    Engine masked("llama");
    const Answer only = run(masked, *masked.session.open(), prompt, options, kNoDrafts);
    expect_same(only, by_definition("llama", prompt, biased), "a few allowed");
    for (const TokenId token : only.sampled) EXPECT_NE(std::ranges::find(few, token), few.end());
  }
}

TEST(Generation, ControlTokensAreTextWhereTheyAreNamed) {
  const Tokenizer& tokenizer = model_of("llama").tokenizer();
  TokenId control = 0;
  while (tokenizer.kind(control) != TokenKind::kControl) ++control;
  for (const bool named : {false, true}) {
    GenerationOptions options = sampled(0, 2);
    options.token_mask = [control](std::span<const TokenId>, std::span<std::uint64_t> allowed) -> Status {
      allowed[static_cast<std::size_t>(control) / 64] |= std::uint64_t{1} << (control % 64);
      return {};
    };
    if (named) options.text_tokens = {control};
    Engine engine("llama");
    auto generation =
        std::move(Generation::start(engine.session, *engine.session.open(), prompt_of(5), options)).value();
    std::string text;
    while (!generation.done()) {
      const BatchItem item = *generation.pending();
      ASSERT_TRUE(engine.session.forward(std::span(&item, 1)).ok());
      text += generation.accept(engine.session.logits(0))->text;
    }
    const std::string stored(tokenizer.text(control));
    EXPECT_EQ(text, named ? stored + stored : "");
  }
}

TEST(Generation, AMaskThatAllowsNothingOrFailsIsAnErrorAndTheStepCanBeRepeated) {
  const std::vector<TokenId> prompt = prompt_of(12);
  const Answer want = by_definition("llama", prompt, sampled(1, 5));
  int n_calls = 0;
  GenerationOptions options = sampled(1, 5);
  options.token_mask = [&](std::span<const TokenId>, std::span<std::uint64_t> allowed) -> Status {
    ++n_calls;
    if (n_calls == 2) return {};
    if (n_calls == 4) return Error::unsupported("the grammar is lost");
    for (std::uint64_t& word : allowed) word = ~std::uint64_t{0};
    return {};
  };
  Engine engine("llama");
  auto generation = Generation::start(engine.session, *engine.session.open(), prompt, options);
  Answer got;
  while (!generation->done()) {
    const BatchItem item = *generation->pending();
    ASSERT_TRUE(engine.session.forward({&item, 1}).ok());
    auto step = generation->accept(engine.session.logits(0));
    if (!step.ok()) {
      EXPECT_EQ(step.error().code, n_calls == 2 ? ErrorCode::kInvalidArgument : ErrorCode::kUnsupported);
      EXPECT_NE(step.error().message.find(n_calls == 2 ? "step 1 of the generation: the token mask allows none"
                                                       : "step 2 of the generation: the grammar is lost"),
                std::string::npos)
          << step.error().message;
      step = generation->accept(engine.session.logits(0));
    }
    ASSERT_TRUE(step.ok()) << step.error().message;
    got.add(*step);
  }
  EXPECT_EQ(n_calls, 7);
  expect_same(got, want, "after errors");
}

TEST(Generation, LogProbabilitiesAreOfTheModelsOwnDistribution) {
  Engine engine("llama");
  const std::vector<TokenId> prompt = prompt_of(12);
  GenerationOptions options = sampled(2, 8);
  options.top_log_probabilities = 7;
  options.sampling.logit_bias = {{50, 8.0f}};
  options.token_mask = [](std::span<const TokenId>, std::span<std::uint64_t> allowed) -> Status {
    for (std::uint64_t& word : allowed) word = 0x5555555555555555u;
    return {};
  };
  auto generation = Generation::start(engine.session, *engine.session.open(), prompt, options);
  while (!generation->done()) {
    const BatchItem item = *generation->pending();
    ASSERT_TRUE(engine.session.forward({&item, 1}).ok());
    const std::span<const float> row = engine.session.logits(0);
    long double total = 0;
    for (const float x : row) total += std::exp(static_cast<long double>(x));
    std::vector<std::pair<float, TokenId>> order;
    for (std::size_t i = 0; i < row.size(); ++i) order.emplace_back(-row[i], static_cast<TokenId>(i));
    std::sort(order.begin(), order.end());
    auto step = generation->accept(row);
    ASSERT_TRUE(step.ok());
    EXPECT_EQ(step->token % 2, 0);
    EXPECT_EQ(step->log_probability, log_probability(row, step->token));  // what score() uses
    EXPECT_NEAR(step->log_probability,
                static_cast<double>(row[static_cast<std::size_t>(step->token)] - std::log(total)), 1e-12);
    ASSERT_EQ(step->top_log_probabilities.size(), 7u);
    for (std::size_t i = 0; i < 7; ++i) {
      EXPECT_EQ(step->top_log_probabilities[i].token, order[i].second);
      EXPECT_EQ(step->top_log_probabilities[i].value, log_probability(row, order[i].second));
    }
  }
}

TEST(Generation, CancelGivesWhatWasHeldBack) {
  Engine engine("llama");
  const std::vector<TokenId> prompt = prompt_of(12);
  GenerationOptions options = sampled(0, 20);
  const TokenId first = engine.model.tokenizer().encode("a", false)->at(0);
  options.sampling.logit_bias = {{first, 1000.0f}};
  const std::string piece = *engine.model.tokenizer().piece(first, false);
  options.stop = {piece + "\x01\x02"};
  const SequenceId sequence = *engine.session.open();
  auto generation = Generation::start(engine.session, sequence, prompt, options);
  ASSERT_TRUE(generation->propose(std::vector<TokenId>{first, 5, 6}).ok());
  const BatchItem item = *generation->pending();
  ASSERT_TRUE(engine.session.forward({&item, 1}).ok());
  auto step = generation->accept(engine.session.logits(0));
  ASSERT_TRUE(step.ok());
  EXPECT_EQ(step->text, "");
  EXPECT_TRUE(step->next_row);
  EXPECT_EQ(*generation->cancel(), piece);
  EXPECT_TRUE(generation->done());
  EXPECT_EQ(generation->reason(), StopReason::kCancelled);
  EXPECT_EQ(engine.session.tokens(sequence).size(), 13u);  // the drafts nobody accepted are gone
  EXPECT_EQ(*generation->cancel(), "");
}

TEST(Generation, RefusesWhatCannotBeDone) {
  Engine engine("llama");
  const std::vector<TokenId> prompt = prompt_of(12);
  const SequenceId sequence = *engine.session.open();
  const auto refused = [&](auto change, const char* text) {
    GenerationOptions options = sampled(1, 5);
    change(options);
    const auto generation = Generation::start(engine.session, sequence, prompt, options);
    ASSERT_FALSE(generation.ok()) << text;
    EXPECT_NE(generation.error().message.find(text), std::string::npos) << generation.error().message;
  };
  refused([](GenerationOptions& o) { o.stop_tokens = {-1}; }, "stop_tokens");
  refused([](GenerationOptions& o) { o.top_log_probabilities = 100000; }, "top_log_probabilities");
  refused([](GenerationOptions& o) { o.top_log_probabilities = -1; }, "top_log_probabilities");
  refused([](GenerationOptions& o) { o.max_tokens = -2; }, "max_tokens");
  refused([](GenerationOptions& o) { o.sampling.top_p = 2; }, "top_p");
  refused([](GenerationOptions& o) { o.stop = {""}; }, "stop");
  EXPECT_FALSE(Generation::start(engine.session, 3, prompt, sampled(1, 5)).ok());

  auto generation = Generation::start(engine.session, sequence, prompt, sampled(1, 2));
  ASSERT_TRUE(generation.ok());
  const std::vector<float> row(static_cast<std::size_t>(engine.model.shape().n_vocab), 0.0f);
  const auto early = generation->accept(row);
  ASSERT_FALSE(early.ok());
  EXPECT_NE(early.error().message.find("12 tokens of the generation are not computed"), std::string::npos);
  EXPECT_FALSE(generation->pending(0).ok());
  EXPECT_FALSE(generation->propose(std::vector<TokenId>{1, 100000}).ok());
  EXPECT_EQ(*generation->propose(prompt), 1);  // two tokens: one draft, and what follows it
  const BatchItem item = *generation->pending();
  ASSERT_TRUE(engine.session.forward({&item, 1}).ok());
  EXPECT_FALSE(generation->accept(std::span(row).first(5)).ok());
  ASSERT_TRUE(generation->accept(engine.session.logits(0)).ok());
  const BatchItem next = *generation->pending();
  ASSERT_TRUE(engine.session.forward({&next, 1}).ok());
  ASSERT_TRUE(generation->accept(engine.session.logits(0))->done);
  EXPECT_NE(generation->pending().error().message.find("done (length)"), std::string::npos);
  EXPECT_FALSE(generation->accept(row).ok());
  EXPECT_FALSE(generation->propose(prompt).ok());
  EXPECT_EQ(generation->tokens().size(), 2u);

  auto nothing = Generation::start(engine.session, sequence, prompt, sampled(1, 0));
  ASSERT_TRUE(nothing.ok());
  EXPECT_TRUE(nothing->done());
  EXPECT_EQ(nothing->reason(), StopReason::kLength);
}

}  // namespace
}  // namespace rowmax::engine::generation_test
