#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "engine/arch/architecture.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine::qwen35_test {
namespace {

constexpr auto kNoChange = [](GgufWriter&) {};

Result<ReadModel> read(const std::string& arch, const std::function<void(GgufWriter&)>& change = kNoChange) {
  tools::SyntheticSpec spec;
  spec.arch = arch;
  spec.layers = 8;
  auto writer = tools::make_synthetic_model(spec);
  EXPECT_TRUE(writer.ok()) << writer.error().message;
  change(*writer);
  static std::vector<std::byte> bytes;
  auto written = writer->bytes();
  EXPECT_TRUE(written.ok()) << written.error().message;
  if (!written.ok()) return written.error();
  bytes = std::move(written).value();
  auto file = GgufFile::parse(bytes, "m.gguf");
  EXPECT_TRUE(file.ok()) << file.error().message;
  return read_model(*file, {}, {});
}

void expect_refused(const std::string& arch, ErrorCode code, std::initializer_list<const char*> texts,
                    const std::function<void(GgufWriter&)>& change) {
  const auto model = read(arch, change);
  ASSERT_FALSE(model.ok()) << *texts.begin();
  EXPECT_EQ(model.error().code, code) << model.error().message;
  for (const char* text : texts) {
    EXPECT_NE(model.error().message.find(text), std::string::npos) << text << ": " << model.error().message;
  }
}

auto set(const char* key, std::uint32_t value) {
  return [=](GgufWriter& writer) {
    writer.remove(key);
    writer.set_uint32(key, value);
  };
}

TEST(Qwen35, EveryFourthLayerAttendsWithAGate) {
  const auto model = read("qwen35");
  ASSERT_TRUE(model.ok()) << model.error().message;
  for (std::size_t i = 0; i < 8; ++i) {
    const LayerSpec& layer = model->spec.layers[i];
    EXPECT_EQ(layer.mixer, i % 4 == 3 ? MixerKind::kAttention : MixerKind::kDeltaNet) << i;
    EXPECT_TRUE(layer.attention.output_gate && layer.attention.qk_norm == QkNorm::kHead);
    EXPECT_EQ(layer.ffn.kind, FfnKind::kDense);
    EXPECT_FALSE(layer.delta.output_grouped);
  }
  const DeltaNetSpec& delta = model->spec.layers[0].delta;
  EXPECT_EQ(delta.n_key_head, 2);
  EXPECT_EQ(delta.n_value_head, 4);
  EXPECT_EQ(delta.value_dim, 16);
  EXPECT_EQ(delta.conv_channels(), 2 * 32 + 64);
  EXPECT_EQ(model->spec.ropes[0].n_rot, 8);
}

TEST(Qwen35, AListOfLayersCountsMoreThanTheInterval) {
  const std::vector<std::int32_t> listed = {1, 0, 1, 1, 0, 1, 1, 0};
  // The tensors are those of the interval, so the first layer that differs is named.
  expect_refused("qwen35", ErrorCode::kCorrupt, {"blk.1.attn_q.weight", "missing"},
                 [&](GgufWriter& writer) { writer.set_int32s("qwen35.attention.recurrent_layers", listed); });
  const auto same = read("qwen35", [](GgufWriter& writer) {
    writer.remove("qwen35.full_attention_interval");
    writer.set_uint32("qwen35.full_attention_interval", 3);
    writer.set_int32s("qwen35.attention.recurrent_layers", {1, 1, 1, 0, 1, 1, 1, 0});
  });
  EXPECT_TRUE(same.ok()) << same.error().message;
  expect_refused("qwen35", ErrorCode::kCorrupt, {"recurrent_layers", "expected 8", "found 3"}, [](GgufWriter& writer) {
    writer.set_int32s("qwen35.attention.recurrent_layers", {1, 1, 0});
  });
}

TEST(Qwen35, DraftLayersAreKnownAndNotUsed) {
  const auto model = read("qwen35", [](GgufWriter& writer) {
    writer.remove("qwen35.block_count");
    writer.set_uint32("qwen35.block_count", 9);
    writer.set_uint32("qwen35.nextn_predict_layers", 1);
    writer.add_tensor("blk.8.nextn.eh_proj.weight", 0, {1}, std::vector<std::byte>(4));
  });
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->spec.shape.n_layer, 8);
  bool told = false;
  for (const ModelFact& fact : model->description.facts) {
    told = told || (fact.name == "draft_layer" && fact.value == "1 tensors, not used");
  }
  EXPECT_TRUE(told);
  // A tensor of a layer that the file does not have is nobody's.
  expect_refused("qwen35", ErrorCode::kUnsupported, {"blk.8.nextn.enorm.weight", "not used"}, [](GgufWriter& writer) {
    writer.add_tensor("blk.8.nextn.enorm.weight", 0, {1}, std::vector<std::byte>(4));
  });
}

