#include "apps/server/attention_look.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace rowmax::server {
namespace {

// Rows as a layer of n_head heads shows them: head h of layer l gives key i the weight below, which is no softmax; nothing
// here needs one.
struct Shown {
  std::int64_t n_head, n_token;
  std::vector<float> numbers;

  Shown(std::int64_t layer, std::int64_t heads, std::int64_t tokens) : n_head(heads), n_token(tokens) {
    for (std::int64_t h = 0; h < heads; ++h) {
      for (std::int64_t i = 0; i < tokens; ++i) numbers.push_back(weight(layer, h, i));
    }
  }
  static float weight(std::int64_t layer, std::int64_t head, std::int64_t key) {
    return static_cast<float>((layer * 31 + head * 7 + key * 5) % 11) / 16;
  }
  void to(AttentionLook& look, std::int64_t layer) const {
    const engine::TraceRow row{0, n_token - 1};
    look.see({engine::Stage::kScores, layer, {&row, 1}, numbers.data(), n_head * n_token, n_head, n_token});
  }
};

void show(AttentionLook& look, std::int64_t layer, std::int64_t heads, std::int64_t tokens) {
  Shown(layer, heads, tokens).to(look, layer);
}

TEST(AttentionLook, AsksForWeightsAlone) {
  AttentionLook look({});
  for (int i = 0; i < static_cast<int>(engine::Stage::kCount); ++i) {
    const auto stage = static_cast<engine::Stage>(i);
    EXPECT_EQ(look.wants(stage, 0), stage == engine::Stage::kScores);
    EXPECT_FALSE(look.replaces(stage, 0));
  }
}

TEST(AttentionLook, GivesTheRowsThatWereAskedFor) {
  AttentionLook look({.layers = std::vector<std::int64_t>{3}, .heads = {1, 0}});
  show(look, 1, 2, 3);
  show(look, 3, 2, 3);
  ASSERT_FALSE(look.error());
  // Layer 3: head 1 has (93 + 7 + 5 i) % 11 / 16, head 0 (93 + 5 i) % 11 / 16.
  EXPECT_EQ(look.layers_json().dump(),
            R"([{"layer":3,"heads":[1,0],"weights":[[0.0625,0.375,0.0],[0.3125,0.625,0.25]]}])");
}

TEST(AttentionLook, OverviewIsOfAllLayersAndHeads) {
  AttentionLook look({.layers = std::vector<std::int64_t>(), .key = 1});
  show(look, 0, 1, 3);  // 0, 5, 10 sixteenths
  show(look, 3, 2, 3);
  EXPECT_EQ(look.layers_json().dump(), "[]");
  EXPECT_EQ(look.overview_json().dump(),
            R"([{"layer":0,"largest":[0.625],"largest_at":[2],"effective":[1.8],"key":[0.3125]},)"
            R"({"layer":3,"largest":[0.625,0.375],"largest_at":[1,1],"effective":[)" +
                text::Json((5.0 + 10 + 4) * (5 + 10 + 4) / (25 + 100 + 16)).dump() + "," +
                text::Json((1.0 + 6) * (1 + 6) / (1 + 36)).dump() + R"(],"key":[0.625,0.375]}])");
}

TEST(AttentionLook, OneRowOfSeveralHeads) {
  for (const auto& [reduce, want] : {std::pair(HeadReduction::kMean, "[[0.1875,0.5,0.125]]"),
                                     std::pair(HeadReduction::kMax, "[[0.3125,0.625,0.25]]")}) {
    AttentionLook look({.reduce = reduce});
    show(look, 3, 2, 3);
    EXPECT_NE(look.layers_json().dump().find(std::string("\"weights\":") + want), std::string::npos)
        << look.layers_json().dump();
  }
}

TEST(AttentionLook, SaysWhatIsNotThere) {
  AttentionLook head({.heads = {0, 2}});
  show(head, 4, 2, 3);
  ASSERT_TRUE(head.error());
  EXPECT_EQ(head.error()->param, "heads");
  EXPECT_NE(head.error()->message.find("layer 4 has the heads 0 to 1, found 2"), std::string::npos);

  AttentionLook layer({.layers = std::vector<std::int64_t>{1, 2}});
  show(layer, 1, 2, 3);
  show(layer, 5, 2, 3);
  ASSERT_TRUE(layer.error());
  EXPECT_EQ(layer.error()->param, "layers");
  EXPECT_NE(layer.error()->message.find("(1, 5), found 2"), std::string::npos) << layer.error()->message;

  const AttentionLook none({});
  ASSERT_TRUE(none.error());
  EXPECT_EQ(none.error()->status, 501);
}

TEST(AttentionLook, HoldsSoManyWeightsAndNoMore) {
  AttentionLook look({});
  const std::int64_t half = kMostWeights / 4;
  show(look, 0, 2, half);
  show(look, 1, 2, half);
  EXPECT_FALSE(look.error());
  show(look, 2, 2, half);
  ASSERT_TRUE(look.error());
  EXPECT_NE(look.error()->message.find("at most " + std::to_string(kMostWeights)), std::string::npos);

  AttentionLook reduced({.reduce = HeadReduction::kMean});
  for (std::int64_t layer = 0; layer < 4; ++layer) show(reduced, layer, 2, half);
  EXPECT_FALSE(reduced.error());
  show(reduced, 4, 2, half);
  EXPECT_TRUE(reduced.error());
}

}  // namespace
}  // namespace rowmax::server
