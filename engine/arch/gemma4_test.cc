#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engine/arch/test_changed_model.h"

namespace rowmax::engine::gemma4_test {
namespace {

// Of eight layers the third, the sixth and the last see everything; the last three have no keys and values of their own.
TEST(Gemma4, WhatItsFilesMean) {
  const auto model = read_changed("gemma4");
  ASSERT_TRUE(model.ok()) << model.error().message;
  const std::vector<int> owner = {-1, -1, -1, -1, -1, 2, 4, 2};
  ASSERT_EQ(model->spec.layers.size(), owner.size());
  for (std::size_t i = 0; i < owner.size(); ++i) {
    const AttentionSpec& a = model->spec.layers[i].attention;
    const bool local = i % 3 != 2 && i != 7;
    EXPECT_EQ(a.window, local ? 64 : 0) << i;
    EXPECT_EQ(a.head_dim, local ? 32 : 64) << i;
    EXPECT_EQ(a.rope, local ? 1 : 0) << i;
    EXPECT_EQ(a.kv_layer, owner[i]) << i;
    EXPECT_EQ(a.scale, 1) << i;
    EXPECT_TRUE(a.v_norm && !a.v_is_k && a.qk_norm == QkNorm::kHead) << i;
    EXPECT_EQ(model->spec.layers[i].n_layer_embd, 16);
    EXPECT_TRUE(model->spec.layers[i].output_scale && model->spec.layers[i].post_norms);
  }
  // A quarter of a global head's pairs turn; local ones turn whole.
  EXPECT_EQ(model->spec.ropes[0].divisors.size(), 32u);
  EXPECT_EQ(model->spec.ropes[0].divisors[7], 1);
  EXPECT_EQ(model->spec.ropes[0].divisors[8], 1e30f);
  EXPECT_TRUE(model->spec.ropes[1].divisors.empty());
  EXPECT_EQ(model->spec.ropes[1].n_rot, 32);
}

TEST(Gemma4, GlobalLayersWithoutAProductForVHaveK) {
  const auto model = read_changed("gemma4", {"blk.2.attn_v.weight"});
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_TRUE(model->spec.layers[2].attention.v_is_k);
  EXPECT_FALSE(model->spec.layers[1].attention.v_is_k);
  // Of layers with a window, and where only some lack it, it is lost.
  expect_refused("gemma4", ErrorCode::kCorrupt, {"blk.1.attn_v.weight", "missing"}, {"blk.1.attn_v.weight"});
  const auto all_own = [](GgufWriter& writer) {
    writer.remove("gemma4.attention.shared_kv_layers");
    writer.remove("gemma4.block_count");
    writer.set_uint32("gemma4.attention.shared_kv_layers", 0);
    writer.set_uint32("gemma4.block_count", 8);
  };
  expect_refused("gemma4", ErrorCode::kCorrupt, {"blk.5.attn_k.weight", "missing"}, {}, all_own);
}

TEST(Gemma4, WhatMustBeThere) {
  for (const char* name :
       {"rope_freqs.weight", "per_layer_token_embd.weight", "per_layer_model_proj.weight", "per_layer_proj_norm.weight",
        "blk.3.inp_gate.weight", "blk.3.proj.weight", "blk.3.post_norm.weight", "blk.3.layer_output_scale.weight"}) {
    expect_refused("gemma4", ErrorCode::kCorrupt, {name, "missing"}, {name});
  }
}

TEST(Gemma4, NumbersThatDifferFromLayerToLayer) {
  const auto list = [](const char* key, std::vector<std::int32_t> values) {
    return [=](GgufWriter& writer) {
      writer.remove(key);
      writer.set_int32s(key, values);
    };
  };
  const char* const widths = "gemma4.feed_forward_length";
  expect_refused("gemma4", ErrorCode::kCorrupt, {widths, "8 values", "found 3"}, {}, list(widths, {160, 160, 320}));
  expect_refused("gemma4", ErrorCode::kCorrupt, {"blk.1.ffn_gate.weight", "[64, 320]"}, {},
                 list(widths, {160, 320, 160, 160, 160, 160, 160, 160}));
  const char* const heads = "gemma4.attention.head_count_kv";
  expect_refused("gemma4", ErrorCode::kCorrupt, {heads, "divisor of attention.head_count 4", "found 3"}, {},
                 list(heads, {2, 2, 3, 2, 2, 2, 2, 2}));
  expect_refused("gemma4", ErrorCode::kCorrupt, {"blk.2.attn_k.weight", "[64, 64]"}, {},
                 list(heads, {2, 2, 1, 2, 2, 2, 2, 2}));
}

TEST(Gemma4, KeysThatChangeItAreRefused) {
  expect_refused("gemma4", ErrorCode::kCorrupt, {"expert_feed_forward_length", "is missing", "expert_count"}, {},
                 [](GgufWriter& writer) { writer.set_uint32("gemma4.expert_count", 128); });
  expect_refused("gemma4", ErrorCode::kCorrupt, {"sliding_window_pattern", "found none"}, {},
                 [](GgufWriter& writer) { writer.remove("gemma4.attention.sliding_window_pattern"); });
  expect_refused("gemma4", ErrorCode::kUnsupported, {"value_length_swa", "key length 32", "found 16"}, {},
                 [](GgufWriter& writer) {
                   writer.remove("gemma4.attention.value_length_swa");
                   writer.set_uint32("gemma4.attention.value_length_swa", 16);
                 });
  // Five layers of one kind cannot share those of the other.
  expect_refused("gemma4", ErrorCode::kCorrupt, {"shared_kv_layers", "none is of layer"}, {}, [](GgufWriter& writer) {
    writer.remove("gemma4.attention.shared_kv_layers");
    writer.set_uint32("gemma4.attention.shared_kv_layers", 7);
  });
}

// As 26B-A4B: experts beside the FFN in every layer, V is K in the third and the last, with fewer heads.
TEST(Gemma4, ExpertsBesideTheFfn) {
  const auto model = read_changed("gemma4_moe");
  ASSERT_TRUE(model.ok()) << model.error().message;
  ASSERT_EQ(model->spec.layers.size(), 6u);
  for (std::size_t i = 0; i < 6; ++i) {
    const LayerSpec& layer = model->spec.layers[i];
    const FfnSpec& f = layer.ffn;
    EXPECT_TRUE(f.kind == FfnKind::kExperts && f.beside && f.branch_norms && f.router_norm && f.expert_factors) << i;
    EXPECT_TRUE(!f.shared_gate && f.renormalise && f.expert_gate == ExpertGate::kSoftmax && f.n_group == 1) << i;
    EXPECT_EQ(f.activation, FfnActivation::kGeluTanh);
    EXPECT_EQ(f.n_expert, 8);
    EXPECT_EQ(f.n_used, 2);
    EXPECT_EQ(f.n_ff, 80);
    EXPECT_EQ(f.n_shared, 160);
    EXPECT_EQ(layer.attention.v_is_k, i % 3 == 2) << i;
    EXPECT_EQ(layer.attention.n_kv_head, i % 3 == 2 ? 1 : 2) << i;
    // Gate and up of an expert lie one behind the other.
    const WeightSource &gate = model->sources.layers[i][W::kExpertGate], &up = model->sources.layers[i][W::kExpertUp];
    const std::size_t half = 80 * 64 * sizeof(float);
    EXPECT_EQ(gate.stride, 2 * half);
    EXPECT_EQ(up.bytes_of(0).data(), gate.bytes_of(0).data() + half);
    EXPECT_EQ(gate.bytes_of(7).data(), gate.bytes_of(0).data() + 7 * 2 * half);
    EXPECT_EQ(up.bytes_of(7).size(), half);
    EXPECT_EQ(&up.bytes.back(), &up.bytes_of(7).back());
  }
}

TEST(Gemma4, WhatExpertsNeed) {
  for (const char* name :
       {"ffn_gate.weight", "ffn_up.weight", "ffn_down.weight", "ffn_gate_inp.weight", "ffn_gate_inp.scale",
        "pre_ffw_norm_2.weight", "post_ffw_norm_1.weight", "post_ffw_norm_2.weight", "post_ffw_norm.weight",
        "ffn_down_exps.weight", "ffn_down_exps.scale"}) {
    const std::string tensor = std::string("blk.1.") + name;
    expect_refused("gemma4_moe", ErrorCode::kCorrupt, {tensor.c_str(), "missing"}, {tensor});
  }
  expect_refused("gemma4_moe", ErrorCode::kCorrupt,
                 {"'blk.1.ffn_gate_exps.weight' or 'blk.1.ffn_gate_up_exps.weight' is missing"},
                 {"blk.1.ffn_gate_up_exps.weight"});
  const auto set = [](const char* key, std::uint32_t value) {
    return [=](GgufWriter& writer) {
      writer.remove(key);
      writer.set_uint32(key, value);
    };
  };
  const char* const dense = "gemma4.feed_forward_length";
  expect_refused("gemma4_moe", ErrorCode::kCorrupt, {dense, "at least 1, found 0"}, {}, set(dense, 0));
  expect_refused("gemma4_moe", ErrorCode::kCorrupt, {dense, "is missing beside"}, {},
                 [&](GgufWriter& writer) { writer.remove(dense); });
  expect_refused("gemma4_moe", ErrorCode::kCorrupt, {"expert_used_count", "at most 8", "found 9"}, {},
                 set("gemma4.expert_used_count", 9));
  expect_refused("gemma4_moe", ErrorCode::kCorrupt, {"blk.0.ffn_gate_up_exps.weight", "[64, 128, 8]", "[64, 160, 8]"},
                 {}, set("gemma4.expert_feed_forward_length", 64));
  expect_refused("gemma4_moe", ErrorCode::kUnsupported, {"expert_shared_count", "experts are added"}, {},
                 set("gemma4.expert_shared_count", 1));
  // Without experts their tensors are nobody's.
  expect_refused("gemma4_moe", ErrorCode::kUnsupported, {"blk.0.", "is not used"}, {}, set("gemma4.expert_count", 0));
}

// Gate and up by themselves, as other files of experts have them.
TEST(Gemma4, ExpertsGateAndUpApart) {
  const auto apart = [](std::size_t layers) {
    return [=](GgufWriter& writer) {
      for (std::size_t i = 0; i < layers; ++i) {
        for (const char* part : {"gate", "up"}) {
          writer.add_tensor("blk." + std::to_string(i) + ".ffn_" + part + "_exps.weight", 0, {64, 80, 8},
                            std::vector<std::byte>(std::size_t{4} * 64 * 80 * 8));
        }
      }
    };
  };
  const auto model = read_changed("gemma4_moe", {"blk.0.ffn_gate_up_exps.weight"}, apart(1));
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->sources.layers[0][W::kExpertGate].stride, 0u);
  EXPECT_EQ(model->sources.layers[0][W::kExpertGate].bytes_of(3).size(), std::size_t{4} * 64 * 80);
  // Both ways at once: one of them would be left.
  expect_refused("gemma4_moe", ErrorCode::kUnsupported, {"blk.0.ffn_gate_up_exps.weight", "is not used"}, {}, apart(1));
}

// Keys and values of layers that read those of others are known, and nothing uses them.
TEST(Gemma4, UnusedKeysAndValuesAreCounted) {
  const auto without = read_changed("gemma4");
  ASSERT_TRUE(without.ok()) << without.error().message;
  EXPECT_EQ(without->description.n_unused_tensors, 0);
  const auto model = read_changed("gemma4", {}, [](GgufWriter& writer) {
    for (const char* name : {"blk.5.attn_k.weight", "blk.5.attn_v.weight", "blk.7.attn_k_norm.weight"}) {
      writer.add_tensor(name, 0, {64}, std::vector<std::byte>(256));
    }
  });
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->description.n_unused_tensors, 3);
  const auto fact = std::ranges::find(model->description.facts, "shared_kv", &ModelFact::name);
  ASSERT_NE(fact, model->description.facts.end());
  EXPECT_EQ(fact->value, "3 tensors, not used");
  EXPECT_NE(fact->source.find("2 layers"), std::string::npos) << fact->source;
}