TEST(Qwen35, ALayerIsNoDraftLayerBecauseAKeySaysSo) {
  expect_refused("qwen35", ErrorCode::kCorrupt, {"nextn_predict_layers", "block 6", "blk.6.nextn.eh_proj.weight"},
                 set("qwen35.nextn_predict_layers", 2));
}

TEST(Qwen35, ImpossibleShapesAreNamed) {
  expect_refused("qwen35", ErrorCode::kCorrupt, {"ssm.time_step_rank", "multiple of the 2 key heads", "found 5"},
                 set("qwen35.ssm.time_step_rank", 5));
  expect_refused("qwen35", ErrorCode::kCorrupt, {"ssm.inner_size", "multiple of the 4", "found 66"},
                 set("qwen35.ssm.inner_size", 66));
  expect_refused("qwen35", ErrorCode::kCorrupt, {"ssm.conv_kernel", "2 to 8", "found 9"},
                 set("qwen35.ssm.conv_kernel", 9));
  expect_refused("qwen35", ErrorCode::kCorrupt, {"blk.0.ssm_conv1d.weight", "[3, 128]", "[4, 128]"},
                 set("qwen35.ssm.conv_kernel", 3));
  expect_refused("qwen35", ErrorCode::kCorrupt, {"nextn_predict_layers"}, set("qwen35.nextn_predict_layers", 8));
  expect_refused("qwen35", ErrorCode::kUnsupported, {"rope.dimension_sections", "all 4 pairs"}, [](GgufWriter& writer) {
    writer.remove("qwen35.rope.dimension_sections");
    writer.set_int32s("qwen35.rope.dimension_sections", {0, 0, 0, 2});
  });
  EXPECT_TRUE(read("qwen35", [](GgufWriter& writer) {
                writer.remove("qwen35.rope.dimension_sections");
                writer.set_int32s("qwen35.rope.dimension_sections", {2, 1, 1, 0});
              }).ok());
}

TEST(Experts, FactsAndLimits) {
  const auto model = read("qwen35moe");
  ASSERT_TRUE(model.ok()) << model.error().message;
  const FfnSpec& ffn = model->spec.layers[5].ffn;
  EXPECT_EQ(ffn.kind, FfnKind::kExperts);
  EXPECT_EQ(ffn.n_expert, 8);
  EXPECT_EQ(ffn.n_used, 2);
  EXPECT_EQ(ffn.n_ff, 80);
  EXPECT_EQ(ffn.n_shared, 80);
  EXPECT_TRUE(ffn.renormalise);
  EXPECT_EQ(model->sources.layers[0][W::kExpertDown].n, 8);
  const auto plain = read("qwen3moe", [](GgufWriter& writer) {
    GgufValue no{GgufType::kBool, false};
    writer.set_value("qwen3moe.expert_weights_norm", no);
  });
  ASSERT_TRUE(plain.ok()) << plain.error().message;
  EXPECT_FALSE(plain->spec.layers[0].ffn.renormalise);
  EXPECT_EQ(plain->spec.layers[0].ffn.n_shared, 0);
  expect_refused("qwen3moe", ErrorCode::kCorrupt, {"expert_used_count", "at most 8", "found 9"},
                 set("qwen3moe.expert_used_count", 9));
  expect_refused("qwen3moe", ErrorCode::kUnsupported, {"expert_gating_func", "softmax", "found 2"},
                 set("qwen3moe.expert_gating_func", 2));
  expect_refused("qwen3moe", ErrorCode::kUnsupported, {"expert_group_count", "found 4"},
                 set("qwen3moe.expert_group_count", 4));
  expect_refused("qwen3moe", ErrorCode::kUnsupported, {"expert_weights_scale", "found 2"},
                 [](GgufWriter& writer) { writer.set_float32("qwen3moe.expert_weights_scale", 2); });
  expect_refused("qwen3moe", ErrorCode::kCorrupt, {"blk.0.ffn_gate_inp.weight", "[64, 7]", "[64, 8]"},
                 set("qwen3moe.expert_count", 7));
}

}  // namespace
}  // namespace rowmax::engine::qwen35_test
