#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/arch/test_changed_model.h"

namespace rowmax::engine::deepseek2_test {
namespace {

constexpr const char* kArch = "deepseek2";

// In place of what the key was.
void set(GgufWriter& writer, const std::string& key, std::uint32_t value) {
  writer.remove("deepseek2." + key);
  writer.set_uint32("deepseek2." + key, value);
}

// As files of DeepSeek V2 were first written: keys of the heads alone.
void as_older(GgufWriter& writer) {
  writer.remove("deepseek2.attention.key_length_mla");
  writer.remove("deepseek2.attention.value_length_mla");
  set(writer, "attention.key_length", 32);
  set(writer, "attention.value_length", 24);
  set(writer, "attention.head_count_kv", 4);
}

void expect_usual(const ModelSpec& spec) {
  EXPECT_EQ(spec.shape.head_dim, 32);
  EXPECT_EQ(spec.shape.n_kv_head, 1);
  EXPECT_EQ(spec.ropes[0].n_rot, 8);
  EXPECT_EQ(spec.ropes[0].pairing, RopePairing::kAdjacent);
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const LayerSpec& layer = spec.layers[i];
    EXPECT_EQ(layer.mixer, MixerKind::kLatent);
    EXPECT_EQ(layer.latent.rank, 32);
    EXPECT_EQ(layer.latent.q_rank, 24);
    EXPECT_EQ(layer.latent.nope_dim, 24);
    EXPECT_EQ(layer.latent.rope_dim, 8);
    EXPECT_EQ(layer.latent.v_dim, 24);
    EXPECT_EQ(layer.attention.n_kv_head, 1);
    EXPECT_EQ(layer.attention.head_dim, 40);
    EXPECT_EQ(layer.attention.v_in_k, 32);
    EXPECT_EQ(layer.attention.rope_first, 32);
    EXPECT_FLOAT_EQ(layer.attention.scale, static_cast<float>(1 / std::sqrt(32.0)));
    EXPECT_EQ(layer.ffn.kind, i == 0 ? FfnKind::kDense : FfnKind::kExperts);
  }
  // One latent and what turns, and no values beside them.
  EXPECT_EQ(spec.layers[0].attention.remembered(), 40);
}

TEST(Deepseek2, WhatItsFilesMean) {
  const auto model = read_changed(kArch);
  ASSERT_TRUE(model.ok()) << model.error().message;
  expect_usual(model->spec);
  const FfnSpec& ffn = model->spec.layers[1].ffn;
  EXPECT_EQ(ffn.expert_gate, ExpertGate::kSigmoid);
  EXPECT_TRUE(ffn.choice_bias && ffn.renormalise && !ffn.shared_gate);
  EXPECT_EQ(ffn.expert_scale, 1.75f);
  EXPECT_EQ(ffn.n_shared, ffn.n_ff);
  EXPECT_EQ(ffn.n_group, 2);
  EXPECT_EQ(ffn.n_group_used, 1);
  EXPECT_EQ(ffn.n_group_best, 2);
}

TEST(Deepseek2, OlderFilesMeanTheSame) {
  const auto model = read_changed(kArch, {}, as_older);
  ASSERT_TRUE(model.ok()) << model.error().message;
  expect_usual(model->spec);
}

TEST(Deepseek2, QOfOneProduct) {
  std::vector<std::string> without;
  for (int layer = 0; layer < 3; ++layer) {
    for (const char* name : {"attn_q_a.weight", "attn_q_a_norm.weight", "attn_q_b.weight"}) {
      without.push_back("blk." + std::to_string(layer) + "." + name);
    }
  }
  const auto model = read_changed(kArch, without, [](GgufWriter& writer) {
    writer.remove("deepseek2.attention.q_lora_rank");
    for (int layer = 0; layer < 3; ++layer) {
      writer.add_tensor("blk." + std::to_string(layer) + ".attn_q.weight", 0, {64, 128},
                        std::vector<std::byte>(64 * 128 * 4));
    }
  });
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->spec.layers[1].latent.q_rank, 0);
  expect_refused(kArch, ErrorCode::kCorrupt, {"blk.0.attn_q.weight", "missing"}, {},
                 [](GgufWriter& writer) { writer.remove("deepseek2.attention.q_lora_rank"); });
}