// A bias that is not asked for is there in every layer or in none.
TEST(Gemma4, ABiasOfSomeLayersAlone) {
  const auto add = [](std::vector<int> layers, const char* name, std::int64_t n) {
    return [=](GgufWriter& writer) {
      for (const int layer : layers) {
        writer.add_tensor("blk." + std::to_string(layer) + "." + name, 0, {n},
                          std::vector<std::byte>(static_cast<std::size_t>(4 * n)));
      }
    };
  };
  const std::vector<int> all = {0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_TRUE(read_changed("gemma4", {}, add(all, "attn_output.bias", 64)).ok());
  EXPECT_TRUE(read_changed("gemma3", {}, add({0, 1, 2, 3, 4, 5, 6}, "attn_v.bias", 64)).ok());
  expect_refused("gemma4", ErrorCode::kCorrupt,
                 {"blk.0.attn_output.bias", "missing", "blk.3.attn_output.bias", "all layers or in none"}, {},
                 add({5, 3}, "attn_output.bias", 64));
  expect_refused("gemma4", ErrorCode::kCorrupt, {"'blk.2.attn_output.bias' is missing"}, {},
                 add({0, 1, 3}, "attn_output.bias", 64));
  expect_refused("llama", ErrorCode::kCorrupt, {"'blk.1.attn_q.bias' is missing"}, {}, add({0}, "attn_q.bias", 64));
}

// Of the architectures whose norm behind attention has that name too, none may stand for the one that is lost.
TEST(Gemma4, ANormThatIsLostIsNoOther) {
  for (const char* arch : {"gemma4", "gemma3", "gemma2"}) {
    SCOPED_TRACE(arch);
    expect_refused(arch, ErrorCode::kCorrupt, {"blk.1.ffn_norm.weight", "missing"}, {"blk.1.ffn_norm.weight"});
  }
}

}  // namespace
}  // namespace rowmax::engine::gemma4_test
