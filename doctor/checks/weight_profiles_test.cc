// Tensors whose channels are as those of trained models: common to all that read or write the stream, a part of each
// layer's own. What is planted is what the rules claim to see; what is sound must pass, whatever the seed.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "doctor/checks/weight_findings.h"

namespace rowmax::doctor {
namespace {

constexpr std::int64_t kEmbd = 512, kLayers = 10;

std::vector<float> channels(std::mt19937& random, double spread) {
  std::normal_distribution<double> normal(0, spread);
  std::vector<float> out;
  for (std::int64_t i = 0; i < kEmbd; ++i) out.push_back(static_cast<float>(std::exp(normal(random))));
  return out;
}
std::vector<float> times(std::vector<float> a, const std::vector<float>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] *= b[i];
  return a;
}

TensorStats stats_of(const std::string& kind, std::int64_t layer, std::vector<float> rows, std::vector<float> cols,
                     double rms) {
  TensorStats stats;
  stats.layer = layer;
  stats.kind = kind;
  stats.name = layer < 0 ? kind : "blk." + std::to_string(layer) + "." + kind;
  stats.format = engine::find_format("F16");
  stats.rows = static_cast<std::int64_t>(rows.size());
  stats.cols = static_cast<std::int64_t>(cols.size());
  stats.rms = rms;
  stats.low = -1;
  stats.high = 1;
  stats.row_rms = rows;
  stats.row_most = rows;
  stats.col_rms = cols;
  return stats;
}

// common: how far the stream's channels differ; own: of a layer; noise: of a matrix.
std::vector<TensorStats> model(int seed, double common, double own, double noise) {
  std::mt19937 random(static_cast<unsigned>(seed));
  const std::vector<float> read = channels(random, common), written = channels(random, common);
  std::vector<TensorStats> all = {stats_of("token_embd.weight", -1, channels(random, 0.2), read, 1)};
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::vector<float> attention = times(read, channels(random, own)), ffn = times(read, channels(random, own));
    for (const auto& [kind, rms] :
         {std::pair{"attn_q.weight", 1.0}, std::pair{"attn_k.weight", 1.5}, std::pair{"attn_v.weight", 0.7}}) {
      all.push_back(stats_of(kind, layer, channels(random, 0.3), times(attention, channels(random, noise)), rms));
    }
    for (const auto& [kind, rms] : {std::pair{"ffn_gate.weight", 1.4}, std::pair{"ffn_up.weight", 1.0}}) {
      all.push_back(stats_of(kind, layer, channels(random, 0.3), times(ffn, channels(random, noise)), rms));
    }
    for (const char* kind : {"attn_output.weight", "ffn_down.weight"}) {
      all.push_back(stats_of(kind, layer, times(written, channels(random, noise)), channels(random, 0.3), 1));
    }
  }
  return all;
}

TensorStats& find(std::vector<TensorStats>& all, const std::string& name) {
  for (TensorStats& stats : all) {
    if (stats.name == name) return stats;
  }
  return all.front();
}

WeightFindings judge(const std::vector<TensorStats>& all) {
  WeightFindings findings;
  judge_profiles(all, findings);
  return findings;
}

TEST(Profiles, SoundModelsAreSilent) {
  for (int seed = 1; seed <= 40; ++seed) {
    for (const auto& [common, own, noise] :
         {std::tuple{0.3, 0.2, 0.1}, std::tuple{0.0, 0.0, 0.1}, std::tuple{0.1, 0.05, 0.3}}) {
      const WeightFindings findings = judge(model(seed, common, own, noise));
      EXPECT_TRUE(findings.causes.empty()) << seed << ": " << (findings.causes.empty() ? "" : findings.causes[0].text);
      EXPECT_GT(findings.n_compared, 20);
    }
  }
}

TEST(Profiles, Transposed) {
  for (const char* name : {"blk.4.attn_q.weight", "blk.0.attn_output.weight"}) {
    auto all = model(1, 0.3, 0.2, 0.1);
    TensorStats& stats = find(all, name);
    std::swap(stats.row_rms, stats.col_rms);
    const WeightFindings findings = judge(all);
    ASSERT_EQ(findings.causes.size(), 1) << name;
    EXPECT_EQ(findings.causes[0].id, "weight_transposed");
    EXPECT_EQ(findings.causes[0].place.tensor, name);
  }
}

TEST(Profiles, TwoKindsOfOneLayerExchanged) {
  for (const auto& [one, other] :
       {std::pair{"attn_k.weight", "attn_v.weight"}, std::pair{"ffn_gate.weight", "ffn_up.weight"}}) {
    auto all = model(3, 0.3, 0.2, 0.1);
    std::swap(find(all, std::string("blk.5.") + one).rms, find(all, std::string("blk.5.") + other).rms);
    const WeightFindings findings = judge(all);
    ASSERT_EQ(findings.causes.size(), 1) << one;
    EXPECT_EQ(findings.causes[0].id, "weight_swapped");
    EXPECT_EQ(findings.causes[0].place.layer, 5);
  }
}

// Sizes of neurons, which one layer's up, gate and down share.
void give_neurons(std::vector<TensorStats>& all, int seed, bool gates_too) {
  std::mt19937 random(static_cast<unsigned>(seed));
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::vector<float> neurons = channels(random, 0.3);
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    find(all, prefix + "ffn_up.weight").row_rms = times(neurons, channels(random, 0.1));
    find(all, prefix + "ffn_down.weight").col_rms = times(neurons, channels(random, 0.1));
    if (gates_too) find(all, prefix + "ffn_gate.weight").row_rms = times(neurons, channels(random, 0.1));
  }
}

TEST(Profiles, NeuronsOfAnotherLayer) {
  auto all = model(5, 0.3, 0.2, 0.1);
  give_neurons(all, 6, true);
  EXPECT_TRUE(judge(all).causes.empty());
  std::swap(find(all, "blk.2.ffn_up.weight").row_rms, find(all, "blk.7.ffn_up.weight").row_rms);
  const WeightFindings findings = judge(all);
  ASSERT_EQ(findings.causes.size(), 2);
  EXPECT_EQ(findings.causes[0].id, "weight_swapped");
  EXPECT_EQ(findings.causes[0].place.tensor, "blk.2.ffn_up.weight");
  EXPECT_EQ(findings.causes[0].evidence[1].second, "7");
  EXPECT_EQ(findings.causes[1].place.tensor, "blk.7.ffn_up.weight");
}

// Whole layers in another order keep their neurons together; where gates have sizes of their own, those of up and down say it.
TEST(Profiles, NeuronsStayWithTheirLayer) {
  for (int seed = 1; seed <= 20; ++seed) {
    auto all = model(seed, 0.3, 0.2, 0.1);
    give_neurons(all, 1000 + seed, false);
    for (const char* kind : {"ffn_up.weight", "ffn_gate.weight", "ffn_down.weight"}) {
      TensorStats &one = find(all, std::string("blk.1.") + kind), &other = find(all, std::string("blk.4.") + kind);
      std::swap(one.row_rms, other.row_rms);
      std::swap(one.col_rms, other.col_rms);
    }
    const WeightFindings findings = judge(all);
    EXPECT_TRUE(findings.causes.empty()) << seed << ": " << (findings.causes.empty() ? "" : findings.causes[0].text);
  }
}

}  // namespace
}  // namespace rowmax::doctor