// The bytes of two tensors that lie in one: of each head 24 rows of k, then 24 of v.
TEST(Deepseek2, KAndVInOneTensorOrBesideIt) {
  const std::vector<std::string> apart = {"blk.0.attn_k_b.weight", "blk.0.attn_v_b.weight"};
  const auto add_together = [](GgufWriter& writer) {
    writer.add_tensor("blk.0.attn_kv_b.weight", 0, {32, 4 * 48}, std::vector<std::byte>(32 * 4 * 48 * 4));
  };
  const auto model = read_changed(kArch, apart, add_together);
  ASSERT_TRUE(model.ok()) << model.error().message;
  const WeightSource &k = model->sources.layers[0][W::kLatentK], &v = model->sources.layers[0][W::kLatentV];
  EXPECT_TRUE(k.columns && !v.columns);
  EXPECT_EQ(k.rows, 32);
  EXPECT_EQ(k.cols, 24);
  EXPECT_EQ(v.rows, 24);
  EXPECT_EQ(v.cols, 32);
  EXPECT_EQ(k.n, 4);
  EXPECT_EQ(v.n, 4);
  EXPECT_EQ(k.first_row, 0);
  EXPECT_EQ(v.first_row, 24);
  EXPECT_EQ(k.bytes.data(), v.bytes.data());
  expect_refused(kArch, ErrorCode::kCorrupt, {"blk.0.attn_k_b.weight", "missing"}, apart);
  expect_refused(kArch, ErrorCode::kCorrupt, {"attn_kv_b.weight", "[32, 192]", "[32, 191]"}, apart,
                 [](GgufWriter& writer) {
                   writer.add_tensor("blk.0.attn_kv_b.weight", 0, {32, 191}, std::vector<std::byte>(32 * 191 * 4));
                 });
  // One scale for both.
  expect_refused(kArch, ErrorCode::kUnsupported, {"attn_kv_b.weight", "one scale"}, apart, [](GgufWriter& writer) {
    set(writer, "attention.kv_lora_rank", 128);
    set(writer, "attention.key_length", 136);
    set(writer, "attention.value_length", 128);
    writer.add_tensor("blk.0.attn_kv_b.weight", 36, {128, 4 * 48}, std::vector<std::byte>(128 * 4 * 48 / 4 + 32));
  });
  // Both forms: those apart count, as in files for ik_llama.cpp, which has them without a dimension for heads.
  const auto both = read_changed(kArch, apart, [&](GgufWriter& writer) {
    add_together(writer);
    writer.add_tensor("blk.0.attn_k_b.weight", 0, {24, 4 * 32}, std::vector<std::byte>(24 * 4 * 32 * 4));
    writer.add_tensor("blk.0.attn_v_b.weight", 0, {32, 4 * 24}, std::vector<std::byte>(32 * 4 * 24 * 4));
  });
  ASSERT_TRUE(both.ok()) << both.error().message;
  EXPECT_FALSE(both->sources.layers[0][W::kLatentK].columns);
  EXPECT_EQ(both->sources.layers[0][W::kLatentK].n, 4);
  EXPECT_TRUE(std::ranges::any_of(both->description.facts, [](const ModelFact& fact) {
    return fact.name == "latent_together" && fact.value.starts_with("1 tensors, not used");
  }));
}

TEST(Deepseek2, MagnitudesOfYarn) {
  const auto yarn = [](double multiplier) {
    return [multiplier](GgufWriter& writer) {
      writer.set_string("deepseek2.rope.scaling.type", "yarn");
      writer.set_float32("deepseek2.rope.scaling.factor", 40);
      set(writer, "rope.scaling.original_context_length", 4096);
      if (multiplier > 0) {
        writer.set_float32("deepseek2.rope.scaling.yarn_log_multiplier", static_cast<float>(multiplier));
      }
    };
  };
  // DeepSeek V2 Lite: mscale and mscale_all_dim 0.707, of which files have a tenth.
  const auto lite = read_changed(kArch, {}, yarn(0.0707));
  ASSERT_TRUE(lite.ok()) << lite.error().message;
  const double m = 0.1 * 0.707 * std::log(40.0) + 1;
  EXPECT_NEAR(lite->spec.layers[2].attention.scale, m * m / std::sqrt(32.0), 1e-6);
  EXPECT_NEAR(lite->spec.ropes[0].yarn->magnitude, 1, 1e-12);
  const auto plain = read_changed(kArch, {}, yarn(0));
  ASSERT_TRUE(plain.ok()) << plain.error().message;
  EXPECT_NEAR(plain->spec.layers[2].attention.scale, 1 / std::sqrt(32.0), 1e-6);
  EXPECT_NEAR(plain->spec.ropes[0].yarn->magnitude, 0.1 * std::log(40.0) + 1, 1e-12);
  expect_refused(kArch, ErrorCode::kUnsupported, {"yarn_log_multiplier"}, {},
                 [](GgufWriter& writer) { writer.set_float32("deepseek2.rope.scaling.yarn_log_multiplier", 0.0707f); });
}

