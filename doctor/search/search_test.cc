// The convention search on the trained model that ships with rowmax: what was made wrong, in the file or in the graph, is
// the change that the search finds; and on random weights, which know nothing, it finds nothing.
#include "doctor/search/search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include "doctor/checks/patient_test_util.h"
#include "doctor/test_patient.h"
#include "engine/quant/format.h"
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

// Parts of a tensor's bytes in another order.
void move_parts(Bytes& bytes, const std::string& suffix,
                const std::function<std::size_t(std::size_t, std::size_t)>& from) {
  const auto file = engine::GgufFile::parse(bytes, "moe.gguf");
  ASSERT_TRUE(file.ok());
  const Bytes before = bytes;
  for (const engine::GgufTensor& tensor : file->tensors()) {
    if (!tensor.name.ends_with(suffix)) continue;
    const auto begin = static_cast<std::size_t>(tensor.data.data() - bytes.data());
    const auto n = static_cast<std::size_t>(tensor.shape.back());
    const std::size_t size = tensor.data.size() / n;
    for (std::size_t i = 0; i < n; ++i) {
      std::memcpy(bytes.data() + begin + i * size, before.data() + begin + from(i, n) * size, size);
    }
  }
}

TEST(Search, FindsExpertsInAnotherOrder) {
  const auto reversed = [](std::size_t e, std::size_t n) { return n - 1 - e; };
  const auto shifted = [](std::size_t e, std::size_t n) { return (e + n - 2) % n; };
  Bytes all = file_bytes("tests/golden/doctor/qwen3moe.gguf"), up = all;
  for (const char* kind : {"ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight"}) {
    move_parts(all, kind, reversed);
  }
  move_parts(up, "ffn_up_exps.weight", shifted);
  for (Bytes* bytes : {&all, &up}) {
    TestPatient test(std::move(*bytes));
    const SearchResult result = search(test);
    ASSERT_FALSE(result.wins.empty());
    EXPECT_EQ(result.wins.front().variant.cause, "expert_order") << edits_text(result.wins.front().variant.edits);
    EXPECT_LT(result.wins.front().nll, 1.5);
  }
}

TEST(Search, FindsATensorOfADistantLayer) {
  Bytes bytes = file_bytes("tests/golden/doctor/qwen2.gguf");
  std::ranges::swap_ranges(testing_util::tensor_bytes(bytes, "blk.0.attn_q.bias"),
                           testing_util::tensor_bytes(bytes, "blk.2.attn_q.bias"));
  TestPatient test(std::move(bytes));
  const SearchResult result = search(test, true);
  ASSERT_FALSE(result.wins.empty());
  EXPECT_EQ(edits_text(result.wins.front().variant.edits), "exchange=blk.0.attn_q.bias:blk.2.attn_q.bias");
  EXPECT_EQ(result.wins.front().variant.cause, "weight_swapped");
}

// Two kinds of one shape, in all layers that have them; what is a convention of its own is not tried twice.
TEST(Search, ExchangesKindsInAllLayers) {
  TestPatient test(file_bytes("tests/golden/doctor/qwen35.gguf"));
  const auto model = test.patient.model();
  ASSERT_TRUE(model.ok());
  const auto facts = engine::editable_facts((*model)->file(), {}, nullptr);
  ASSERT_TRUE(facts.ok());
  std::vector<std::string> tried;
  for (const Variant& variant : stem_variants(*facts, (*model)->file(), (*model)->shape().n_layer)) {
    tried.push_back(edits_text(variant.edits));
  }
  std::string pairs;
  for (const char* layer : {"blk.0.", "blk.1.", "blk.2."}) {
    pairs += (pairs.empty() ? "" : ",") + std::string(layer) + "ssm_alpha.weight:" + layer + "ssm_beta.weight";
  }
  EXPECT_EQ(std::ranges::count(tried, "exchange=" + pairs), 1);
  EXPECT_EQ(std::ranges::count_if(
                tried, [](const std::string& text) { return text.find("ffn_gate.weight:blk.0.ffn_up.") != text.npos; }),
            0);
}

