// Configurations as Liquid AI published them (their fields, by hand), and what llama.cpp's models hold for them.
#include "engine/convert/hf_lfm2.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "engine/io/text.h"
#include "rowmax/engine/gguf.h"

namespace rowmax::engine {
namespace {

// Of LFM2-1.2B, July 2025: every name is an older one.
constexpr const char* kOld = R"({
  "architectures": ["Lfm2ForCausalLM"], "block_auto_adjust_ff_dim": true, "block_dim": 2048, "block_ff_dim": 12288,
  "block_ffn_dim_multiplier": 1.0, "block_multiple_of": 256, "block_norm_eps": 1e-05, "conv_L_cache": 3,
  "conv_bias": false, "conv_dim": 2048, "conv_dim_out": 2048, "full_attn_idxs": [2, 5, 8, 10, 12, 14],
  "hidden_size": 2048, "max_position_embeddings": 128000, "norm_eps": 1e-05, "num_attention_heads": 32, "num_heads": 32,
  "num_hidden_layers": 16, "num_key_value_heads": 8, "theta": 1000000.0, "tie_embedding": true, "vocab_size": 65536
})";
// Of LFM2-8B-A1B.
constexpr const char* kMoe = R"({
  "architectures": ["Lfm2MoeForCausalLM"], "conv_L_cache": 3, "conv_bias": false, "hidden_size": 2048,
  "intermediate_size": 7168, "layer_types": ["conv", "conv", "full_attention", "conv"], "max_position_embeddings": 128000,
  "moe_intermediate_size": 1792, "norm_eps": 1e-05, "norm_topk_prob": true, "num_attention_heads": 32,
  "num_dense_layers": 2, "num_experts": 32, "num_experts_per_tok": 4, "num_hidden_layers": 4, "num_key_value_heads": 8,
  "rope_theta": 1000000.0, "routed_scaling_factor": 1.0, "use_expert_bias": true, "vocab_size": 65536
})";

struct Converted {
  Result<HfModel> model;
  std::vector<std::byte> bytes;
  std::uint64_t count(const char* key) const { return *GgufFile::parse(bytes, "keys").value().get_uint(key); }
  bool has(const char* key) const { return GgufFile::parse(bytes, "keys").value().find(key) != nullptr; }
};

Converted convert(std::string text, std::initializer_list<std::pair<std::string_view, std::string_view>> changes = {}) {
  for (const auto& [from, to] : changes) {
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
  }
  const auto document = parse_json(text, "config.json");
  EXPECT_TRUE(document.ok()) << document.error().message;
  GgufWriter keys;
  Result<HfModel> model = read_hf_config(document->root(), "config.json", {}, false, keys);
  return {std::move(model), keys.bytes().value()};
}

void expect_refused(const Converted& got, ErrorCode code, std::initializer_list<std::string_view> texts) {
  ASSERT_FALSE(got.model.ok()) << *texts.begin();
  EXPECT_EQ(got.model.error().code, code) << got.model.error().message;
  for (const std::string_view text : texts) {
    EXPECT_NE(got.model.error().message.find(text), std::string::npos) << text << ": " << got.model.error().message;
  }
}

// What their GGUF files hold (llama.cpp, llama_model_lfm2::load_arch_hparams, tells the sizes apart by it).
TEST(HfLfm2, WidthsOfThePublishedModels) {
  const std::pair<const char*, std::uint64_t> widths[] = {{"6656", 4608}, {"10240", 6912}, {"12288", 8192}};
  for (const auto& [said, width] : widths) {
    EXPECT_EQ(convert(kOld, {{"12288", said}}).count("lfm2.feed_forward_length"), width);
  }
  // LFM2-2.6B's is what it says.
  const Converted plain = convert(kOld, {{"_dim\": true", "_dim\": false"}, {"12288", "10752"}});
  EXPECT_EQ(plain.count("lfm2.feed_forward_length"), 10752u);
  // The rule of transformers, by hand: int(2 * 1000 / 3) = 666; times 1.3 and down 865, up to a multiple 896.
  const Converted scaled =
      convert(kOld, {{"12288", "1000"}, {"multiplier\": 1.0", "multiplier\": 1.3"}, {"of\": 256", "of\": 64"}});
  EXPECT_EQ(scaled.count("lfm2.feed_forward_length"), 896u);
  const Converted unrounded = convert(kOld, {{"12288", "1000"}, {"multiplier\": 1.0", "multiplier\": null"}});
  EXPECT_EQ(unrounded.count("lfm2.feed_forward_length"), 666u);
  EXPECT_EQ(convert(kMoe).count("lfm2moe.feed_forward_length"), 7168u);
}

