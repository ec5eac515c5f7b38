// The items of one batch stand on their own: a logit that is not finite fails its item alone, drafts are nobody else's
// before they are confirmed, and their logits are those of tokens.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "rowmax/engine/generate.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine::session_items_test {
namespace {

constexpr TokenId kPoison = 77;

void set(std::vector<std::byte>& bytes, const GgufFile& file, const char* name, std::size_t index, float value) {
  const GgufTensor* tensor = file.find_tensor(name);
  ASSERT_NE(tensor, nullptr) << name;
  std::memcpy(bytes.data() + (tensor->data.data() - bytes.data()) + index * sizeof value, &value, sizeof value);
}

// A model whose logits are finite unless a row belongs to kPoison: that one's embedding points along dimension 0 alone,
// which makes its normalised entry there 8, the largest possible; times the norm's weight it leaves f32's range. For the
// others it does not, and the head gives the dimension the weight zero.
std::vector<std::byte> poisoned_model(const std::string& arch) {
  tools::SyntheticSpec spec;
  spec.arch = arch;
  spec.untied = true;
  auto bytes = tools::synthetic_model_bytes(spec);
  EXPECT_TRUE(bytes.ok()) << bytes.error().message;
  auto file = GgufFile::parse(*bytes, "synthetic");
  EXPECT_TRUE(file.ok());
  const std::size_t embd = 64;
  for (std::size_t d = 0; d < embd; ++d) {
    set(*bytes, *file, "token_embd.weight", kPoison * embd + d, d == 0 ? 1e6f : 0);
  }
  set(*bytes, *file, arch == "lfm2" ? "token_embd_norm.weight" : "output_norm.weight", 0, 7.5e37f);
  const std::size_t n_vocab = file->find_tensor("output.weight")->data.size() / sizeof(float) / embd;
  for (std::size_t id = 0; id < n_vocab; ++id) set(*bytes, *file, "output.weight", id * embd, 0);
  return std::move(bytes).value();
}

struct Engine {
  SerialExecutor executor;
  std::unique_ptr<Model> model;
  std::unique_ptr<Session> session;

  explicit Engine(const std::vector<std::byte>& bytes) {
    ModelOptions options;
    options.isa = supported_isas().back();
    options.activations = Activations::kF32;
    auto loaded = Model::load(std::move(GgufFile::parse(bytes, "synthetic")).value(), options, executor);
    EXPECT_TRUE(loaded.ok()) << loaded.error().message;
    model = std::make_unique<Model>(std::move(loaded).value());
    SessionOptions session_options;
    session_options.max_sequences = 4;
    session = std::make_unique<Session>(std::move(Session::create(*model, session_options, executor)).value());
  }
  std::vector<float> rows(std::int64_t first, std::int64_t n) const {
    std::vector<float> all;
    for (std::int64_t row = first; row < first + n; ++row) {
      all.insert(all.end(), session->logits(row).begin(), session->logits(row).end());
    }
    return all;
  }
  std::vector<float> run(SequenceId sequence, std::vector<TokenId> tokens, std::int64_t n_draft = 0) {
    const BatchItem item{sequence, tokens, LogitsFor::kAll, n_draft};
    const Status status = session->forward({&item, 1});
    EXPECT_TRUE(status.ok()) << status.error().message;
    return rows(0, session->n_logit_rows());
  }
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return !a.empty() && a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<TokenId> some_tokens(int n, int seed) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < n; ++i) tokens.push_back(100 + (i * 37 + seed * 11) % 150);
  return tokens;
}

class Items : public testing::TestWithParam<const char*> {};

