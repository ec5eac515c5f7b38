// Models with sliding windows: what a session gives back changes no bit, and a sequence takes what its cost says.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "rowmax/engine/session.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine::sequence_cost_test {
namespace {

constexpr std::int64_t kLength = 1300, kContext = 2048, kPage = 64;

struct Engine {
  SerialExecutor executor;
  std::vector<std::byte> bytes;
  std::unique_ptr<Model> model;
  std::int64_t n_vocab = 0;

  // A model all of whose layers have a window, one where some have, or one where none has.
  explicit Engine(const std::string& name) {
    const bool mistral = name == "mistral";
    tools::SyntheticSpec spec = tools::odd_spec(mistral ? "llama" : name);
    spec.context = kContext;
    bytes = std::move(tools::synthetic_model_bytes(spec)).value();
    ModelOptions options;
    options.isa = supported_isas().back();
    if (mistral) options.overrides = {{"llama.attention.sliding_window", "100"}};
    auto loaded = Model::load(std::move(GgufFile::parse(bytes, "synthetic")).value(), options, executor);
    EXPECT_TRUE(loaded.ok()) << loaded.error().message;
    model = std::make_unique<Model>(std::move(loaded).value());
    n_vocab = model->shape().n_vocab;
  }
  Session session(SessionOptions options) {
    options.context = kContext;
    auto session = Session::create(*model, options, executor);
    EXPECT_TRUE(session.ok()) << session.error().message;
    return std::move(session).value();
  }
  std::vector<TokenId> tokens(std::int64_t n, std::uint64_t seed) const {
    std::vector<TokenId> all;
    for (std::int64_t i = 0; i < n; ++i) {
      seed = seed * 6364136223846793005ull + 1442695040888963407ull;
      all.push_back(static_cast<TokenId>((seed >> 33) % static_cast<std::uint64_t>(n_vocab)));
    }
    return all;
  }
  // The rows of the last forward().
  static void take_rows(const Session& session, std::int64_t first, std::int64_t n, std::vector<float>& all) {
    for (std::int64_t row = first; row < first + n; ++row) {
      all.insert(all.end(), session.logits(row).begin(), session.logits(row).end());
    }
  }
  std::vector<float> run(Session& session, SequenceId sequence, std::span<const TokenId> tokens,
                         std::int64_t n_draft = 0) const {
    const BatchItem item{sequence, tokens, LogitsFor::kAll, n_draft};
    const Status status = session.forward({&item, 1});
    EXPECT_TRUE(status.ok()) << status.error().message;
    std::vector<float> all;
    take_rows(session, 0, session.n_logit_rows(), all);
    return all;
  }
  // All in one batch: nothing is given back before its end.
  std::vector<float> unreleased(std::span<const TokenId> tokens) {
    SessionOptions options;
    options.max_batch = kContext;
    Session session = this->session(options);
    return run(session, *session.open(), tokens);
  }
  void expect_same(const std::vector<float>& got, const std::vector<float>& want, std::int64_t begin,
                   const std::string& what) const {
    ASSERT_FALSE(got.empty()) << what;
    const auto at = static_cast<std::size_t>(begin * n_vocab);
    ASSERT_LE(at + got.size(), want.size()) << what;
    EXPECT_EQ(std::memcmp(got.data(), want.data() + at, got.size() * sizeof(float)), 0) << what;
  }
};

std::int64_t held_pages(std::int64_t window, std::int64_t n) {
  std::int64_t count = 0;
  for (std::int64_t page = 0; page * kPage < n; ++page) {
    // The next token is at position n; it sees itself and the window - 1 before it.
    count += window == 0 || (page + 1) * kPage - 1 >= n - (window - 1);
  }
  return count;
}

// By hand from the file's shape: bytes of keys and values of n tokens. Windows of gemma3: all but every sixth layer.
std::int64_t held_bytes(const Engine& engine, const std::string& name, std::int64_t n) {
  const ModelShape& s = engine.model->shape();
  std::int64_t total = 0;
  for (std::int64_t layer = 0; layer < s.n_layer; ++layer) {
    if (name == "qwen35" && layer % 4 != 3) continue;  // delta net
    if (name == "lfm2" && layer != 2) continue;        // short convolution
    std::int64_t window = 0;
    if (name == "gemma3" && layer % 6 != 5) window = 37;
    if (name == "gemma2" && layer % 2 == 0) window = 37;
    if (name == "mistral") window = 100;
    total += held_pages(window, n) * kPage * s.n_kv_head * s.head_dim * 2 * 2;
  }
  return total;
}

class Windows : public testing::TestWithParam<const char*> {
 protected:
  Engine engine_{GetParam()};
  std::vector<TokenId> tokens_ = engine_.tokens(kLength, 7);
  std::vector<float> want_ = engine_.unreleased(tokens_);
  std::span<const TokenId> part(std::int64_t begin, std::int64_t end) const {
    return std::span(tokens_).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  }
};

TEST_P(Windows, ChunksGiveTheBitsOfTheRunThatKeepsEverything) {
  for (const std::int64_t max_batch : {33, 64, 240}) {
    for (const std::int64_t chunk : {7, 64, 65, 500, 1300}) {
      SessionOptions options;
      options.max_batch = max_batch;
      Session session = engine_.session(options);
      const SequenceId id = *session.open();
      for (std::int64_t begin = 0; begin < kLength; begin += chunk) {
        const std::int64_t end = std::min(begin + chunk, kLength);
        engine_.expect_same(engine_.run(session, id, part(begin, end)), want_, begin,
                            "batches of " + std::to_string(max_batch) + ", chunks of " + std::to_string(chunk));
        ASSERT_EQ(session.memory().kv_held_bytes, held_bytes(engine_, GetParam(), end)) << end;
      }
      session.close(id);
      EXPECT_EQ(session.memory().kv_held_bytes, 0);
    }
  }
}

TEST_P(Windows, TokenByTokenTheyTakeWhatTheirWindowsNeed) {
  Session session = engine_.session({});
  const SequenceId id = *session.open();
  for (std::int64_t n = 0; n < 300; ++n) {
    engine_.expect_same(engine_.run(session, id, part(n, n + 1)), want_, n, "one by one");
    ASSERT_EQ(session.memory().kv_held_bytes, held_bytes(engine_, GetParam(), n + 1)) << n + 1;
  }
}

// Three sequences take turns, each with its own steps, in just the memory that three sequences need.
TEST_P(Windows, RaggedBatchesGiveTheSameBits) {
  std::vector<std::vector<TokenId>> tokens = {tokens_, engine_.tokens(kLength, 8), engine_.tokens(kLength, 9)};
  std::vector<std::vector<float>> want = {want_, engine_.unreleased(tokens[1]), engine_.unreleased(tokens[2])};
  for (const bool share : {true, false}) {
    SessionOptions options;
    options.max_sequences = 3;
    options.max_batch = 100;
    options.reuse_prefixes = share;
    Session session = engine_.session(options);
    std::vector<SequenceId> ids;
    for (int i = 0; i < 3; ++i) ids.push_back(*session.open());
    const std::int64_t steps[3] = {1, 70, 190};
    std::int64_t done[3] = {0, 0, 0};
    for (int round = 0; round < 40; ++round) {
      std::vector<BatchItem> items;
      std::vector<int> of;
      for (int i = 0; i < 3; ++i) {
        const std::int64_t n = std::min(steps[(i + round / 7) % 3], kLength - done[i]);
        if (n == 0) continue;
        items.push_back({ids[i], std::span(tokens[i]).subspan(done[i], n), LogitsFor::kAll});
        of.push_back(i);
      }
      ASSERT_TRUE(session.forward(items).ok());
      std::int64_t row = 0;
      for (std::size_t k = 0; k < items.size(); ++k) {
        std::vector<float> got;
        const std::int64_t n = std::ssize(items[k].tokens);
        Engine::take_rows(session, row, n, got);
        engine_.expect_same(got, want[of[k]], done[of[k]], "round " + std::to_string(round));
        row += n;
        done[of[k]] += n;
      }
    }
  }
}

TEST_P(Windows, APrefixIsTheSameColdWarmAndEvicted) {
  SessionOptions options;
  options.max_sequences = 2;
  options.max_batch = 100;
  Session session = engine_.session(options);
  const SequenceId a = *session.open(), b = *session.open();
  engine_.run(session, a, part(0, 700));
  for (std::int64_t n = 700; n < 900; ++n) engine_.run(session, a, part(n, n + 1));
  const auto go_on = [&](SequenceId id, std::int64_t end, const std::string& what) {
    const std::int64_t n = *session.reuse(id, part(0, end));
    engine_.expect_same(engine_.run(session, id, part(n, end)), want_, n, what + ", from " + std::to_string(n));
    return n;
  };
  EXPECT_GE(go_on(b, 690, "warm"), 640);
  EXPECT_GE(go_on(b, 1000, "further"), 690);
  EXPECT_GE(go_on(a, 700, "its own prompt again"), 640);
  // Others take all the room there is.
  session.close(a);
  session.close(b);
  for (std::uint64_t seed = 20; seed < 24; ++seed) {
    const SequenceId id = *session.open();
    engine_.run(session, id, engine_.tokens(kContext, seed));
    session.close(id);
  }
  const SequenceId c = *session.open();
  EXPECT_EQ(go_on(c, 690, "evicted"), 0);
}

TEST_P(Windows, TruncateSaysHowFarItWentAndAllGoesOnFromThere) {
  for (const bool share : {true, false}) {
    SessionOptions options;
    options.max_batch = 100;
    options.reuse_prefixes = share;
    Session session = engine_.session(options);
    const SequenceId id = *session.open();
    std::int64_t size = 0;
    for (const std::int64_t target : {1200, 1190, 1100, 700, 640, 130, 60, 2}) {
      if (size < 1200) engine_.expect_same(engine_.run(session, id, part(size, 1200)), want_, size, "computed again");
      size = *session.truncate(id, target);
      ASSERT_LE(size, target);
      ASSERT_EQ(size, std::ssize(session.tokens(id)));
      if (target == 1190) {
        EXPECT_GE(size, share ? 1152 : 0);
      }
      // Nothing but the window is there, and token 1100 sees keys before it. Without sharing nothing was kept.
      if (target == 1100 && !share && GetParam() != std::string("llama")) {
        EXPECT_EQ(size, 0);
      }
    }
  }
}

TEST_P(Windows, DraftsCanAlwaysBeTakenBack) {
  SessionOptions options;
  options.reuse_prefixes = false;
  Session session = engine_.session(options);
  const SequenceId id = *session.open();
  engine_.run(session, id, part(0, 250));
  const std::vector<TokenId> wrong = engine_.tokens(50, 99);
  for (std::int64_t n = 250; n < 520; n += 3) {
    std::vector<TokenId> item(part(n, n + 3).begin(), part(n, n + 3).end());
    item.insert(item.end(), wrong.begin(), wrong.begin() + n % 50);
    std::vector<float> got = engine_.run(session, id, item, n % 50);
    got.resize(static_cast<std::size_t>(3 * engine_.n_vocab));
    engine_.expect_same(got, want_, n, "before drafts");
    ASSERT_EQ(*session.truncate(id, n + 3), n + 3);
    ASSERT_EQ(session.memory().kv_held_bytes, held_bytes(engine_, GetParam(), n + 3));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Windows, testing::Values("gemma3", "gemma2", "mistral", "llama"),
                         [](const auto& info) { return std::string(info.param); });

class Cost : public testing::TestWithParam<const char*> {
 protected:
  Engine engine_{GetParam()};
};

TEST_P(Cost, IsWhatTheCacheHoldsAtTheEnd) {
  SessionOptions options;
  options.context = kContext;
  options.max_batch = 100;
  for (const std::int64_t n : {1, 36, 37, 63, 64, 65, 100, 101, 127, 128, 129, 1023, 1024, 1025, 1088, 1300}) {
    Session session = engine_.session(options);
    const SequenceId id = *session.open();
    engine_.run(session, id, engine_.tokens(n, 1));
    const SequenceCost cost = *session.cost(n);
    const Session::Memory memory = session.memory();
    EXPECT_EQ(cost.kv_bytes, held_bytes(engine_, GetParam(), n)) << n;
    EXPECT_EQ(cost.kv_bytes, memory.kv_held_bytes) << n;
    EXPECT_EQ(memory.kv_budget_bytes, session.cost(kContext)->kv_budget_bytes);
    EXPECT_LE(memory.kv_held_bytes + memory.kv_kept_bytes, memory.kv_budget_bytes) << n;
    options.kv_budget_bytes = std::int64_t{1} << 30;  // room for all that is kept
    for (const bool reuse : {true, false}) {
      options.reuse_prefixes = reuse;
      Session roomy = engine_.session(options);
      engine_.run(roomy, *roomy.open(), engine_.tokens(n, 1));
      EXPECT_EQ(roomy.cost(n)->kv_kept_bytes, roomy.memory().kv_kept_bytes) << n << " " << reuse;
      EXPECT_EQ(roomy.cost(n)->kv_bytes, roomy.memory().kv_held_bytes) << n << " " << reuse;
    }
    options.kv_budget_bytes = 0;
    options.reuse_prefixes = true;
    EXPECT_EQ(cost.state_bytes, memory.state_bytes) << n;
    EXPECT_EQ(cost.checkpoint_bytes, memory.checkpoint_bytes) << n;
    const std::string name = GetParam();
    EXPECT_EQ(cost.state_bytes > 0, name == "qwen35" || name == "lfm2");
    const SequenceCost before = *sequence_cost(engine_.model->description(), n, options);
    EXPECT_EQ(before.total_bytes(), cost.total_bytes()) << n;
    EXPECT_LE(cost.kv_bytes, cost.kv_peak_bytes);
    std::int64_t by_group = 0;
    for (const SequenceCost::Group& group : cost.groups) by_group += group.bytes;
    EXPECT_EQ(by_group, cost.kv_bytes);
  }
}

TEST_P(Cost, RefusesWhatIsNoLength) {
  const ModelDescription& model = engine_.model->description();
  EXPECT_EQ(sequence_cost(model, -1).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(sequence_cost(model, std::int64_t{1} << 62).error().code, ErrorCode::kLimit);
  EXPECT_EQ(sequence_cost(model, 0)->kv_bytes, 0);
  EXPECT_GT(sequence_cost(model, std::int64_t{1} << 40)->kv_bytes, 0);
}

// The peak is enough, and a byte less is refused and said.
TEST_P(Cost, IsWhatForwardAsksFor) {
  for (const std::int64_t n : {1, 64, 65, 700}) {
    SessionOptions options;
    options.max_batch = 100;
    const std::int64_t peak = sequence_cost(engine_.model->description(), n, options)->kv_peak_bytes;
    const std::vector<TokenId> tokens = engine_.tokens(n, 1);
    options.kv_budget_bytes = peak;
    Session enough = engine_.session(options);
    engine_.run(enough, *enough.open(), tokens);
    options.kv_budget_bytes = peak - 1;
    Session short_of = engine_.session(options);
    const BatchItem item{*short_of.open(), tokens, LogitsFor::kLast};
    const Status status = short_of.forward({&item, 1});
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, ErrorCode::kLimit);
    for (const std::int64_t bytes : {peak, peak - 1}) {
      EXPECT_NE(status.error().message.find(std::to_string(bytes)), std::string::npos) << status.error().message;
    }
    EXPECT_EQ(short_of.memory().kv_held_bytes, 0);
  }
}

TEST_P(Cost, AnItemWithoutRoomIsRefusedAloneAndTheOthersStand) {
  SessionOptions options;
  options.max_batch = 100;
  options.max_sequences = 3;
  const std::vector<TokenId> first = engine_.tokens(150, 1), second = engine_.tokens(900, 2),
                             third = engine_.tokens(130, 3);
  const auto peak = [&](std::int64_t n) {
    return sequence_cost(engine_.model->description(), n, options)->kv_peak_bytes;
  };
  options.kv_budget_bytes = peak(150) + peak(130);
  if (peak(900) <= options.kv_budget_bytes - peak(150)) options.kv_budget_bytes = peak(150) + peak(900) - 1;
  Session session = engine_.session(options);
  SequenceId ids[3];
  for (SequenceId& id : ids) id = *session.open();
  const BatchItem items[] = {
      {ids[0], first, LogitsFor::kAll}, {ids[1], second, LogitsFor::kLast}, {ids[2], third, LogitsFor::kAll}};
  const Status status = session.forward(items);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kLimit);
  EXPECT_NE(status.error().message.find("sequence " + std::to_string(ids[1])), std::string::npos);
  ASSERT_EQ(session.item_status().size(), 3u);
  EXPECT_TRUE(session.item_status()[0].ok());
  EXPECT_EQ(session.item_status()[1].error().message, status.error().message);
  EXPECT_TRUE(session.item_status()[2].ok());
  ASSERT_EQ(session.n_logit_rows(), 150 + 1 + 130);
  std::vector<float> got;
  Engine::take_rows(session, 0, 150, got);
  engine_.expect_same(got, engine_.unreleased(first), 0, "the first");
  got.clear();
  Engine::take_rows(session, 151, 130, got);
  engine_.expect_same(got, engine_.unreleased(third), 0, "the third");
  EXPECT_TRUE(session.tokens(ids[1]).empty());
  // When the others have gone there is room.
  session.close(ids[0]);
  session.close(ids[2]);
  const std::vector<TokenId> head(second.begin(), second.begin() + 130);
  engine_.expect_same(engine_.run(session, ids[1], head), engine_.unreleased(second), 0, "the second");
}

INSTANTIATE_TEST_SUITE_P(Models, Cost, testing::Values("llama", "gemma3", "gemma2", "mistral", "qwen35", "lfm2"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace rowmax::engine::sequence_cost_test
