#include "rowmax/engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <vector>

namespace rowmax::engine::sampler_test {
namespace {

SamplingParams plain(float temperature = 1.0f) {
  SamplingParams p;
  p.temperature = temperature;
  p.top_k = 0;
  p.top_p = 1;
  return p;
}

std::map<TokenId, int> draw(const SamplingParams& params, const std::vector<float>& logits, int n) {
  auto sampler = Sampler::create(params, static_cast<std::int64_t>(logits.size()));
  EXPECT_TRUE(sampler.ok());
  std::map<TokenId, int> counts;
  for (int i = 0; i < n; ++i) {
    auto token = sampler->sample(logits);
    EXPECT_TRUE(token.ok());
    ++counts[*token];
  }
  return counts;
}

TEST(Sampler, GreedyTakesTheLowestIdOfTheHighest) {
  auto sampler = Sampler::create(plain(0), 5);
  ASSERT_TRUE(sampler.ok());
  EXPECT_EQ(*sampler->sample(std::vector<float>{1, 3, 2, 3, -1}), 1);
  EXPECT_EQ(*argmax(std::vector<float>{1, 3, 2, 3, -1}), 1);
  EXPECT_EQ(*sampler->sample(std::vector<float>{-0.0f, 0.0f, -1, -1, -1}), 0);
}

TEST(Sampler, DrawsFollowTheSoftmax) {
  const std::vector<float> logits = {0.0f, 1.0f, 2.0f, -1.0f};
  const int n = 40000;
  for (float temperature : {0.5f, 1.0f, 2.0f}) {
    const auto counts = draw(plain(temperature), logits, n);
    double total = 0;
    for (float x : logits) total += std::exp(x / temperature);
    for (TokenId id = 0; id < 4; ++id) {
      const double p = std::exp(logits[static_cast<std::size_t>(id)] / temperature) / total;
      const double sigma = std::sqrt(n * p * (1 - p));
      const auto found = counts.find(id);
      EXPECT_NEAR(found == counts.end() ? 0 : found->second, n * p, 5 * sigma + 1) << id << " at " << temperature;
    }
  }
}

TEST(Sampler, TheSameSeedGivesTheSameTokensAndThoseAreKnown) {
  const std::vector<float> logits = {0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.6f, 0.7f, 0.8f};
  SamplingParams params = plain();
  params.seed = 12345;
  std::vector<TokenId> first;
  for (int run = 0; run < 2; ++run) {
    auto sampler = Sampler::create(params, 8);
    ASSERT_TRUE(sampler.ok());
    std::vector<TokenId> tokens;
    for (int i = 0; i < 16; ++i) tokens.push_back(*sampler->sample(logits));
    if (run == 0) first = tokens;
    EXPECT_EQ(tokens, first);
  }
  // By the definition, in plain fp64: SplitMix64, candidates likeliest first, inverse of the cumulative sum.
  std::uint64_t state = 12345;
  for (TokenId token : first) {
    std::uint64_t z = (state += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    const double u = static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
    double total = 0, sum = 0;
    for (float x : logits) total += std::exp(static_cast<double>(x));
    TokenId want = 0;
    for (int id = 7; id >= 0; --id) {
      sum += std::exp(static_cast<double>(logits[static_cast<std::size_t>(id)]));
      if (u * total < sum) {
        want = id;
        break;
      }
    }
    EXPECT_EQ(token, want);
  }
}

TEST(Sampler, TopKTopPMinPKeepExactlyTheirSets) {
  // Probabilities 0.4, 0.3, 0.2, 0.1.
  const std::vector<float> logits = {std::log(0.2f), std::log(0.4f), std::log(0.1f), std::log(0.3f)};
  // top_p counts what top_k left: of 0.4, 0.3, 0.2 the first two hold 0.78.
  struct Case {
    int top_k;
    float top_p, min_p;
    std::vector<TokenId> kept;
  };
  const Case cases[] = {
      {0, 1.0f, 0, {0, 1, 2, 3}},  {2, 1.0f, 0, {1, 3}},    {0, 0.65f, 0, {1, 3}},       {0, 0.75f, 0, {0, 1, 3}},
      {0, 0.0f, 0, {1}},           {0, 1.0f, 0.6f, {1, 3}}, {0, 1.0f, 0.45f, {0, 1, 3}}, {3, 0.75f, 0.45f, {1, 3}},
      {3, 0.8f, 0.45f, {0, 1, 3}}, {1, 1.0f, 0, {1}}};
  for (const Case& c : cases) {
    SamplingParams params = plain();
    params.top_k = c.top_k;
    params.top_p = c.top_p;
    params.min_p = c.min_p;
    std::vector<TokenId> seen;
    for (const auto& [id, count] : draw(params, logits, 2000)) seen.push_back(id);
    EXPECT_EQ(seen, c.kept) << c.top_k << " " << c.top_p << " " << c.min_p;
  }
}

TEST(Sampler, AMaskLeavesTheSoftmaxOfTheAllowedTokens) {
  std::vector<float> logits(70, 9.0f);
  logits[3] = 0;
  logits[64] = 1;
  logits[69] = 2;
  const std::uint64_t allowed[] = {1u << 3, (1u << 0) | (1u << 5) | (1u << 6)};  // 3, 64, 69, and 70 behind the end
  auto greedy = Sampler::create(plain(0), 70);
  EXPECT_EQ(*greedy->sample(logits, allowed), 69);
  SamplingParams params = plain();
  params.top_k = 2;  // of the allowed ones
  const int n = 20000;
  for (const int top_k : {0, 2}) {
    params.top_k = top_k;
    auto sampler = Sampler::create(params, 70);
    std::map<TokenId, int> counts;
    for (int i = 0; i < n; ++i) ++counts[*sampler->sample(logits, allowed)];
    const double total = (top_k == 0 ? 1 : 0) + std::exp(1.0) + std::exp(2.0);
    EXPECT_EQ(counts.size(), top_k == 0 ? 3u : 2u);
    for (const auto& [id, count] : counts) {
      const double p = std::exp(static_cast<double>(logits[static_cast<std::size_t>(id)])) / total;
      EXPECT_NEAR(count, n * p, 5 * std::sqrt(n * p * (1 - p))) << id;
    }
  }
  const std::uint64_t none[] = {0, 1u << 6};
  const auto refused = greedy->sample(logits, none);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(refused.error().message.find("none of the 70"), std::string::npos) << refused.error().message;
  EXPECT_FALSE(greedy->sample(logits, std::span(allowed).first(1)).ok());
  logits[10] = std::numeric_limits<float>::infinity();  // not allowed, and still no logit
  EXPECT_EQ(greedy->sample(logits, allowed).error().code, ErrorCode::kNumericFault);
}

TEST(Sampler, TiesAtTheEdgeOfTopKGoToLowIds) {
  SamplingParams params = plain();
  params.top_k = 2;
  std::vector<TokenId> seen;
  for (const auto& [id, count] : draw(params, {1, 1, 1, 1, 1}, 500)) seen.push_back(id);
  EXPECT_EQ(seen, (std::vector<TokenId>{0, 1}));
}

TEST(Sampler, PenaltiesAndBias) {
  SamplingParams params = plain(0);
  params.repetition_penalty = 2;
  params.penalty_window = 2;
  auto sampler = Sampler::create(params, 4);
  ASSERT_TRUE(sampler.ok());
  const std::vector<float> logits = {4, 3, -1, -3};
  ASSERT_TRUE(sampler->accept(0).ok());
  EXPECT_EQ(*sampler->sample(logits), 1);  // 4/2 < 3
  ASSERT_TRUE(sampler->accept(1).ok());
  EXPECT_EQ(*sampler->sample(logits), 0);  // 2 against 1.5
  ASSERT_TRUE(sampler->accept(2).ok());
  EXPECT_EQ(*sampler->sample(logits), 0);  // 0 left the window of two
  // Negative logits are multiplied: -1 * 2 = -2 stays above -3, -1 * 4 does not.
  params.repetition_penalty = 4;
  auto negative = Sampler::create(params, 4);
  ASSERT_TRUE(negative->accept(2).ok());
  EXPECT_EQ(*negative->sample(std::vector<float>{-9, -9, -1, -3}), 3);

  params = plain(0);
  params.frequency_penalty = 0.6f;
  params.presence_penalty = 0.5f;
  auto counted = Sampler::create(params, 2);
  ASSERT_TRUE(counted->accept(0).ok());
  EXPECT_EQ(*counted->sample(std::vector<float>{2, 0.95f}), 1);  // 2 - 0.6 - 0.5 = 0.9
  EXPECT_EQ(*counted->sample(std::vector<float>{2, 0.85f}), 0);
  ASSERT_TRUE(counted->accept(0).ok());
  EXPECT_EQ(*counted->sample(std::vector<float>{2, 0.35f}), 1);  // 2 - 1.2 - 0.5 = 0.3

  params = plain(0);
  params.logit_bias = {{2, 10.0f}};
  auto biased = Sampler::create(params, 3);
  EXPECT_EQ(*biased->sample(std::vector<float>{5, 4, -4}), 2);
}

TEST(Sampler, NonFiniteLogitsNeverBecomeATokenAndBadParametersAreNamed) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                    -std::numeric_limits<float>::infinity()}) {
    for (float temperature : {0.0f, 1.0f}) {
      auto sampler = Sampler::create(plain(temperature), 3);
      auto token = sampler->sample(std::vector<float>{1, bad, 2});
      ASSERT_FALSE(token.ok());
      EXPECT_EQ(token.error().code, ErrorCode::kNumericFault);
      EXPECT_NE(token.error().message.find("token 1"), std::string::npos) << token.error().message;
    }
    EXPECT_FALSE(argmax(std::vector<float>{1, bad, 2}).ok());
  }
  const auto refused = [](auto change, const char* field) {
    SamplingParams params;
    change(params);
    auto sampler = Sampler::create(params, 10);
    ASSERT_FALSE(sampler.ok()) << field;
    EXPECT_NE(sampler.error().message.find(field), std::string::npos) << sampler.error().message;
  };
  refused([](SamplingParams& p) { p.temperature = -1; }, "temperature");
  refused([](SamplingParams& p) { p.temperature = NAN; }, "temperature");
  refused([](SamplingParams& p) { p.top_k = -1; }, "top_k");
  refused([](SamplingParams& p) { p.top_p = 1.5f; }, "top_p");
  refused([](SamplingParams& p) { p.min_p = NAN; }, "min_p");
  refused([](SamplingParams& p) { p.repetition_penalty = 0; }, "repetition_penalty");
  refused([](SamplingParams& p) { p.penalty_window = -2; }, "penalty_window");
  refused([](SamplingParams& p) { p.logit_bias = {{10, 1.0f}}; }, "logit_bias");
}

TEST(Sampler, LogProbabilityAgainstF64) {
  std::vector<float> logits(1000);
  for (std::size_t i = 0; i < logits.size(); ++i)
    logits[i] = static_cast<float>(std::sin(static_cast<double>(i) * 1.7) * 12);
  long double total = 0;
  for (float x : logits) total += std::exp(static_cast<long double>(x));
  for (TokenId id : {0, 7, 999}) {
    EXPECT_NEAR(log_probability(logits, id),
                static_cast<double>(logits[static_cast<std::size_t>(id)] - std::log(total)), 1e-13);
  }
}

}  // namespace
}  // namespace rowmax::engine::sampler_test
