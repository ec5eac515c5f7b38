#include <gtest/gtest.h>

#include <cstring>

#include "doctor/checks/patient_test_util.h"

namespace rowmax::doctor {
namespace {

using namespace testing_util;

TEST(Closure, SoundModelsPass) {
  for (const std::string& arch : tools::synthetic_architectures()) {
    for (const std::uint64_t seed : {1, 2, 3, 4, 5}) {
      tools::SyntheticSpec spec = seed == 5 ? tools::odd_spec(arch) : spec_of(arch, seed);
      spec.biases = arch == "llama" && seed == 2;
      spec.rope_factors = arch == "llama" && seed == 3;
      const CheckResult result = examine(&check_closure, model_bytes(spec));
      EXPECT_EQ(result.verdict, Verdict::kPass) << arch << ": " << result.reason;
      EXPECT_TRUE(result.causes.empty()) << arch;
    }
  }
}

struct Fault {
  std::string arch, cause, dropped_tensor, dropped_key;
};

TEST(Closure, MissingTensorsAndKeysAreNamed) {
  const Fault faults[] = {
      {"qwen2", "missing_bias", "blk.1.attn_k.bias", ""},
      {"bitnet-b1.58", "sub_norm", "blk.0.attn_sub_norm.weight", ""},
      {"bitnet-b1.58", "sub_norm", "blk.0.ffn_sub_norm.weight", ""},
      {"qwen3", "qk_norm", "blk.1.attn_q_norm.weight", ""},
      {"gemma3", "norm_place", "blk.2.post_attention_norm.weight", ""},
      {"llama", "norm_weight", "blk.0.ffn_norm.weight", ""},
      {"llama", "truncation", "blk.0.ffn_down.weight", ""},
      {"qwen35", "conv", "blk.0.ssm_conv1d.weight", ""},
      {"lfm2", "conv", "blk.0.shortconv.conv.weight", ""},
      {"lfm2", "norm_weight", "token_embd_norm.weight", ""},
      {"lfm2", "conv", "", "lfm2.shortconv.l_cache"},
      {"gemma4_moe", "router", "blk.0.ffn_gate_inp.scale", ""},
      {"gemma4_moe", "router", "blk.1.ffn_down_exps.scale", ""},
      {"gemma4_moe", "norm_place", "blk.1.pre_ffw_norm_2.weight", ""},
      {"llama", "norm_eps", "", "llama.attention.layer_norm_rms_epsilon"},
      {"gemma3", "window", "", "gemma3.attention.sliding_window"},
      {"qwen3", "rope_base", "", "qwen3.rope.freq_base"},
      {"llama", "head_mapping", "", "llama.attention.head_count_kv"},
  };
  for (const Fault& fault : faults) {
    Rewrite rewrite;
    rewrite.drop_tensor = [&](std::string_view name) { return name == fault.dropped_tensor; };
    rewrite.drop_key = [&](std::string_view name) { return name == fault.dropped_key; };
    const CheckResult result = examine(&check_closure, rewritten(model_bytes(spec_of(fault.arch)), rewrite));
    EXPECT_EQ(result.verdict, Verdict::kFail) << fault.cause;
    EXPECT_EQ(first_cause(result), fault.cause) << result.reason;
    if (!fault.dropped_tensor.empty()) {
      EXPECT_EQ(result.place.tensor, fault.dropped_tensor);
    }
  }
}

// Biases of the experts' choice that are gone from all layers: the file can be read, and other experts compute.
TEST(Closure, ASigmoidRouterWithoutBiases) {
  Rewrite rewrite;
  rewrite.drop_tensor = [](std::string_view name) { return name.ends_with(".exp_probs_b.bias"); };
  const CheckResult result = examine(&check_closure, rewritten(model_bytes(spec_of("deepseek2")), rewrite));
  EXPECT_EQ(result.verdict, Verdict::kFail);
  EXPECT_EQ(first_cause(result), "missing_bias") << result.reason;
  EXPECT_EQ(result.place.tensor, "blk.1.exp_probs_b.bias");
}

// Keys and values of layers that read those of others lie in published files, and nothing uses them.
TEST(Closure, WhatNothingUsesIsNotCountedAsUsed) {
  const Bytes sound = model_bytes(spec_of("gemma4"));
  Rewrite rewrite;
  rewrite.add = [](engine::GgufWriter& writer) {
    writer.add_tensor("blk.7.attn_k.weight", 0, {16}, std::vector<std::byte>(64));
    writer.add_tensor("blk.7.attn_v.weight", 0, {16}, std::vector<std::byte>(64));
  };
  const CheckResult plain = examine(&check_closure, sound), result = examine(&check_closure, rewritten(sound, rewrite));
  EXPECT_EQ(result.verdict, Verdict::kPass) << result.reason;
  EXPECT_EQ(result.reason, plain.reason + "; 2 more are known and not used");
}

TEST(Closure, UnknownTensorsAreNamed) {
  Rewrite rewrite;
  rewrite.add = [](engine::GgufWriter& writer) {
    writer.add_tensor("blk.0.attn_q_norm.weight", 0, {16}, std::vector<std::byte>(64));
  };
  const CheckResult result = examine(&check_closure, rewritten(model_bytes({}), rewrite));
  EXPECT_EQ(result.verdict, Verdict::kFail);
  EXPECT_EQ(first_cause(result), "qk_norm") << result.reason;
  EXPECT_NE(result.reason.find("is not used by this architecture"), std::string::npos);
}

TEST(Closure, ANumberOfLayersThatTheFileDoesNotHave) {
  for (const std::uint32_t n : {1U, 3U, 4000000000U}) {
    Rewrite rewrite;
    rewrite.drop_key = [](std::string_view name) { return name == "llama.block_count"; };
    rewrite.add = [&](engine::GgufWriter& writer) { writer.set_uint32("llama.block_count", n); };
    const CheckResult result = examine(&check_closure, rewritten(model_bytes({}), rewrite));
    EXPECT_EQ(result.verdict, Verdict::kFail);
    EXPECT_EQ(first_cause(result), "truncation") << result.reason;
    EXPECT_EQ(result.place.key, "llama.block_count");
  }
}

TEST(Closure, ImpossibleValues) {
  const std::tuple<const char*, float, const char*> faults[] = {
      {"llama.attention.layer_norm_rms_epsilon", 0.5f, "norm_eps"},
      {"llama.rope.freq_base", 5.0f, "rope_base"},
      {"llama.attention.scale", 8.0f, "attention_scale"},
  };
  for (const auto& [key, value, cause] : faults) {
    Rewrite rewrite;
    rewrite.drop_key = [&](std::string_view name) { return name == key; };
    rewrite.add = [&, key = key, value = value](engine::GgufWriter& writer) { writer.set_float32(key, value); };
    const CheckResult result = examine(&check_closure, rewritten(model_bytes({}), rewrite));
    EXPECT_EQ(result.verdict, Verdict::kFail) << key;
    EXPECT_EQ(first_cause(result), cause) << result.reason;
    EXPECT_EQ(result.place.key, key);
  }
}

void fill(Bytes& bytes, const std::string& tensor, float value) {
  const auto data = tensor_bytes(bytes, tensor);
  for (std::size_t at = 0; at < data.size(); at += 4) std::memcpy(data.data() + at, &value, 4);
}

TEST(Closure, BiasesOfZeroAndNormsOfOne) {
  Bytes zeroed = model_bytes(spec_of("qwen2"));
  for (const char* layer : {"0", "1"}) {
    for (const char* kind : {"q", "k", "v"}) fill(zeroed, std::string("blk.") + layer + ".attn_" + kind + ".bias", 0);
  }
  EXPECT_EQ(first_cause(examine(&check_closure, zeroed)), "missing_bias");
  Bytes one_layer = model_bytes(spec_of("qwen2"));
  fill(one_layer, "blk.1.attn_v.bias", 0);
  const CheckResult result = examine(&check_closure, one_layer);
  EXPECT_EQ(first_cause(result), "missing_bias");
  EXPECT_EQ(result.place.layer, 1);

  Bytes ones = model_bytes({});
  fill(ones, "blk.0.ffn_norm.weight", 1);
  EXPECT_EQ(first_cause(examine(&check_closure, ones)), "norm_weight");
  Bytes qk = model_bytes(spec_of("qwen3"));
  for (const char* name : {"blk.0.attn_q_norm.weight", "blk.1.attn_q_norm.weight"}) fill(qk, name, 1);
  EXPECT_EQ(first_cause(examine(&check_closure, qk)), "qk_norm");
  Bytes dead = model_bytes({});
  fill(dead, "output_norm.weight", 0);
  EXPECT_EQ(first_cause(examine(&check_closure, dead)), "norm_weight");
  Bytes untrained = model_bytes({});  // all norms of exactly 1: no fault
  for (const char* name : {"blk.0.ffn_norm.weight", "blk.0.attn_norm.weight", "blk.1.ffn_norm.weight",
                           "blk.1.attn_norm.weight", "output_norm.weight"}) {
    fill(untrained, name, 1);
  }
  EXPECT_EQ(examine(&check_closure, untrained).verdict, Verdict::kPass);
}

// A delta net's state decays by exp(a dt), a below zero: what a converter has before -exp() is not.
TEST(Closure, ConstantsOfStatesThatCannotBe) {
  Bytes positive = model_bytes(spec_of("qwen35"));
  fill(positive, "blk.1.ssm_a", 0.25F);
  const CheckResult result = examine(&check_closure, positive);
  EXPECT_EQ(result.verdict, Verdict::kFail);
  EXPECT_EQ(first_cause(result), "state") << result.reason;
  EXPECT_EQ(result.place.tensor, "blk.1.ssm_a");
  Bytes none = model_bytes(spec_of("qwen35"));
  fill(none, "blk.0.ssm_a", -0.0F);  // -exp(A_log) of a large negative A_log
  EXPECT_EQ(examine(&check_closure, none).verdict, Verdict::kPass);
  Bytes zero = model_bytes(spec_of("qwen35"));
  fill(zero, "blk.1.ssm_dt.bias", 0);
  EXPECT_EQ(first_cause(examine(&check_closure, zero)), "state");
}

// llama3's divide the fastest pair's frequency by 1 and none by less.
TEST(Closure, RopeFactorsThatCannotBe) {
  tools::SyntheticSpec spec;
  spec.rope_factors = true;
  const Bytes sound = model_bytes(spec);
  EXPECT_EQ(examine(&check_closure, sound).verdict, Verdict::kPass);
  const auto changed = [&](float (*change)(float)) {
    Bytes bytes = sound;
    const auto data = tensor_bytes(bytes, "rope_freqs.weight");
    for (std::size_t at = 0; at < data.size(); at += 4) {
      float factor = 0;
      std::memcpy(&factor, data.data() + at, 4);
      factor = change(factor);
      std::memcpy(data.data() + at, &factor, 4);
    }
    return examine(&check_closure, bytes);
  };
  for (const CheckResult& result : {changed([](float x) { return 178 * x; }), changed([](float x) { return 1 / x; })}) {
    EXPECT_EQ(result.verdict, Verdict::kFail);
    EXPECT_EQ(first_cause(result), "rope_scaling") << result.reason;
    EXPECT_EQ(result.place.tensor, "rope_freqs.weight");
  }
}

TEST(Closure, AFileThatIsNoneIsInconclusive) {
  EXPECT_EQ(examine(&check_closure, Bytes(100)).verdict, Verdict::kInconclusive);
}

}  // namespace
}  // namespace rowmax::doctor