TEST(Deepseek2, HowExpertsAreChosen) {
  const auto of = [](const std::vector<std::string>& without, const WriterChange& change) {
    const auto model = read_changed(kArch, without, change);
    EXPECT_TRUE(model.ok()) << model.error().message;
    return model.ok() ? model->spec.layers[1].ffn : FfnSpec();
  };
  const std::vector<std::string> biases = {"blk.1.exp_probs_b.bias", "blk.2.exp_probs_b.bias"};
  const auto silent = [](GgufWriter& writer) { writer.remove("deepseek2.expert_gating_func"); };
  // Files of DeepSeek V2 and of GLM-4.7-Flash that say nothing.
  EXPECT_EQ(of(biases, silent).expert_gate, ExpertGate::kSoftmax);
  EXPECT_EQ(of(biases, silent).n_group_best, 1);
  EXPECT_EQ(of({}, silent).expert_gate, ExpertGate::kSigmoid);
  EXPECT_EQ(of(biases, [](GgufWriter&) {}).expert_gate, ExpertGate::kSigmoid);
  const FfnSpec bare = of(biases, [](GgufWriter& writer) {
    for (const char* key : {"expert_weights_norm", "expert_weights_scale", "expert_group_count",
                            "expert_group_used_count", "expert_gating_func"}) {
      writer.remove(std::string("deepseek2.") + key);
    }
  });
  EXPECT_TRUE(!bare.renormalise && !bare.choice_bias && bare.n_group == 1 && bare.expert_scale == 1);
  // A bias in some layers of experts is one that others have lost.
  expect_refused(kArch, ErrorCode::kCorrupt, {"blk.2.exp_probs_b.bias", "missing"}, {"blk.2.exp_probs_b.bias"});
  expect_refused(kArch, ErrorCode::kUnsupported, {"blk.2.exp_probs_b.bias", "not used"}, {"blk.1.exp_probs_b.bias"});
  expect_refused(kArch, ErrorCode::kUnsupported, {"expert_gating_func", "1 (softmax) or 2 (sigmoid)", "found 4"}, {},
                 [](GgufWriter& writer) { set(writer, "expert_gating_func", 4); });
  expect_refused(kArch, ErrorCode::kCorrupt, {"expert_group_count", "expert_count 8", "found 3"}, {},
                 [](GgufWriter& writer) { set(writer, "expert_group_count", 3); });
  expect_refused(kArch, ErrorCode::kCorrupt, {"expert_group_count", "two experts", "8 groups of one"}, {},
                 [](GgufWriter& writer) {
                   set(writer, "expert_group_count", 8);
                   set(writer, "expert_group_used_count", 4);
                 });
  expect_refused(kArch, ErrorCode::kCorrupt, {"expert_group_used_count", "missing"}, {},
                 [](GgufWriter& writer) { writer.remove(std::string(kArch) + ".expert_group_used_count"); });
  expect_refused(kArch, ErrorCode::kCorrupt, {"expert_group_used_count", "found 0"}, {},
                 [](GgufWriter& writer) { set(writer, "expert_group_used_count", 0); });
  expect_refused(kArch, ErrorCode::kCorrupt, {"expert_used_count", "1 to 8", "found 9"}, {},
                 [](GgufWriter& writer) { set(writer, "expert_used_count", 9); });
}

// No key says whether a router has a bias of the choice: one that is lost in all layers leaves a file that can be read.
TEST(Deepseek2, ASigmoidRouterWithoutBiasesIsNoted) {
  const std::vector<std::string> biases = {"blk.1.exp_probs_b.bias", "blk.2.exp_probs_b.bias"};
  const auto noted = [](const std::vector<std::string>& without, std::uint32_t gate) {
    const auto model =
        read_changed(kArch, without, [&](GgufWriter& writer) { set(writer, "expert_gating_func", gate); });
    EXPECT_TRUE(model.ok()) << model.error().message;
    return model.ok() && std::ranges::any_of(model->description.notices, [](const std::string& notice) {
             return notice.starts_with("m.gguf: no tensor blk.1.exp_probs_b.bias: experts are chosen without a bias");
           });
  };
  EXPECT_TRUE(noted(biases, 2));
  EXPECT_FALSE(noted({}, 2));
  EXPECT_FALSE(noted(biases, 1));  // as DeepSeek V2's
  // In some layers, in either order, it is an error.
  expect_refused(kArch, ErrorCode::kCorrupt,
                 {"blk.2.exp_probs_b.bias' is missing", "expert_choice_bias = yes (tensor blk.1.exp_probs_b.bias)"},
                 {"blk.2.exp_probs_b.bias"});
  expect_refused(kArch, ErrorCode::kUnsupported,
                 {"blk.2.exp_probs_b.bias' is not used", "expert_choice_bias = no (no tensor blk.1.exp_probs_b.bias)"},
                 {"blk.1.exp_probs_b.bias"});
}

