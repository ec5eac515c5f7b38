// Padding changes nothing: losses of texts in rectangles, padded on either side with anything, have the bits that each
// text has alone, and those of plain forward() calls.

#include "rowmax/engine/padded_batch.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <memory>
#include <string>

#include "rowmax/engine/sampler.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine::padded_batch_test {
namespace {

constexpr std::int64_t kContext = 128;

struct Engine {
  explicit Engine(const std::string& arch) {
    bytes = std::move(tools::synthetic_model_bytes(tools::odd_spec(arch))).value();
    ModelOptions loading;
    loading.isa = supported_isas().back();
    model = std::make_unique<Model>(
        std::move(Model::load(std::move(GgufFile::parse(bytes, "m.gguf")).value(), loading, executor)).value());
    SessionOptions options;
    options.context = kContext;
    options.max_sequences = 8;
    session = std::make_unique<Session>(std::move(Session::create(*model, options, executor)).value());
  }
  std::vector<std::byte> bytes;
  SerialExecutor executor;
  std::unique_ptr<Model> model;
  std::unique_ptr<Session> session;
};

using Text = std::vector<TokenId>;

// Longer than odd_spec's window of 37 and its page of 64; one token; none.
std::vector<Text> texts() {
  std::vector<Text> made;
  for (const int n : {5, 90, 1, 0, 41, 2, 64}) {
    Text text;
    for (int i = 0; i < n; ++i) text.push_back(static_cast<TokenId>((7 + 13 * i + n * (i % 5)) % 400));
    made.push_back(std::move(text));
  }
  return made;
}

struct Rectangle {
  Rectangle(std::span<const Text> texts, bool left, TokenId pad) {
    for (const Text& text : texts) width = std::max(width, std::ssize(text) + 2);  // a column of padding for all
    for (const Text& text : texts) {
      const auto n_pad = static_cast<std::size_t>(width) - text.size();
      const auto put = [&](std::size_t n, std::uint8_t value) { mask.insert(mask.end(), n, value); };
      if (left) ids.insert(ids.end(), n_pad, pad), put(n_pad, 0);
      ids.insert(ids.end(), text.begin(), text.end());
      put(text.size(), 1);
      if (!left) ids.insert(ids.end(), n_pad, pad), put(n_pad, 0);
    }
  }
  PaddedBatch batch() const { return {ids, mask, width}; }
  std::vector<TokenId> ids;
  std::vector<std::uint8_t> mask;
  std::int64_t width = 0;
};

// By definition: one forward() of the whole text, then the log probability of each next token.
std::vector<double> plain(Session& session, const Text& text) {
  std::vector<double> values;
  if (text.size() < 2) return values;
  const SequenceId id = *session.open();
  const BatchItem item{id, text, LogitsFor::kAll};
  EXPECT_TRUE(session.forward({&item, 1}).ok());
  for (std::size_t i = 0; i + 1 < text.size(); ++i) {
    values.push_back(log_probability(session.logits(static_cast<std::int64_t>(i)), text[i + 1]));
  }
  session.close(id);
  return values;
}

void expect_same(std::span<const double> got, std::span<const double> want, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint64_t>(got[i]), std::bit_cast<std::uint64_t>(want[i])) << what << ", token " << i;
    EXPECT_TRUE(std::isfinite(got[i])) << what;
  }
}

class Padding : public testing::TestWithParam<const char*> {};

