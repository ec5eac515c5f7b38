#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/arch/test_changed_model.h"

namespace rowmax::engine {
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
  expect_refused("gemma4", ErrorCode::kCorrupt, {heads, "divisor of head_count 4", "found 3"}, {},
                 list(heads, {2, 2, 3, 2, 2, 2, 2, 2}));
  expect_refused("gemma4", ErrorCode::kCorrupt, {"blk.2.attn_k.weight", "[64, 64]"}, {},
                 list(heads, {2, 2, 1, 2, 2, 2, 2, 2}));
}

TEST(Gemma4, KeysThatChangeItAreRefused) {
  expect_refused("gemma4", ErrorCode::kUnsupported, {"expert_count", "mixture of experts"}, {},
                 [](GgufWriter& writer) { writer.set_uint32("gemma4.expert_count", 128); });
  expect_refused("gemma4", ErrorCode::kCorrupt, {"sliding_window_pattern", "found none"}, {},
                 [](GgufWriter& writer) { writer.remove("gemma4.attention.sliding_window_pattern"); });
  expect_refused("gemma4", ErrorCode::kUnsupported, {"value_length_swa", "32"}, {}, [](GgufWriter& writer) {
    writer.remove("gemma4.attention.value_length_swa");
    writer.set_uint32("gemma4.attention.value_length_swa", 16);
  });
  // Five layers of one kind cannot share those of the other.
  expect_refused("gemma4", ErrorCode::kCorrupt, {"shared_kv_layers", "none is of layer"}, {}, [](GgufWriter& writer) {
    writer.remove("gemma4.attention.shared_kv_layers");
    writer.set_uint32("gemma4.attention.shared_kv_layers", 7);
  });
}

// Of the architectures whose norm behind attention has that name too, none may stand for the one that is lost.
TEST(Gemma4, ANormThatIsLostIsNoOther) {
  for (const char* arch : {"gemma4", "gemma3", "gemma2"}) {
    SCOPED_TRACE(arch);
    expect_refused(arch, ErrorCode::kCorrupt, {"blk.1.ffn_norm.weight", "missing"}, {"blk.1.ffn_norm.weight"});
  }
}

}  // namespace
}  // namespace rowmax::engine