TEST(Deepseek2, WithoutExperts) {
  std::vector<std::string> without;
  for (int layer = 1; layer < 3; ++layer) {
    for (const char* name :
         {"ffn_gate_inp.weight", "exp_probs_b.bias", "ffn_gate_exps.weight", "ffn_up_exps.weight",
          "ffn_down_exps.weight", "ffn_gate_shexp.weight", "ffn_up_shexp.weight", "ffn_down_shexp.weight"}) {
      without.push_back("blk." + std::to_string(layer) + "." + name);
    }
  }
  const auto dense = [](GgufWriter& writer) {
    set(writer, "leading_dense_block_count", 3);
    writer.remove("deepseek2.expert_count");
    for (int layer = 1; layer < 3; ++layer) {
      const std::string start = "blk." + std::to_string(layer) + ".ffn_";
      writer.add_tensor(start + "gate.weight", 0, {64, 160}, std::vector<std::byte>(64 * 160 * 4));
      writer.add_tensor(start + "up.weight", 0, {64, 160}, std::vector<std::byte>(64 * 160 * 4));
      writer.add_tensor(start + "down.weight", 0, {160, 64}, std::vector<std::byte>(64 * 160 * 4));
    }
  };
  const auto model = read_changed(kArch, without, dense);
  ASSERT_TRUE(model.ok()) << model.error().message;
  for (const LayerSpec& layer : model->spec.layers) EXPECT_EQ(layer.ffn.kind, FfnKind::kDense);
  expect_refused(kArch, ErrorCode::kCorrupt, {"leading_dense_block_count", "expert_count", "found 3"}, without,
                 [&](GgufWriter& writer) {
                   dense(writer);
                   set(writer, "expert_count", 8);
                 });
}

// Layers for guessing tokens ahead are passed over by name.
TEST(Deepseek2, DraftLayers) {
  const auto change = [](GgufWriter& writer) {
    set(writer, "block_count", 4);
    set(writer, "nextn_predict_layers", 1);
    writer.add_tensor("blk.3.nextn.eh_proj.weight", 0, {128, 64}, std::vector<std::byte>(128 * 64 * 4));
    writer.add_tensor("blk.3.attn_q_a.weight", 0, {64, 24}, std::vector<std::byte>(64 * 24 * 4));
  };
  const auto model = read_changed(kArch, {}, change);
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->spec.shape.n_layer, 3);
  EXPECT_EQ(model->spec.n_draft_layer, 1);
  EXPECT_TRUE(std::ranges::any_of(model->description.facts, [](const ModelFact& fact) {
    return fact.name == "draft_layer" && fact.value == "2 tensors, not used";
  }));
  expect_refused(kArch, ErrorCode::kCorrupt, {"nextn_predict_layers", "blk.3.nextn.eh_proj.weight", "missing"}, {},
                 [](GgufWriter& writer) {
                   set(writer, "block_count", 4);
                   set(writer, "nextn_predict_layers", 1);
                 });
}

TEST(Deepseek2, KeysThatDoNotFitAreNamed) {
  const auto refused = [](ErrorCode code, const std::string& key, std::uint32_t value,
                          std::initializer_list<const char*> texts, bool older = false) {
    expect_refused(kArch, code, texts, {}, [&](GgufWriter& writer) {
      if (older) as_older(writer);
      set(writer, key, value);
    });
  };
  const ErrorCode corrupt = ErrorCode::kCorrupt, unsupported = ErrorCode::kUnsupported;
  refused(corrupt, "attention.key_length", 41, {"attention.key_length", "expected 40", "found 41"});
  refused(corrupt, "attention.value_length", 33, {"attention.value_length", "expected 32", "found 33"});
  refused(corrupt, "attention.head_count_kv", 4, {"head_count_kv", "expected 1", "found 4"});
  refused(corrupt, "attention.head_count_kv", 1, {"head_count_kv", "expected 4", "found 1"}, true);
  refused(corrupt, "attention.key_length_mla", 8, {"key_length_mla", "9 to 4096", "found 8"});
  refused(corrupt, "rope.dimension_count", 546, {"rope.dimension_count", "2 to 544", "found 546"});
  refused(corrupt, "rope.dimension_count", 7, {"rope.dimension_count", "even", "found 7"}, true);
  refused(corrupt, "attention.kv_lora_rank", 600, {"kv_lora_rank", "found 600"});
  refused(corrupt, "leading_dense_block_count", 4, {"leading_dense_block_count", "0 to 3", "found 4"});
  refused(unsupported, "attention.indexer.top_k", 2048, {"attention.indexer.top_k"});
  refused(unsupported, "attention.temperature_length", 8192, {"attention.temperature_length"});
  for (const char* key : {"attention.kv_lora_rank", "rope.dimension_count", "attention.value_length_mla",
                          "expert_count", "expert_feed_forward_length"}) {
    expect_refused(kArch, corrupt, {key, "missing"}, {},
                   [&](GgufWriter& writer) { writer.remove(std::string("deepseek2.") + key); });
  }
}

}  // namespace
}  // namespace rowmax::engine::deepseek2_test