TEST(HfLfm2, OlderNames) {
  const Converted old = convert(kOld);
  ASSERT_TRUE(old.model.ok()) << old.model.error().message;
  EXPECT_TRUE(old.model->tied);
  const GgufFile file = GgufFile::parse(old.bytes, "keys").value();
  EXPECT_EQ(*file.get_float("lfm2.rope.freq_base"), 1e6);
  EXPECT_EQ(old.count("lfm2.shortconv.l_cache"), 3u);
  const GgufArray& heads = std::get<GgufArray>(file.find("lfm2.attention.head_count_kv")->value);
  std::string text;
  for (std::size_t i = 0; i < heads.size; ++i) text += std::to_string(heads.as_int(i));
  EXPECT_EQ(text, "0080080080808080");
  EXPECT_FALSE(convert(kOld, {{"tie_embedding\": true", "tie_embedding\": false"}}).model->tied);
}

TEST(HfLfm2, ExpertsAsKeys) {
  const Converted moe = convert(kMoe);
  ASSERT_TRUE(moe.model.ok()) << moe.model.error().message;
  EXPECT_EQ(moe.count("lfm2moe.leading_dense_block_count"), 2u);
  EXPECT_EQ(moe.count("lfm2moe.expert_gating_func"), 2u);
  EXPECT_EQ(moe.count("lfm2moe.expert_count"), 32u);
  EXPECT_EQ(moe.count("lfm2moe.expert_used_count"), 4u);
  EXPECT_EQ(moe.count("lfm2moe.expert_feed_forward_length"), 1792u);
  EXPECT_FALSE(moe.has("lfm2moe.expert_weights_norm") || moe.has("lfm2moe.expert_weights_scale"));
  EXPECT_TRUE(moe.model->notices.empty());
  const Converted other = convert(kMoe, {{"prob\": true", "prob\": false"}, {"factor\": 1.0", "factor\": 2.5"}});
  EXPECT_TRUE(other.has("lfm2moe.expert_weights_norm") && other.has("lfm2moe.expert_weights_scale"));
  EXPECT_EQ(other.model->notices.size(), 2u);
  expect_refused(convert(kMoe, {{"bias\": true", "bias\": false"}}), ErrorCode::kUnsupported, {"use_expert_bias"});
  expect_refused(convert(kMoe, {{"layers\": 2", "layers\": 5"}}), ErrorCode::kCorrupt, {"num_dense_layers", "found 5"});
}

TEST(HfLfm2, WhatItDoesNotHaveIsRefused) {
  expect_refused(convert(kOld, {{"conv_bias\": false", "conv_bias\": true"}}), ErrorCode::kUnsupported, {"conv_bias"});
  for (const char* name : {"block_dim", "conv_dim", "conv_dim_out"}) {
    expect_refused(convert(kOld, {{concat("\"", name, "\": 2048"), concat("\"", name, "\": 1024")}}),
                   ErrorCode::kUnsupported, {name, "expected 2048, found 1024"});
  }
  expect_refused(convert(kOld, {{"theta\": 1000000.0", "theta\": 10000.0"}}), ErrorCode::kUnsupported, {"theta"});
  expect_refused(convert(kOld, {{"num_heads\": 32", "num_heads\": 16"}}), ErrorCode::kUnsupported, {"num_heads"});
  expect_refused(convert(kOld, {{"[2, 5", "[16, 5"}}), ErrorCode::kCorrupt, {"full_attn_idxs", "found 16"});
  expect_refused(convert(kOld, {{"[2, 5, 8, 10, 12, 14]", "[]"}}), ErrorCode::kUnsupported, {"full_attention"});
  expect_refused(convert(kMoe, {{"\"conv\", \"conv\"", "\"conv\", \"mamba\""}}), ErrorCode::kUnsupported,
                 {"layer_types", "\"mamba\""});
  expect_refused(convert(kMoe, {{"\"conv\", \"conv\", ", "\"conv\", "}}), ErrorCode::kCorrupt,
                 {"layer_types", "4 entries, found 3"});
  expect_refused(convert(kOld, {{"cache\": 3", "cache\": 9"}}), ErrorCode::kCorrupt, {"conv_L_cache", "found 9"});
  expect_refused(convert(kOld, {{"\"norm_eps\"", "\"sliding_window\": 64, \"norm_eps\""}}), ErrorCode::kUnsupported,
                 {"sliding_window"});
  expect_refused(convert(kOld, {{"12288", "1"}, {"of\": 256", "of\": null"}}), ErrorCode::kCorrupt, {"block_ff_dim"});
}

}  // namespace
}  // namespace rowmax::engine