TEST_P(Padding, ChangesNoBit) {
  Engine engine(GetParam());
  const std::vector<Text> all = texts();
  std::vector<std::vector<double>> want;
  for (const Text& text : all) want.push_back(plain(*engine.session, text));
  for (std::size_t size = 1; size <= 5; ++size) {
    for (std::size_t first = 0; first < all.size(); first += size) {
      const auto part = std::span(all).subspan(first, std::min(size, all.size() - first));
      const std::vector<std::span<const TokenId>> views(part.begin(), part.end());
      for (int mode = 0; mode < 4; ++mode) {
        const std::string what =
            "batches of " + std::to_string(size) + " from " + std::to_string(first) + ", mode " + std::to_string(mode);
        const Rectangle left(part, true, 3), right(part, false, 3), wild(part, true, -77);
        const auto scores = mode == 0   ? score_texts(*engine.session, views)
                            : mode == 1 ? score_padded(*engine.session, left.batch())
                            : mode == 2 ? score_padded(*engine.session, right.batch())
                                        : score_padded(*engine.session, wild.batch());
        ASSERT_TRUE(scores.ok()) << what << scores.error().message;
        ASSERT_EQ(scores->size(), part.size());
        for (std::size_t i = 0; i < part.size(); ++i) {
          const TextScore& score = (*scores)[i];
          EXPECT_TRUE(score.status.ok());
          EXPECT_EQ(score.n_tokens, std::ssize(part[i]));
          EXPECT_EQ(score.n_scored, std::ssize(want[first + i]));
          expect_same(score.log_probs, want[first + i], what + ", text " + std::to_string(i));
          EXPECT_EQ(std::isnan(score.nll), part[i].size() < 2) << what;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Padding, testing::Values("llama", "gemma3", "bitnet-b1.58", "qwen35", "lfm2"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& letter : name)
                             letter = std::isalnum(static_cast<unsigned char>(letter)) ? letter : '_';
                           return name;
                         });

TEST(Unpad, GivesViewsOfTheTexts) {
  const std::vector<TokenId> ids = {9, 9, 1, 2, 3, 9, 9, 9, 9, 9, 9, 9, 4, 5, 6, 7};
  const std::vector<std::uint8_t> mask = {0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1};
  const SequenceId sequences[] = {5, 6, 7, 8};
  const auto items = unpad({ids, mask, 4}, sequences, LogitsFor::kAll);
  ASSERT_TRUE(items.ok());
  ASSERT_EQ(items->size(), 4u);
  EXPECT_EQ((*items)[0].tokens.data(), ids.data() + 2);
  EXPECT_EQ((*items)[0].tokens.size(), 2u);
  EXPECT_EQ((*items)[1].tokens.data(), ids.data() + 4);
  EXPECT_EQ((*items)[1].tokens.size(), 1u);
  EXPECT_TRUE((*items)[2].tokens.empty());
  EXPECT_EQ(n_logit_rows((*items)[2]), 0);
  EXPECT_EQ((*items)[3].tokens.size(), 4u);
  EXPECT_EQ((*items)[3].sequence, 8);
  EXPECT_EQ((*items)[3].logits, LogitsFor::kAll);
}

// What comes out of unpad() goes into forward() as it is, rows without tokens too.
TEST(Unpad, ItsItemsCanBeComputed) {
  Engine engine("llama");
  const Rectangle left(texts(), true, 0);
  std::vector<SequenceId> sequences;
  for (std::size_t i = 0; i < texts().size(); ++i) sequences.push_back(*engine.session->open());
  const auto items = unpad(left.batch(), sequences);
  ASSERT_TRUE(items.ok());
  ASSERT_TRUE(engine.session->forward(*items).ok());
  EXPECT_EQ(engine.session->n_logit_rows(), 6);  // of seven texts one has no tokens
}

TEST(Unpad, RefusesWhatIsNoPadding) {
  const std::vector<TokenId> ids(8, 1);
  const SequenceId sequences[] = {0, 1};
  const auto says = [&](const std::vector<std::uint8_t>& mask, std::int64_t width, std::size_t n) -> std::string {
    const auto items = unpad({ids, mask, width}, std::span(sequences).first(n));
    if (items.ok()) return "fine";
    EXPECT_EQ(items.error().code, ErrorCode::kInvalidArgument);
    return items.error().message;
  };
  EXPECT_NE(says({1, 1, 1, 1, 1, 0, 1, 1}, 4, 2).find("row 1, column 2: a token behind a hole"), std::string::npos);
  EXPECT_NE(says({1, 1, 2, 1, 1, 1, 1, 1}, 4, 2).find("row 0, column 2: expected 0 or 1"), std::string::npos);
  EXPECT_NE(says({1, 1, 1, 1, 1, 1, 1}, 4, 2).find("as many ids"), std::string::npos);
  EXPECT_NE(says({1, 1, 1, 1, 1, 1, 1, 1}, 3, 2).find("whole rows of 3"), std::string::npos);
  EXPECT_NE(says({1, 1, 1, 1, 1, 1, 1, 1}, 4, 1).find("each of the 2 rows"), std::string::npos);
  EXPECT_EQ(says({1, 1, 1, 1, 0, 0, 0, 0}, 4, 2), "fine");
}

TEST(ScorePadded, ATextLongerThanTheContextIsNamed) {
  Engine engine("llama");
  const std::vector<Text> both = {Text(3, 5), Text(kContext + 1, 5)};
  const auto scores = score_padded(*engine.session, Rectangle(both, true, 0).batch());
  ASSERT_FALSE(scores.ok());
  EXPECT_EQ(scores.error().code, ErrorCode::kLimit);
  EXPECT_NE(scores.error().message.find("text 1: 129 tokens"), std::string::npos) << scores.error().message;
  const std::vector<Text> many(9, Text(3, 5));
  EXPECT_EQ(score_padded(*engine.session, Rectangle(many, true, 0).batch()).error().code, ErrorCode::kLimit);
  EXPECT_TRUE(score_padded(*engine.session, Rectangle(std::span(many).first(8), true, 0).batch()).ok());
}

}  // namespace
}  // namespace rowmax::engine::padded_batch_test
