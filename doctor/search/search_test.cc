// The convention search on the trained model that ships with rowmax: what was made wrong, in the file or in the graph, is
// the change that the search finds; and on random weights, which know nothing, it finds nothing.
#include "doctor/search/search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "doctor/test_patient.h"
#include "rowmax/engine/chat.h"
#include "rowmax/engine/sampler.h"
#include "rowmax/engine/session.h"

namespace rowmax::doctor {
namespace {

SearchResult search(TestPatient& test, bool layers = false) {
  SearchOptions options;
  options.layers = layers;
  options.budget_seconds = 1e9;
  auto result = search_conventions(test.patient, options);
  EXPECT_TRUE(result.ok()) << result.error().message;
  return std::move(result).value();
}

TEST(Search, LeavesAHealthyModelAlone) {
  TestPatient test(stories_bytes());
  const SearchResult result = search(test, true);
  EXPECT_TRUE(result.wins.empty()) << edits_text(result.wins.front().variant.edits);
  EXPECT_LT(result.nll, 0.4 * result.chance);
  EXPECT_GT(result.tried.size(), 400U);  // single tensors among them
  EXPECT_EQ(result.n_left_out, 0);
}

struct Fault {
  const char* name;
  engine::Edits edits;             // as an engine would have it wrong
  engine::KeyOverrides overrides;  // as a file would say it wrong
  const char* cause;
};

class SearchFinds : public testing::TestWithParam<Fault> {};

TEST_P(SearchFinds, TheCauseFirst) {
  const Fault& fault = GetParam();
  DoctorOptions options;
  options.model.edits = fault.edits;
  options.model.overrides = fault.overrides;
  TestPatient test(stories_bytes(), options);
  const SearchResult result = search(test);
  ASSERT_FALSE(result.wins.empty()) << "nat a token: " << result.nll;
  EXPECT_EQ(result.wins.front().variant.cause, fault.cause) << edits_text(result.wins.front().variant.edits);
  // Back where the healthy model is.
  EXPECT_LT(result.wins.front().nll, 1.5);
}

INSTANTIATE_TEST_SUITE_P(
    Stories, SearchFinds,
    testing::Values(Fault{"pairing", {{"rope_pairing", "adjacent"}}, {}, "rope_pairing"},
                    Fault{"rows", {{"qk_permutation", "llama"}}, {}, "rope_pairing"},
                    Fault{"activation", {{"ffn_activation", "silu"}}, {}, "activation"},
                    Fault{"sub_norms", {{"sub_norms", "no"}}, {}, "sub_norm"},
                    Fault{"scale", {{"attention_scale", "1"}}, {}, "attention_scale"},
                    Fault{"layout", {{"tensor_layout", "I2_S_64"}}, {}, "ternary_layout"},
                    Fault{"base", {}, {{"bitnet-b1.58.rope.freq_base", "17"}}, "rope_base"},
                    Fault{"bos", {{"add_bos", "false"}, {"rope_pairing", "adjacent"}}, {}, "rope_pairing"}),
    [](const auto& info) { return std::string(info.param.name); });

// Whoever wants no more is asked before every 64 tokens, and whenever some matrices were packed anew.
TEST(Search, CanBeCancelledAnywhere) {
  TestPatient test(stories_bytes());
  const auto text = test.patient.text();
  ASSERT_TRUE(text.ok());
  const auto model = test.patient.model();
  std::int64_t n_asked = 0, n_allowed = 1 << 30;
  const auto step = [&]() -> Status {
    return ++n_asked <= n_allowed ? Status() : Error{ErrorCode::kCancelled, "cancelled"};
  };
  const LossMeter meter(**model, **text, 160, test.executor, step);
  std::int64_t n_pieces = 0;
  for (const TextPiece& piece : **text) n_pieces += (std::min<std::int64_t>(std::ssize(piece.tokens), 160) + 62) / 64;
  ASSERT_TRUE(meter.of({}).ok());
  EXPECT_EQ(n_asked, n_pieces);
  n_asked = 0;
  const engine::Edits repacks = {{"qk_permutation", "llama"}};
  ASSERT_TRUE(meter.of(repacks).ok());
  EXPECT_GT(n_asked, n_pieces + (*model)->shape().n_layer);
  for (n_allowed = 0; n_allowed < 6; ++n_allowed) {
    for (const engine::Edits& edits : {engine::Edits{}, repacks}) {
      n_asked = 0;
      const auto loss = meter.of(edits);
      ASSERT_FALSE(loss.ok());
      EXPECT_EQ(loss.error().code, ErrorCode::kCancelled);
      EXPECT_EQ(n_asked, n_allowed + 1);
    }
  }
}

// The whole search, late too: while it confirms.
TEST(Search, Full_CanBeCancelledToTheEnd) {
  DoctorOptions wrong;
  wrong.model.edits = {{"rope_pairing", "adjacent"}};
  TestPatient test(stories_bytes(), wrong);
  std::int64_t n_all = 0;
  SearchOptions options;
  options.layers = false;
  options.budget_seconds = 1e9;
  options.step = [&](double) -> Status { return ++n_all, Status(); };
  ASSERT_TRUE(search_conventions(test.patient, options).ok());
  for (const std::int64_t at : {std::int64_t{1}, n_all / 2, n_all - 1, n_all}) {
    std::int64_t n = 0;
    options.step = [&](double) -> Status { return ++n < at ? Status() : Error{ErrorCode::kCancelled, "cancelled"}; };
    const auto result = search_conventions(test.patient, options);
    ASSERT_FALSE(result.ok()) << at;
    EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
    EXPECT_EQ(n, at);
  }
}

TEST(Search, SaysNothingOfModelsThatKnowNothing) {
  for (const char* arch : {"llama", "qwen3", "gemma3", "bitnet-b1.58", "qwen35", "qwen3moe"}) {
    for (const std::uint64_t seed : {1, 2}) {
      TestPatient test(random_bytes(arch, seed));
      SearchOptions options;
      options.budget_seconds = 1;
      const SearchResult result = std::move(search_conventions(test.patient, options)).value();
      EXPECT_TRUE(result.wins.empty()) << arch << " " << seed << ": " << edits_text(result.wins.front().variant.edits);
      EXPECT_GT(result.nll, 0.9 * result.chance);
    }
  }
}

// Router rows moved by one, forwards and back: expert e of the router is another one of the tensors.
TEST(Search, FindsRoutersThatAreShiftedEitherWay) {
  for (const bool back : {false, true}) {
    Bytes bytes = file_bytes("tests/golden/doctor/qwen3moe.gguf");
    const auto file = engine::GgufFile::parse(bytes, "moe.gguf");
    ASSERT_TRUE(file.ok());
    int n = 0;
    for (const engine::GgufTensor& tensor : file->tensors()) {
      if (!tensor.name.ends_with("ffn_gate_inp.weight")) continue;
      std::byte* begin = bytes.data() + (tensor.data.data() - bytes.data());
      const auto row = static_cast<std::ptrdiff_t>(tensor.data.size()) / tensor.shape[1];
      const auto size = static_cast<std::ptrdiff_t>(tensor.data.size());
      std::rotate(begin, begin + (back ? size - row : row), begin + size);
      ++n;
    }
    ASSERT_GT(n, 1);
    TestPatient test(std::move(bytes));
    const SearchResult result = search(test);
    ASSERT_FALSE(result.wins.empty()) << back;
    EXPECT_EQ(result.wins.front().variant.cause, "expert_order") << edits_text(result.wins.front().variant.edits);
  }
}

TEST(Search, KeepsToItsBudget) {
  TestPatient test(stories_bytes());
  SearchOptions options;
  options.budget_seconds = 1e-9;
  const auto result = search_conventions(test.patient, options);
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->tried.empty());
  EXPECT_GT(result->n_left_out, 40);
}

TEST(TextLoss, IsTheMeanOverTheTokensBehindTheFirstOnes) {
  TestPatient test(stories_bytes());
  const auto model = test.patient.model();
  const auto text = test.patient.text();
  ASSERT_TRUE(model.ok() && text.ok());
  const std::vector<TextPiece> pieces = {(*text)->at(0), (*text)->at(6), (*text)->at(7)};
  ASSERT_EQ(pieces[1].kind, "story");
  const LossMeter meter(**model, pieces, 50, test.executor);
  const auto loss = meter.of({});
  ASSERT_TRUE(loss.ok());
  ASSERT_EQ(loss->parts.size(), 2U);  // prose and stories
  // The definition: the whole part at once, tokens from the ninth on.
  engine::SessionOptions options;
  auto session = engine::Session::create(**model, options, test.executor);
  double sum = 0;
  for (const std::size_t p : {1U, 2U}) {
    const std::vector<engine::TokenId> tokens(pieces[p].tokens.begin(), pieces[p].tokens.begin() + 50);
    const engine::SequenceId sequence = *session->open();
    const engine::BatchItem item{sequence, tokens, engine::LogitsFor::kAll};
    ASSERT_TRUE(session->forward({&item, 1}).ok());
    for (std::size_t i = 8; i < 50; ++i) {
      sum -= engine::log_probability(session->logits(static_cast<std::int64_t>(i - 1)), tokens[i]);
    }
    session->close(sequence);
  }
  EXPECT_EQ(loss->tokens[1].size(), 84U);
  EXPECT_NEAR(loss->parts[1], sum / 84, 1e-12);
  EXPECT_EQ(loss->best_part(), 1U);  // a story
}

TEST(TextLoss, GainAndItsError) {
  const TextLoss base{{3, 5}, {}, {{2, 3, 4}, {5, 5, 5}}};
  const TextLoss other{{2, 6}, {}, {{1, 1, 4}, {6, 6, 6}}};
  const Gain gain = gain_of(base, other);
  EXPECT_DOUBLE_EQ(gain.nats, 1);
  // Differences 1, 2, 0: mean 1, standard deviation 1, of the mean 1/sqrt(3).
  EXPECT_NEAR(gain.sigmas, std::sqrt(3.0), 1e-12);
  EXPECT_LT(gain_of(base, {{4, 6}, {}, {{4, 4, 4}, {6, 6, 6}}}).nats, 0);
  EXPECT_TRUE(std::isinf(gain_of({{INFINITY}, {}, {{}}}, {{2}, {}, {{2}}}).nats));
}

}  // namespace
}  // namespace rowmax::doctor