TEST(Search, FindsATransposedEmbedding) {
  const Bytes sound = file_bytes("tests/golden/doctor/qwen2.gguf");
  testing_util::Rewrite rewrite;
  rewrite.drop_tensor = [](std::string_view name) { return name == "token_embd.weight"; };
  rewrite.add = [&](engine::GgufWriter& writer) {
    const auto file = engine::GgufFile::parse(sound, "m.gguf");
    const engine::GgufTensor* tensor = file->find_tensor("token_embd.weight");
    const auto n_col = static_cast<std::size_t>(tensor->shape[0]), n_row = static_cast<std::size_t>(tensor->shape[1]);
    std::vector<float> row(n_col), turned(n_row * n_col);
    for (std::size_t i = 0; i < n_row; ++i) {
      engine::decode_row(*tensor->format, tensor->data, static_cast<std::int64_t>(i), tensor->shape[0], row.data());
      for (std::size_t j = 0; j < n_col; ++j) turned[j * n_row + i] = row[j];
    }
    const auto bytes = std::as_bytes(std::span(turned));
    writer.add_tensor("token_embd.weight", 0 /* F32 */, tensor->shape, {bytes.begin(), bytes.end()});
  };
  TestPatient test(testing_util::rewritten(sound, rewrite));
  const SearchResult result = search(test, true);
  ASSERT_FALSE(result.wins.empty());
  EXPECT_EQ(result.wins.front().variant.cause, "weight_transposed") << edits_text(result.wins.front().variant.edits);
  EXPECT_EQ(result.wins.front().variant.place.tensor, "token_embd.weight");
}

// Every ternary matrix of the story model, bytes and scale.
Bytes stories_with(const std::function<void(std::span<std::byte> codes, std::byte* scale)>& change) {
  Bytes bytes = stories_bytes();
  const auto file = engine::GgufFile::parse(bytes, "stories.gguf");
  EXPECT_TRUE(file.ok());
  for (const engine::GgufTensor& tensor : file->tensors()) {
    if (tensor.format->tail_bytes == 0) continue;
    std::byte* begin = bytes.data() + (tensor.data.data() - bytes.data());
    const std::size_t n = tensor.data.size() - 32;
    change({begin, n}, begin + n);
  }
  return bytes;
}

TEST(Search, FindsOneScaleForTernaryMatricesThatLostTheirs) {
  const float one = 1;
  TestPatient test(stories_with([&](std::span<std::byte>, std::byte* scale) { std::memcpy(scale, &one, sizeof one); }));
  const SearchResult result = search(test);
  ASSERT_FALSE(result.wins.empty());
  EXPECT_EQ(result.wins.front().variant.cause, "ternary_scale") << edits_text(result.wins.front().variant.edits);
}

TEST(Search, FindsCodesFromTheLowBitsOn) {
  TestPatient test(stories_with([](std::span<std::byte> codes, std::byte*) {
    for (std::byte& byte : codes) {
      const auto b = std::to_integer<unsigned>(byte);
      byte = static_cast<std::byte>((b & 3) << 6 | (b >> 2 & 3) << 4 | (b >> 4 & 3) << 2 | b >> 6);
    }
  }));
  const SearchResult result = search(test);
  ASSERT_FALSE(result.wins.empty());
  EXPECT_EQ(edits_text(result.wins.front().variant.edits), "ternary_bits=low_first");
}

// A copy of the file without or with other tensors and keys.
Bytes changed(
    const char* path, const std::function<bool(std::string_view key)>& drop_key,
    const std::function<bool(const engine::GgufTensor& tensor, Bytes& bytes)>& change,
    const std::function<void(engine::GgufWriter& writer)>& add = [](engine::GgufWriter&) {}) {
  const Bytes bytes = file_bytes(path);
  const auto file = engine::GgufFile::parse(bytes, "m.gguf");
  engine::GgufWriter writer;
  for (const auto& [key, value] : file->metadata()) {
    if (!drop_key(key)) writer.set_value(std::string(key), value);
  }
  for (const engine::GgufTensor& tensor : file->tensors()) {
    Bytes data(tensor.data.begin(), tensor.data.end());
    if (change(tensor, data)) writer.add_tensor(std::string(tensor.name), tensor.type, tensor.shape, std::move(data));
  }
  add(writer);
  return std::move(writer.bytes()).value();
}
bool no_key(std::string_view) { return false; }
bool as_it_is(const engine::GgufTensor&, Bytes&) { return true; }

void expect_found(const Bytes& bytes, std::string_view cause, std::string_view edit) {
  TestPatient test(bytes);
  const SearchResult result = search(test);
  ASSERT_FALSE(result.wins.empty()) << "nat a token: " << result.nll;
  EXPECT_EQ(result.wins.front().variant.cause, cause) << edits_text(result.wins.front().variant.edits);
  EXPECT_EQ(result.wins.front().variant.edits.front().first, edit);
  EXPECT_LT(result.wins.front().nll, 0.3 * result.chance);
}