TEST_P(Items, ANonFiniteLogitFailsItsItemAlone) {
  const std::vector<std::byte> bytes = poisoned_model(GetParam());
  Engine engine(bytes), alone(bytes);
  Session& session = *engine.session;
  std::vector<SequenceId> ids;
  std::vector<std::vector<TokenId>> heads = {some_tokens(70, 1), some_tokens(75, 2), some_tokens(3, 3)};
  for (int i = 0; i < 3; ++i) {
    ids.push_back(*session.open());
    ASSERT_EQ(*alone.session->open(), ids.back());
    EXPECT_TRUE(same_bits(engine.run(ids.back(), heads[i]), alone.run(ids.back(), heads[i])));
  }
  const std::vector<TokenId> first = {110, 120, 130}, poisoned = {111, kPoison}, third = {112};
  const BatchItem items[] = {
      {ids[0], first, LogitsFor::kAll}, {ids[1], poisoned, LogitsFor::kLast}, {ids[2], third, LogitsFor::kLast}};
  const Status status = session.forward(items);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kNumericFault);
  EXPECT_NE(status.error().message.find("sequence " + std::to_string(ids[1]) + ", position 76"), std::string::npos)
      << status.error().message;
  ASSERT_EQ(session.item_status().size(), 3u);
  EXPECT_TRUE(session.item_status()[0].ok());
  EXPECT_EQ(session.item_status()[1].error().message, status.error().message);
  EXPECT_TRUE(session.item_status()[2].ok());
  ASSERT_EQ(session.n_logit_rows(), 5);
  EXPECT_TRUE(same_bits(engine.rows(0, 3), alone.run(ids[0], first)));
  EXPECT_TRUE(same_bits(engine.rows(4, 1), alone.run(ids[2], third)));
  EXPECT_EQ(session.tokens(ids[0]).size(), 73u);
  EXPECT_EQ(session.tokens(ids[2]).size(), 4u);
  // The failed one holds a beginning of what it held (all of it, where there is no recurrent state), and all go on.
  const std::size_t held = session.tokens(ids[1]).size();
  EXPECT_EQ(held, GetParam() == std::string("llama") ? 75u : 64u);
  EXPECT_TRUE(std::equal(heads[1].begin(), heads[1].begin() + held, session.tokens(ids[1]).begin()));
  engine.run(ids[1], {heads[1].begin() + held, heads[1].end()});
  for (TokenId next = 140; next < 145; ++next) {
    const std::vector<TokenId> token = {next};
    std::vector<BatchItem> all;
    for (const SequenceId id : ids) all.push_back({id, token, LogitsFor::kLast});
    ASSERT_TRUE(session.forward(all).ok());
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(same_bits(engine.rows(i, 1), alone.run(ids[i], token))) << i;
  }
}

TEST_P(Items, AloneOrAllTogetherTheyFailAsOne) {
  const std::vector<std::byte> bytes = poisoned_model(GetParam());
  Engine engine(bytes);
  Session& session = *engine.session;
  const SequenceId a = *session.open(), b = *session.open();
  const std::vector<TokenId> poisoned = {111, kPoison}, unknown = {-5};
  const BatchItem both[] = {{a, poisoned, LogitsFor::kLast}, {b, poisoned, LogitsFor::kLast}};
  for (const std::size_t n : {1u, 2u}) {
    const Status status = session.forward(std::span(both).first(n));
    ASSERT_FALSE(status.ok());
    EXPECT_NE(status.error().message.find("sequence " + std::to_string(a) + ", position 1"), std::string::npos);
    EXPECT_EQ(session.item_status().size(), n);
    EXPECT_EQ(session.n_logit_rows(), 0);
    EXPECT_TRUE(session.tokens(a).empty());
    EXPECT_TRUE(session.tokens(b).empty());
  }
  const BatchItem wrong[] = {{a, unknown, LogitsFor::kLast}, {b, poisoned, LogitsFor::kLast}};
  ASSERT_FALSE(session.forward(wrong).ok());
  EXPECT_TRUE(session.item_status().empty());  // as a whole
  EXPECT_TRUE(session.tokens(b).empty());
}

TEST_P(Items, ADraftHasTheBitsOfATokenAndItsLogitsFailNothing) {
  const std::vector<std::byte> bytes = poisoned_model(GetParam());
  Engine engine(bytes), alone(bytes);
  Session& session = *engine.session;
  const SequenceId a = *session.open(), b = *alone.session->open();
  const std::vector<TokenId> head = some_tokens(70, 1), drafted = {101, 102, 103, 104, kPoison};
  engine.run(a, head);
  alone.run(b, head);
  const BatchItem item{a, drafted, LogitsFor::kLast, 3};  // tokens 101 and 102, drafts 103, 104 and the bad one
  ASSERT_EQ(n_logit_rows(item), 4);
  ASSERT_TRUE(session.forward({&item, 1}).ok());
  ASSERT_EQ(session.n_logit_rows(), 4);
  const std::vector<float> got = engine.rows(0, 3);
  std::vector<float> want = alone.run(b, {101, 102, 103, 104});
  want.erase(want.begin(), want.begin() + engine.model->shape().n_vocab);
  EXPECT_TRUE(same_bits(got, want));
  EXPECT_NE(session.logits(3)[0], session.logits(3)[0]);  // NaN
  // Taken back up to the first draft: a recurrent state goes back to before the last token that is none.
  ASSERT_EQ(*session.truncate(a, 73), GetParam() == std::string("llama") ? 73 : 71);
  const std::vector<TokenId> rest = {102, 103, 104};
  const std::size_t held = session.tokens(a).size();
  const std::vector<float> again = engine.run(a, {rest.begin() + (held - 71), rest.end()});
  EXPECT_TRUE(same_bits({again.end() - engine.model->shape().n_vocab, again.end()},
                        {want.end() - engine.model->shape().n_vocab, want.end()}));
}

