#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/arch/test_changed_model.h"

namespace rowmax::engine::gpt_oss_test {
namespace {

TEST(GptOss, WhatItsFilesMean) {
  const auto model = read_changed("gpt-oss", {}, [](GgufWriter& writer) {
    writer.set_string("gpt-oss.rope.scaling.type", "yarn");
    writer.set_float32("gpt-oss.rope.scaling.factor", 32);
    writer.set_uint32("gpt-oss.rope.scaling.original_context_length", 4096);
  });
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_FALSE(model->spec.ropes[0].yarn->whole_pairs);
  for (std::size_t i = 0; i < model->spec.layers.size(); ++i) {
    const LayerSpec& layer = model->spec.layers[i];
    EXPECT_EQ(layer.attention.window, i % 2 == 0 ? 64 : 0) << i;
    EXPECT_TRUE(layer.attention.sinks && layer.attention.biases && layer.ffn.biases && layer.ffn.renormalise) << i;
    EXPECT_EQ(layer.ffn.activation, FfnActivation::kGeluQuick);
    EXPECT_EQ(layer.ffn.gate_limit, 7);
    EXPECT_EQ(layer.ffn.up_offset, 1);
  }
}

// The embedding does not stand for a head that was lost.
TEST(GptOss, TheHeadMustBeThere) {
  expect_refused("gpt-oss", ErrorCode::kCorrupt, {"'output.weight' is missing", "gpt-oss", "head of their own"},
                 {"output.weight"});
}

TEST(GptOss, EveryBiasAndSinkMustBeThere) {
  for (const char* name : {"attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_output.bias", "attn_sinks.weight",
                           "ffn_gate_inp.bias", "ffn_gate_exps.bias", "ffn_up_exps.bias", "ffn_down_exps.bias"}) {
    const std::string tensor = "blk.2." + std::string(name);
    expect_refused("gpt-oss", ErrorCode::kCorrupt, {tensor.c_str(), "missing"}, {tensor});
  }
}

TEST(GptOss, KeysThatChangeItAreReadOrRefused) {
  const auto local = read_changed("gpt-oss", {}, [](GgufWriter& writer) {
    writer.set_float32("gpt-oss.rope.freq_base_swa", 10000);
    writer.set_uint32("gpt-oss.attention.sliding_window_pattern", 4);
  });
  ASSERT_TRUE(local.ok()) << local.error().message;
  ASSERT_EQ(local->spec.ropes.size(), 2u);
  EXPECT_EQ(local->spec.ropes[1].base, 10000);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(local->spec.layers[i].attention.window, i == 3 ? 0 : 64);
    EXPECT_EQ(local->spec.layers[i].attention.rope, i == 3 ? 0 : 1);
  }
  expect_refused("gpt-oss", ErrorCode::kUnsupported, {"expert_gating_func", "softmax", "found 2"}, {},
                 [](GgufWriter& writer) { writer.set_uint32("gpt-oss.expert_gating_func", 2); });
  expect_refused("gpt-oss", ErrorCode::kUnsupported, {"swiglu_clamp_exp", "clamped"}, {},
                 [](GgufWriter& writer) { writer.set_float32("gpt-oss.swiglu_clamp_exp", 10); });
  expect_refused("gpt-oss", ErrorCode::kCorrupt, {"attention.sliding_window", "missing"}, {},
                 [](GgufWriter& writer) { writer.remove("gpt-oss.attention.sliding_window"); });
}

TEST(GptOss, KeysOfOtherMixturesAreNotPassedOver) {
  for (const char* key : {"leading_dense_block_count", "interleave_moe_layer_step"}) {
    expect_refused("gpt-oss", ErrorCode::kUnsupported, {key, "found 3"}, {},
                   [&](GgufWriter& writer) { writer.set_uint32(std::string("gpt-oss.") + key, 3); });
  }
  const auto capped = [](GgufWriter& writer) { writer.set_float32("gpt-oss.router_logit_softcapping", 3); };
  expect_refused("gpt-oss", ErrorCode::kUnsupported, {"router_logit_softcapping", "found 3"}, {}, capped);
}

}  // namespace
}  // namespace rowmax::engine::gpt_oss_test
