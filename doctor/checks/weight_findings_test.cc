// The rules for sizes, on numbers made for them; bytes_test.cc plants faults in whole files.
#include "doctor/checks/weight_findings.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace rowmax::doctor {
namespace {

// Kinds whose sizes move from layer to layer as in trained models: smoothly inside, by factors at the ends.
std::vector<TensorStats> sizes(int seed, std::int64_t n_layers, double step, double ends) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::normal_distribution<double> normal(0, 1);
  std::vector<TensorStats> all;
  for (const char* kind :
       {"attn_q.weight", "attn_k.weight", "attn_v.weight", "ffn_up.weight", "ffn_down.weight", "attn_norm.weight"}) {
    double size = normal(random);
    for (std::int64_t layer = 0; layer < n_layers; ++layer) {
      size += step * normal(random);
      TensorStats stats;
      stats.layer = layer;
      stats.kind = kind;
      stats.name = "blk." + std::to_string(layer) + "." + kind;
      stats.format = engine::find_format("F16");
      stats.cols = 64;
      stats.rows = stats.kind == "attn_norm.weight" ? 1 : 64;
      stats.rms = std::exp(size + (layer == 0 || layer + 1 == n_layers ? ends * normal(random) : 0));
      stats.row_rms.assign(static_cast<std::size_t>(stats.rows), static_cast<float>(stats.rms));
      all.push_back(stats);
    }
  }
  return all;
}

TEST(Sizes, SoundModelsAreSilent) {
  for (int seed = 1; seed <= 200; ++seed) {
    for (const auto& [step, ends] :
         {std::pair{0.05, 0.4}, std::pair{0.15, 0.5}, std::pair{0.0, 0.0}, std::pair{0.3, 0.5}}) {
      WeightFindings findings;
      judge_sizes(sizes(seed, 24, step, ends), findings);
      EXPECT_TRUE(findings.causes.empty()) << seed << ", " << step << ": " << findings.causes[0].text;
    }
  }
}

TEST(Sizes, AScaledTensorIsNamedWithItsFactor) {
  for (const double factor : {2.0, 4.0, 0.2}) {
    auto all = sizes(5, 24, 0.02, 0.3);
    all[24 + 11].rms *= factor;
    WeightFindings findings;
    judge_sizes(all, findings);
    ASSERT_EQ(findings.causes.size(), 1);
    EXPECT_EQ(findings.causes[0].id, "weight_scaled");
    EXPECT_EQ(findings.causes[0].place.tensor, "blk.11.attn_k.weight");
    EXPECT_NEAR(std::stod(findings.causes[0].evidence[0].second), factor, 0.3 * factor);
  }
}

TEST(Sizes, ALayerThatDiffersAsAWholeIsNoFault) {
  auto all = sizes(6, 24, 0.05, 0.3);
  for (TensorStats& stats : all) {
    if (stats.layer == 9) stats.rms *= 6;
  }
  WeightFindings findings;
  judge_sizes(all, findings);
  EXPECT_TRUE(findings.causes.empty());
}

}  // namespace
}  // namespace rowmax::doctor