// Generations in one batch, one of which meets the bad token in its prompt, another as a draft.
TEST_P(Items, AGenerationThatFailsLeavesTheOthersAsTheyAre) {
  const std::vector<std::byte> bytes = poisoned_model(GetParam());
  Engine engine(bytes), alone(bytes);
  Session& session = *engine.session;
  GenerationOptions options;
  options.max_tokens = 9;
  options.ignore_eos = true;
  std::vector<std::vector<TokenId>> prompts = {some_tokens(40, 1), some_tokens(20, 2), some_tokens(66, 3)};
  prompts[1].push_back(kPoison);
  std::vector<Generation> running;
  for (int i = 0; i < 3; ++i) {
    running.push_back(std::move(Generation::start(session, *session.open(), prompts[i], options)).value());
  }
  while (!running[0].done() || !running[2].done()) {
    ASSERT_TRUE(running[2].propose(std::vector<TokenId>{kPoison, 5}).ok());
    std::vector<BatchItem> items;
    for (Generation& g : running) {
      if (!g.done()) items.push_back(*g.pending());
    }
    EXPECT_EQ(session.forward(items).error().code, ErrorCode::kNumericFault);
    ASSERT_EQ(session.item_status().size(), 3u);
    EXPECT_EQ(items[1].tokens.size(), 21u);  // again and again
    EXPECT_FALSE(session.item_status()[1].ok());
    ASSERT_TRUE(running[0].accept(session.logits(0)).ok());
    ASSERT_TRUE(running[2].accept(session.logits(2)).ok());
  }
  for (const int i : {0, 2}) {
    GenerateOptions same;
    same.max_tokens = options.max_tokens;
    same.ignore_eos = true;
    const auto want = generate(*alone.session, *alone.session->open(), prompts[i], same);
    ASSERT_TRUE(want.ok());
    EXPECT_TRUE(std::ranges::equal(want->tokens, running[i].tokens())) << i;
    EXPECT_EQ(want->tokens.size(), 9u);
  }
  const auto failed = generate(*alone.session, *alone.session->open(), prompts[1], {});
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::kNumericFault);
}

INSTANTIATE_TEST_SUITE_P(Models, Items, testing::Values("llama", "qwen35", "lfm2"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Drafts, NoOtherSequenceFindsTheirPageBeforeTheyAreConfirmed) {
  const std::vector<std::byte> bytes = poisoned_model("llama");
  Engine engine(bytes);
  Session& session = *engine.session;
  const SequenceId a = *session.open(), b = *session.open();
  std::vector<TokenId> tokens = some_tokens(150, 4);
  const auto found = [&] {
    const std::int64_t n = *session.reuse(b, tokens);
    EXPECT_EQ(*session.truncate(b, 0), 0);
    return n;
  };
  engine.run(a, {tokens.begin(), tokens.begin() + 60});
  engine.run(a, {tokens.begin() + 60, tokens.begin() + 70}, 8);  // 62 tokens, 8 drafts over the edge of the page
  EXPECT_EQ(found(), 62);
  ASSERT_TRUE(session.confirm(a, 63).ok());
  EXPECT_EQ(found(), 63);
  ASSERT_TRUE(session.confirm(a, 64).ok());
  EXPECT_EQ(found(), 64);
  // What is appended behind drafts confirms them; drafts alone confirm nothing.
  engine.run(a, {tokens.begin() + 70, tokens.begin() + 130}, 60);
  EXPECT_EQ(found(), 64);
  engine.run(a, {tokens.begin() + 130, tokens.begin() + 131});
  EXPECT_EQ(found(), 131);
  // Drafts that were taken back are not found either, nor what is put in their place before it is confirmed.
  session.close(a);
  session.close(b);
  const SequenceId c = *session.open(), d = *session.open();
  tokens = some_tokens(150, 5);
  engine.run(c, {tokens.begin(), tokens.begin() + 70}, 10);
  ASSERT_EQ(*session.truncate(c, 61), 61);
  EXPECT_EQ(*session.reuse(d, tokens), 60);
  engine.run(c, {tokens.begin() + 61, tokens.begin() + 66}, 5);
  EXPECT_EQ(*session.reuse(d, tokens), 60);
  EXPECT_EQ(session.confirm(c, 67).error().code, ErrorCode::kInvalidArgument);
  EXPECT_FALSE(session.confirm(c, -1).ok());
  EXPECT_FALSE(session.confirm(3, 0).ok());
  const BatchItem wrong{c, tokens, LogitsFor::kLast, 151};
  EXPECT_NE(session.forward({&wrong, 1}).error().message.find("n_draft"), std::string::npos);
}

}  // namespace
}  // namespace rowmax::engine::session_items_test