TEST(Search, FindsLlama3FactorsThatAreLost) {
  expect_found(changed("tests/golden/doctor/llama.gguf", no_key,
                       [](const engine::GgufTensor& tensor, Bytes&) { return tensor.name != "rope_freqs.weight"; }),
               "rope_scaling", "rope_factors");
}

TEST(Search, FindsTheScaleOfGlobalLayersAlone) {
  expect_found(changed(
                   "tests/golden/doctor/gemma3.gguf",
                   [](std::string_view key) { return key.starts_with("gemma3.rope.scaling."); }, as_it_is),
               "rope_scaling", "rope_scale_global");
}

TEST(Search, FindsKvHeadsInAnotherOrder) {
  expect_found(changed("tests/golden/doctor/qwen2.gguf", no_key,
                       [](const engine::GgufTensor& tensor, Bytes& bytes) {
                         const auto half = static_cast<std::ptrdiff_t>(bytes.size() / 2);
                         const bool kv = tensor.name.find("attn_k.") != std::string_view::npos ||
                                         tensor.name.find("attn_v.") != std::string_view::npos;
                         if (kv) std::rotate(bytes.begin(), bytes.begin() + half, bytes.end());
                         return true;
                       }),
               "head_mapping", "kv_heads");
}

TEST(Search, FindsAWrongNumberOfHeads) {
  expect_found(changed(
                   "tests/golden/doctor/qwen2.gguf",
                   [](std::string_view key) { return key.starts_with("qwen2.attention.head_count"); }, as_it_is,
                   [](engine::GgufWriter& writer) {
                     writer.set_uint32("qwen2.attention.head_count", 2);
                     writer.set_uint32("qwen2.attention.head_count_kv", 1);
                   }),
               "head_mapping", "head_count");
}

// 64 of q, 64 of k, 128 of v: stored as v, q, k.
TEST(Search, FindsTheConvolutionsChannelsInAnotherOrder) {
  expect_found(changed("tests/golden/doctor/qwen35.gguf", no_key,
                       [](const engine::GgufTensor& tensor, Bytes& bytes) {
                         const auto half = static_cast<std::ptrdiff_t>(bytes.size() / 2);
                         if (tensor.name.ends_with("ssm_conv1d.weight")) {
                           std::rotate(bytes.begin(), bytes.begin() + half, bytes.end());
                         }
                         return true;
                       }),
               "conv", "conv_channels");
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

// What cannot be better any more is given up; the answer is that of the whole text wherever it is better.
TEST(TextLoss, GivesUpOnlyWhatIsWorse) {
  TestPatient test(stories_bytes());
  const auto model = test.patient.model();
  const auto text = test.patient.text();
  ASSERT_TRUE(model.ok() && text.ok());
  std::int64_t n_asked = 0;  // before every 64 tokens
  const LossMeter meter(**model, **text, 160, test.executor, [&] { return ++n_asked, Status(); });
  const auto asked = [&] { return std::exchange(n_asked, 0); };
  const auto base = meter.of({});
  ASSERT_TRUE(base.ok());
  asked();
  int n_given_up = 0, n_better = 0;
  for (const engine::Edits& edits : {engine::Edits{},
                                     {{"attention_scale", "0.1"}},
                                     {{"rope_pairing", "adjacent"}},
                                     {{"norm_kind", "layer"}},
                                     {{"add_bos", "false"}}}) {
    const auto all = meter.of(edits);
    const std::int64_t n_whole = asked();
    for (const double to_beat : {0.5 * base->best(), base->best(), 3 * base->best()}) {
      const auto some = meter.of(edits, to_beat);
      ASSERT_TRUE(all.ok() && some.ok());
      EXPECT_LT(asked(), n_whole) << edits.size();
      ASSERT_EQ(some->parts.size(), 3U);
      for (std::size_t p = 0; p < 3; ++p) {
        if (all->parts[p] <= to_beat) {
          EXPECT_EQ(some->parts[p], all->parts[p]);
          EXPECT_EQ(some->tokens[p], all->tokens[p]);
          ++n_better;
        } else {
          EXPECT_GT(some->parts[p], to_beat);
          ++n_given_up;
        }
      }
    }
  }
  EXPECT_GT(n_given_up, 20);
  EXPECT_GT(n_better, 3);
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
