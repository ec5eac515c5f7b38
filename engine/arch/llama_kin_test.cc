// What the keys of Llama's kin say: smollm3, granite, minicpm, mistral3, hunyuan-dense, olmo2. Their logits are
// tests/golden's.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>

#include "engine/arch/read_spec.h"

namespace rowmax::engine::llama_kin_test {
namespace {

using Change = std::function<void(GgufWriter&)>;

Result<ModelSpec> read(
    const std::string& arch, const Change& change = [](GgufWriter&) {}) {
  GgufWriter writer;
  const auto count = [&](const char* key, std::uint32_t value) { writer.set_uint32(arch + "." + key, value); };
  writer.set_string("general.architecture", arch);
  count("context_length", 512);
  count("embedding_length", 64);
  count("block_count", 8);
  count("feed_forward_length", 96);
  count("attention.head_count", 4);
  count("attention.head_count_kv", 2);
  writer.set_float32(arch + ".attention.layer_norm_rms_epsilon", 1e-5f);
  change(writer);
  const auto bytes = writer.bytes();
  EXPECT_TRUE(bytes.ok());
  auto file = GgufFile::parse(*bytes, "m.gguf");
  EXPECT_TRUE(file.ok());
  return read_spec(*file);
}

ModelSpec spec_of(
    const std::string& arch, const Change& change = [](GgufWriter&) {}) {
  auto spec = read(arch, change);
  EXPECT_TRUE(spec.ok()) << spec.error().message;
  return spec.ok() ? std::move(spec).value() : ModelSpec();
}

void expect_refused(const Result<ModelSpec>& spec, std::initializer_list<const char*> texts) {
  ASSERT_FALSE(spec.ok()) << *texts.begin();
  for (const char* text : texts) {
    EXPECT_NE(spec.error().message.find(text), std::string::npos) << text << ": " << spec.error().message;
  }
}

std::string turning(const ModelSpec& spec) {
  std::string text;
  for (const LayerSpec& layer : spec.layers) text += layer.attention.rope < 0 ? '0' : '1';
  return text;
}

// llama.cpp, llama_model_rope_type.
TEST(LlamaKin, Pairing) {
  for (const std::string arch : {"smollm3", "granite", "minicpm", "mistral3"}) {
    const ModelSpec spec = spec_of(arch, [&](GgufWriter& w) { w.set_float32(arch + ".logit_scale", 2); });
    EXPECT_EQ(spec.ropes[0].pairing, RopePairing::kAdjacent) << arch;
  }
  for (const std::string arch : {"hunyuan-dense", "olmo2"}) {
    EXPECT_EQ(spec_of(arch).ropes[0].pairing, RopePairing::kHalves) << arch;
  }
}

TEST(LlamaKin, Smollm3TurnsAllButEveryFourthLayerOrAsListed) {
  EXPECT_EQ(turning(spec_of("smollm3")), "11101110");
  const auto listed = [](std::vector<bool> turns) {
    return read("smollm3", [&](GgufWriter& w) { w.set_bools("smollm3.attention.rope_pattern", turns); });
  };
  EXPECT_EQ(turning(*listed({true, false, false, true, true, true, false, true})), "10011101");
  expect_refused(listed({true, false}), {"attention.rope_pattern", "8 values", "found 2"});
}

TEST(LlamaKin, GraniteScales) {
  const ModelSpec spec = spec_of("granite", [](GgufWriter& w) {
    w.set_float32("granite.embedding_scale", 12);
    w.set_float32("granite.residual_scale", 0.25f);
    w.set_float32("granite.attention.scale", 0.0625f);
    w.set_float32("granite.logit_scale", 8);
  });
  EXPECT_EQ(spec.embedding_scale, 12);
  EXPECT_EQ(spec.residual_scale, 0.25f);
  EXPECT_EQ(spec.layers[7].attention.scale, 0.0625f);
  EXPECT_EQ(spec.logit_scale, 0.125f);
  EXPECT_EQ(turning(spec), "11111111");
  expect_refused(read("granite"), {"granite.logit_scale", "missing"});
  for (const bool turns : {true, false}) {
    const ModelSpec switched = spec_of("granite", [&](GgufWriter& w) {
      w.set_float32("granite.logit_scale", 8);
      w.set_bool("granite.rope.scaling.finetuned", turns);
    });
    EXPECT_EQ(turning(switched), turns ? "11111111" : "00000000");
    EXPECT_EQ(switched.residual_scale, 1);
  }
  expect_refused(read("granite", [](GgufWriter& w) { w.set_float32("granite.logit_scale", 0); }),
                 {"granite.logit_scale", "found 0"});
  expect_refused(read("granite",
                      [](GgufWriter& w) {
                        w.set_float32("granite.logit_scale", 8);
                        w.set_uint32("granite.rope.scaling.finetuned", 2);
                      }),
                 {"granite.rope.scaling.finetuned", "expected true or false, found 2"});
}

// Files of before there were keys: MiniCPM 2B's scale_emb 12, scale_depth 1.4, dim_model_base 256, as its own
// modeling_minicpm.py has them (logits of hidden / (width / 256)).
TEST(LlamaKin, MinicpmScalesWithoutKeys) {
  const ModelSpec old = spec_of("minicpm");
  EXPECT_EQ(old.embedding_scale, 12);
  EXPECT_FLOAT_EQ(old.residual_scale, static_cast<float>(1.4 / std::sqrt(8.0)));
  EXPECT_EQ(old.logit_scale, 4);  // 256 / 64
  const ModelSpec said = spec_of("minicpm", [](GgufWriter& w) {
    w.set_float32("minicpm.embedding_scale", 2);
    w.set_float32("minicpm.residual_scale", 0.5f);
    w.set_float32("minicpm.logit_scale", 16);
  });
  EXPECT_EQ(said.embedding_scale, 2);
  EXPECT_EQ(said.residual_scale, 0.5f);
  EXPECT_EQ(said.logit_scale, 0.0625f);
}

// llama.cpp's converter wrote neither the original context nor the magnitude.
TEST(LlamaKin, MinicpmLongRopeWithoutKeys) {
  const auto long_rope = [](GgufWriter& w) { w.set_string("minicpm.rope.scaling.type", "longrope"); };
  const ModelSpec old = spec_of("minicpm", long_rope);
  ASSERT_TRUE(old.ropes[0].long_rope);
  EXPECT_EQ(old.ropes[0].long_rope->original_context, old.shape.context_length);
  EXPECT_EQ(old.ropes[0].long_rope->magnitude, 1);
  const ModelSpec said = spec_of("minicpm", [&](GgufWriter& w) {
    long_rope(w);
    w.set_uint32("minicpm.rope.scaling.original_context_length", 32);
    w.set_float32("minicpm.rope.scaling.attn_factor", 1.25f);
  });
  EXPECT_EQ(said.ropes[0].long_rope->original_context, 32);
  EXPECT_EQ(said.ropes[0].long_rope->magnitude, 1.25);
}

TEST(LlamaKin, Mistral3MagnitudeAndTemperature) {
  const auto with = [](float multiplier, float temperature) {
    return spec_of("mistral3", [&](GgufWriter& w) {
      w.set_string("mistral3.rope.scaling.type", "yarn");
      w.set_float32("mistral3.rope.scaling.factor", 16);
      w.set_uint32("mistral3.rope.scaling.original_context_length", 128);
      if (multiplier > 0) w.set_float32("mistral3.rope.scaling.yarn_log_multiplier", multiplier);
      if (temperature > 0) w.set_float32("mistral3.attention.temperature_scale", temperature);
    });
  };
  const double paper = 0.1 * std::log(16.0) + 1;
  EXPECT_NEAR(with(0, 0).ropes[0].yarn->magnitude, paper, 1e-12);
  EXPECT_NEAR(with(1, 0).ropes[0].yarn->magnitude, 1, 1e-12);
  EXPECT_NEAR(with(0.5f, 0).ropes[0].yarn->magnitude, paper / (0.05 * std::log(16.0) + 1), 1e-12);
  EXPECT_EQ(with(1, 0).layers[0].attention.temperature.scale, 0);
  const TemperatureSpec temperature = with(1, 0.25f).layers[7].attention.temperature;
  EXPECT_EQ(temperature.scale, 0.25);
  EXPECT_EQ(temperature.offset, 0);
  EXPECT_EQ(temperature.length, 128);
  // Mistral Small 3.1 has neither.
  EXPECT_FALSE(spec_of("mistral3").ropes[0].yarn.has_value());
  EXPECT_EQ(spec_of("mistral3").layers[0].attention.temperature.scale, 0);
  const ModelSpec unscaled =
      spec_of("mistral3", [](GgufWriter& w) { w.set_float32("mistral3.attention.temperature_scale", 0.5f); });
  EXPECT_EQ(unscaled.layers[0].attention.temperature.length, 512);
}

TEST(LlamaKin, Olmo2HasAHeadOfItsOwn) {
  EXPECT_FALSE(spec_of("olmo2").may_tie);
  EXPECT_TRUE(spec_of("hunyuan-dense").may_tie && spec_of("smollm3").may_tie && spec_of("llama").may_tie);
}

TEST(LlamaKin, WhereNormsStand) {
  const ModelSpec hunyuan = spec_of("hunyuan-dense"), olmo = spec_of("olmo2");
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(hunyuan.layers[i].attention.qk_norm, QkNorm::kHead);
    EXPECT_TRUE(hunyuan.layers[i].attention.norm_after_rope && hunyuan.layers[i].input_norms);
    EXPECT_FALSE(hunyuan.layers[i].post_norms);
    EXPECT_EQ(olmo.layers[i].attention.qk_norm, QkNorm::kWidth);
    EXPECT_FALSE(olmo.layers[i].attention.norm_after_rope || olmo.layers[i].input_norms);
    EXPECT_TRUE(olmo.layers[i].post_norms);
  }
}

TEST(LlamaKin, LayersThatTurnAreTrueOrFalse) {
  expect_refused(read("smollm3",
                      [](GgufWriter& w) {
                        w.set_int32s("smollm3.attention.rope_pattern", {1, 1, 1, 0, 1, 1, 1, -1});
                      }),
                 {"smollm3.attention.rope_pattern", "true or false", "-1"});
}

TEST(LlamaKin, ScalingWithoutATypeIsLinearUnlessYarnsKeysSayThatItWasLost) {
  const auto factor = [](GgufWriter& w) { w.set_float32("smollm3.rope.scaling.factor", 4); };
  EXPECT_EQ(spec_of("smollm3", factor).ropes[0].scale, 0.25);
  expect_refused(read("smollm3",
                      [&](GgufWriter& w) {
                        factor(w);
                        w.set_float32("smollm3.rope.scaling.yarn_beta_fast", 16);
                      }),
                 {"smollm3.rope.scaling.type' is missing", "yarn_beta_fast", "--set"});
}

TEST(LlamaKin, AListInPlaceOfANumberHasAnEntryForEachLayer) {
  const auto heads = [](std::size_t n) {
    return [n](GgufWriter& w) {
      w.remove("smollm3.attention.head_count");
      w.set_int32s("smollm3.attention.head_count", std::vector<std::int32_t>(n, 4));
    };
  };
  EXPECT_EQ(spec_of("smollm3", heads(8)).shape.n_head, 4);
  expect_refused(read("smollm3", heads(7)), {"smollm3.attention.head_count", "8 layers", "7"});
  expect_refused(read("smollm3",
                      [](GgufWriter& w) {
                        w.remove("smollm3.block_count");
                        w.set_int32s("smollm3.block_count", std::vector<std::int32_t>(8, 8));
                      }),
                 {"smollm3.block_count", "expected a number"});
}

}  // namespace
}  // namespace rowmax::engine::llama_kin_test
