#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/arch/test_changed_model.h"

namespace rowmax::engine::lfm2_test {
namespace {

std::string mixers(const ModelSpec& spec) {
  std::string text;
  for (const LayerSpec& layer : spec.layers) text += layer.mixer == MixerKind::kShortConv ? 'c' : 'a';
  return text;
}

TEST(Lfm2, WhatItsFilesMean) {
  for (const char* arch : {"lfm2", "lfm2moe"}) {
    const auto model = read_changed(arch);
    ASSERT_TRUE(model.ok()) << model.error().message;
    const ModelSpec& spec = model->spec;
    EXPECT_EQ(mixers(spec), "ccac");
    EXPECT_EQ(spec.shape.n_kv_head, 2);
    EXPECT_EQ(spec.ropes[0].pairing, RopePairing::kHalves);  // llama.cpp, llama_model_rope_type
    for (const LayerSpec& layer : spec.layers) {
      EXPECT_EQ(layer.attention.qk_norm, QkNorm::kHead);
      EXPECT_EQ(layer.attention.n_kv_head, 2);
      EXPECT_EQ(layer.short_conv.n_channel, spec.shape.n_embd);
      EXPECT_EQ(layer.short_conv.conv_width, 3);
      EXPECT_EQ(layer.short_conv.gate_run, 1);
    }
    EXPECT_EQ(model->sources.output_norm.name, "token_embd_norm.weight");
    EXPECT_EQ(model->description.memory.state_floats, 3 * 2 * 64);  // three layers, two inputs of 64 channels
  }
}

TEST(Lfm2, ExpertsFollowDenseLayers) {
  const auto model = read_changed("lfm2moe", {}, [](GgufWriter& writer) {
    writer.set_float32("lfm2moe.expert_weights_scale", 2.5f);  // as ollama's converter writes it
  });
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->spec.layers[0].ffn.kind, FfnKind::kDense);
  EXPECT_EQ(model->spec.layers[0].ffn.n_ff, 160);
  EXPECT_EQ(model->spec.shape.n_ff, 160);
  for (std::size_t i = 1; i < 4; ++i) {
    const FfnSpec& ffn = model->spec.layers[i].ffn;
    EXPECT_EQ(ffn.kind, FfnKind::kExperts) << i;
    EXPECT_EQ(ffn.expert_gate, ExpertGate::kSigmoid);
    EXPECT_TRUE(ffn.choice_bias && ffn.renormalise);
    EXPECT_EQ(ffn.sum_offset, 1e-6f);
    EXPECT_EQ(ffn.expert_scale, 2.5f);
    EXPECT_EQ(ffn.n_ff, 80);
  }
  // Every number of dense layers but the file's own asks for other tensors.
  for (const std::uint32_t n : {0u, 2u, 4u}) {
    expect_refused("lfm2moe", ErrorCode::kCorrupt, {"blk.", "is missing"}, {}, [&](GgufWriter& writer) {
      writer.remove("lfm2moe.leading_dense_block_count");
      writer.set_uint32("lfm2moe.leading_dense_block_count", n);
    });
  }
}

// ollama's converter calls it as other architectures do; a file that has both is of neither.
TEST(Lfm2, TheOutputNormHasTwoNames) {
  const auto add_usual = [&](GgufWriter& writer) {
    writer.add_tensor("output_norm.weight", 0, {64}, std::vector<std::byte>(64 * sizeof(float)));
  };
  const auto usual = read_changed("lfm2", {"token_embd_norm.weight"}, add_usual);
  ASSERT_TRUE(usual.ok()) << usual.error().message;
  EXPECT_EQ(usual->sources.output_norm.name, "output_norm.weight");
  expect_refused("lfm2", ErrorCode::kUnsupported, {"token_embd_norm.weight", "not used"}, {}, add_usual);
  expect_refused("lfm2", ErrorCode::kCorrupt, {"'token_embd_norm.weight' or 'output_norm.weight' is missing"},
                 {"token_embd_norm.weight"});
  // Of other architectures it would be another norm.
  expect_refused("llama", ErrorCode::kCorrupt, {"output_norm.weight", "missing"}, {"output_norm.weight"},
                 [](GgufWriter& writer) {
                   writer.add_tensor("token_embd_norm.weight", 0, {64}, std::vector<std::byte>(64 * sizeof(float)));
                 });
}

TEST(Lfm2, LayersAreAsTheKvHeadsSay) {
  const auto with = [](std::vector<std::int32_t> kv_heads) {
    return [kv_heads](GgufWriter& writer) {
      writer.remove("lfm2.attention.head_count_kv");
      writer.set_int32s("lfm2.attention.head_count_kv", kv_heads);
    };
  };
  expect_refused("lfm2", ErrorCode::kCorrupt, {"blk.1.attn_q.weight", "missing"}, {}, with({0, 2, 2, 0}));
  expect_refused("lfm2", ErrorCode::kCorrupt, {"blk.2.shortconv.in_proj.weight", "missing"}, {}, with({0, 0, 0, 2}));
  expect_refused("lfm2", ErrorCode::kCorrupt, {"head_count_kv", "4 values"}, {}, with({0, 0, 2}));
  expect_refused("lfm2", ErrorCode::kCorrupt, {"head_count_kv", "divisor", "found 3"}, {}, with({0, 0, 3, 0}));
  expect_refused("lfm2", ErrorCode::kCorrupt, {"head_count_kv", "found 4 from -1"}, {}, with({0, 0, 2, -1}));
  expect_refused("lfm2", ErrorCode::kCorrupt, {"head_count_kv", "found 0"}, {}, with({0, 0, 0, 0}));
  // Others have no layers without heads.
  expect_refused("llama", ErrorCode::kCorrupt, {"head_count_kv", "from 1 to", "found 2 from 0"}, {},
                 [](GgufWriter& writer) {
                   writer.remove("llama.attention.head_count_kv");
                   writer.set_int32s("llama.attention.head_count_kv", {2, 0});
                 });
}

TEST(Lfm2, KeysThatItNeedsAndKeysThatItHasNot) {
  const auto set = [](const char* key, std::uint32_t value) {
    return [=](GgufWriter& writer) {
      writer.remove(key);
      writer.set_uint32(key, value);
    };
  };
  expect_refused("lfm2", ErrorCode::kCorrupt, {"lfm2.shortconv.l_cache", "missing"}, {},
                 [](GgufWriter& writer) { writer.remove("lfm2.shortconv.l_cache"); });
  for (const std::uint32_t width : {0u, 1u, 9u}) {
    expect_refused("lfm2", ErrorCode::kCorrupt, {"lfm2.shortconv.l_cache", "2 to 8"}, {},
                   set("lfm2.shortconv.l_cache", width));
  }
  expect_refused("lfm2", ErrorCode::kCorrupt, {"shortconv.conv.weight", "[4, 64]", "[3, 64]"}, {},
                 set("lfm2.shortconv.l_cache", 4));
  // The audio detokenizer's; bidirectional embedding models.
  expect_refused("lfm2", ErrorCode::kUnsupported, {"attention.sliding_window"}, {},
                 set("lfm2.attention.sliding_window", 30));
  expect_refused("lfm2", ErrorCode::kUnsupported, {"attention.causal"}, {},
                 [](GgufWriter& writer) { writer.set_bool("lfm2.attention.causal", false); });
  for (const std::uint32_t gate : {0u, 1u, 3u}) {
    expect_refused("lfm2moe", ErrorCode::kUnsupported, {"expert_gating_func", "2 (sigmoid)"}, {},
                   set("lfm2moe.expert_gating_func", gate));
  }
  expect_refused("lfm2moe", ErrorCode::kCorrupt, {"feed_forward_length"}, {},
                 [](GgufWriter& writer) { writer.remove("lfm2moe.feed_forward_length"); });
  expect_refused("lfm2moe", ErrorCode::kCorrupt, {"leading_dense_block_count", "0 to 4"}, {},
                 set("lfm2moe.leading_dense_block_count", 5));
  expect_refused("lfm2moe", ErrorCode::kCorrupt, {"blk.1.exp_probs_b.bias", "missing"}, {"blk.1.exp_probs_b.bias"});
  // conv_bias, which no published model has.
  expect_refused("lfm2", ErrorCode::kUnsupported, {"blk.0.shortconv.conv.bias", "not used"}, {},
                 [](GgufWriter& writer) {
                   writer.add_tensor("blk.0.shortconv.conv.bias", 0, {64}, std::vector<std::byte>(64 * sizeof(float)));
                 });
}

}  // namespace
}  // namespace rowmax::engine::lfm2_test
