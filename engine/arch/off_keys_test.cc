// A key whose number is off: whatever then does not fit (another key, a tensor's shape, a tensor that is there or is not),
// the error names the key, or the one that it is held against.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "engine/arch/architecture.h"
#include "engine/arch/test_changed_model.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine::off_keys_test {
namespace {

std::optional<std::int64_t> integer(const GgufValue& value) {
  if (const auto* number = std::get_if<std::uint64_t>(&value.value)) return static_cast<std::int64_t>(*number);
  if (const auto* number = std::get_if<std::int64_t>(&value.value)) return *number;
  return std::nullopt;
}

TEST(OffKeys, AreNamed) {
  for (const std::string& made : tools::synthetic_architectures()) {
    tools::SyntheticSpec spec;
    spec.arch = made;
    const auto bytes = tools::synthetic_model_bytes(spec);
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    const auto file = GgufFile::parse(*bytes, "m.gguf");
    ASSERT_TRUE(file.ok()) << file.error().message;
    const std::string prefix = std::string(*file->find_string("general.architecture")) + ".";
    std::set<std::string> of_tensors;  // keys that a tensor did not fit
    for (const auto& [name, value] : file->metadata()) {
      const auto n = integer(value);
      if (!name.starts_with(prefix) || !n) continue;
      const std::string key(name), own = key.substr(prefix.size());
      for (const std::int64_t off : {*n - 1, *n + 1, *n / 2, *n * 2, std::int64_t{0}}) {
        if (off < 0 || off == *n) continue;
        const auto model = read_model(*file, {{key, std::to_string(off)}});
        if (model.ok()) continue;
        const std::string& message = model.error().message;
        EXPECT_NE(message.find(own), std::string::npos) << key << " = " << off << ": " << message;
        if (message.find(": tensor '") != std::string::npos) of_tensors.insert(own);
      }
    }
    EXPECT_TRUE(of_tensors.contains("embedding_length") || of_tensors.contains("block_count")) << made;
    EXPECT_GE(of_tensors.size(), 3U) << made;
  }
}

// Facts that the weight table names and no reader states would be missing from errors.
TEST(OffKeys, EveryFactOfTheWeightTableIsStated) {
  std::set<std::string, std::less<>> stated;
  for (const std::string& made : tools::synthetic_architectures()) {
    const auto model = read_changed(made);
    ASSERT_TRUE(model.ok()) << model.error().message;
    for (const ModelFact& fact : model->description.facts) stated.insert(fact.name);
  }
  // Said by tensors of models that are not among these.
  for (const char* name : {"product_norms", "v_is_k"}) stated.insert(name);
  const auto expect_stated = [&](std::string_view names, std::string_view weight) {
    while (!names.empty()) {
      const std::string_view name = names.substr(0, names.find(' '));
      names.remove_prefix(std::min(names.size(), name.size() + 1));
      EXPECT_TRUE(stated.contains(name)) << name << " of " << weight;
    }
  };
  const auto model = read_changed("deepseek2");
  ASSERT_TRUE(model.ok()) << model.error().message;
  for (const WeightInfo& info : weight_table()) {
    expect_stated(info.presence.facts, info.name);
    for (const LayerSpec& layer : model->spec.layers) {
      for (const FactNames names : info.shape(model->spec.shape, layer).facts) expect_stated(names, info.name);
    }
  }
  for (const FusedWeights& fused : fused_weights()) expect_stated(fused.facts, fused.name);
}

// Switches, lists and words: what was found stands in the error, whatever its type.
TEST(OffKeys, WhatWasFoundIsSaid) {
  const auto refused = [](const std::string& arch, const std::string& key, const WriterChange& add,
                          std::initializer_list<const char*> texts, ErrorCode code = ErrorCode::kCorrupt) {
    expect_refused(arch, code, texts, {}, [&](GgufWriter& writer) {
      writer.remove(arch + "." + key);
      add(writer);
    });
  };
  for (const char* arch : {"deepseek2", "qwen3moe"}) {
    const std::string key = std::string(arch) + ".expert_weights_norm";
    refused(arch, "expert_weights_norm", [&](GgufWriter& writer) { writer.set_uint32(key, 7); },
            {"expert_weights_norm': expected true or false, found 7"});
    refused(arch, "expert_weights_norm", [&](GgufWriter& writer) { writer.set_string(key, "maybe"); },
            {"expert_weights_norm': expected true or false, found 'maybe'"});
    refused(arch, "expert_weights_norm", [&](GgufWriter& writer) { writer.set_float32(key, 0.5f); },
            {"expert_weights_norm': expected true or false, found 0.5"});
    const auto set_norm = [&](const char* text) {
      tools::SyntheticSpec spec;
      spec.arch = arch;
      static std::vector<std::byte> bytes;  // what the model looks at
      bytes = tools::synthetic_model_bytes(spec).value();
      return read_model(*GgufFile::parse(bytes, "m.gguf"), {{key, text}});
    };
    for (const auto& [text, on] : {std::pair{"true", true}, {"1", true}, {"false", false}, {"0", false}}) {
      const auto model = set_norm(text);
      ASSERT_TRUE(model.ok()) << model.error().message;
      EXPECT_EQ(model->spec.layers.back().ffn.renormalise, on) << text;
    }
    const auto seven = set_norm("7");
    ASSERT_FALSE(seven.ok());
    EXPECT_EQ(seven.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(seven.error().message, "m.gguf: override of key '" + key + "': expected true or false, found 7");
  }
  refused(
      "qwen35", "rope.dimension_sections",
      [](GgufWriter& writer) {
        writer.set_int32s("qwen35.rope.dimension_sections", {0, 0, 0, 2});
      },
      {"rope.dimension_sections'", "found 0, 0, 0, 2"}, ErrorCode::kUnsupported);
  refused("qwen35", "attention.recurrent_layers",
          [](GgufWriter& writer) { writer.set_float32("qwen35.attention.recurrent_layers", 0.5f); },
          {"recurrent_layers': expected integers, found 0.5"});
  refused(
      "llama", "rope.scaling.type", [](GgufWriter& writer) { writer.set_string("llama.rope.scaling.type", "dynamic"); },
      {"rope.scaling.type': expected none, linear or yarn, or longrope, found 'dynamic'"}, ErrorCode::kUnsupported);
}

TEST(OffKeys, OfExpertsAndLatents) {
  const auto set = [](const char* key, std::uint32_t value) {
    return [=](GgufWriter& writer) {
      writer.remove(std::string("deepseek2.") + key);
      writer.set_uint32(std::string("deepseek2.") + key, value);
    };
  };
  const auto refused = [&](const char* key, std::uint32_t value, ErrorCode code,
                           std::initializer_list<const char*> texts) {
    expect_refused("deepseek2", code, texts, {}, set(key, value));
  };
  const ErrorCode corrupt = ErrorCode::kCorrupt, unsupported = ErrorCode::kUnsupported;
  refused("leading_dense_block_count", 0, corrupt,
          {"tensor 'blk.0.ffn_gate_inp.weight' is missing; it is expected by leading_dense_layers = 0 (key "
           "deepseek2.leading_dense_block_count)"});
  refused("leading_dense_block_count", 2, corrupt,
          {"tensor 'blk.1.ffn_gate.weight'", "is missing; it is expected by leading_dense_layers = 2"});
  refused(
      "leading_dense_block_count", 3, corrupt,
      {"key 'deepseek2.leading_dense_block_count': expected fewer than the 3 layers", "expert_count' = 8", "found 3"});
  refused("expert_shared_count", 2, corrupt, {"ffn_gate_shexp.weight", "follows from expert_shared_count = 2 (key"});
  refused("expert_shared_count", 0, unsupported,
          {"ffn_gate_shexp.weight' is not used by a model with expert_shared_count = 0 (key"});
  refused("attention.q_lora_rank", 23, corrupt,
          {"attn_q_a.weight': expected shape [64, 23], found [64, 24]; 23 follows from q_lora_rank = 23 (key "
           "deepseek2.attention.q_lora_rank)"});
  refused("attention.q_lora_rank", 0, corrupt, {"attn_q.weight", "expected by q_lora_rank = 0 (key"});
  expect_refused("deepseek2", corrupt, {"attn_q.weight", "(no key deepseek2.attention.q_lora_rank)"}, {},
                 [](GgufWriter& writer) { writer.remove("deepseek2.attention.q_lora_rank"); });
  refused("expert_group_used_count", 3, corrupt, {"expert_group_used_count", "1 to 2 (by expert_group_count = 2)"});
  refused("block_count", 4, corrupt,
          {"blk.3.attn_norm.weight' is missing, as all of its layer; it is expected by block_count = 4 (key"});
  refused("block_count", 2, unsupported, {"blk.2.", "not used by a model with block_count = 2 (key"});
}

}  // namespace
}  // namespace rowmax::engine::off_keys_test
