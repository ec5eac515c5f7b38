// Folders that transformers wrote, against what make_goldens.py and PyPI's gguf make of the same weights
// (tools/oracle/make_hf_folders.py), and folders with something wrong.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <sstream>
#include <vector>

#include "engine/convert/test_folder.h"
#include "engine/convert/write_model.h"
#include "engine/quant/format.h"
#include "rowmax/engine/tokenizer.h"

namespace rowmax::engine {
namespace {

std::string fnv1a(std::string_view bytes) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

std::string value_text(const GgufValue& value) {
  char text[40];
  if (const auto* string = std::get_if<std::string_view>(&value.value)) return std::string(*string);
  if (const auto* flag = std::get_if<bool>(&value.value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<std::uint64_t>(&value.value)) return std::to_string(*number);
  if (const auto* number = std::get_if<double>(&value.value)) {
    std::snprintf(text, sizeof text, "%.9g", *number);
    return text;
  }
  const auto* array = std::get_if<GgufArray>(&value.value);
  if (array == nullptr) return "?";
  std::string joined;
  for (std::size_t i = 0; i < array->size; ++i) {
    if (i > 0) joined += '\0';
    joined += array->strings.empty() ? std::to_string(array->as_int(i)) : std::string(array->strings[i]);
  }
  return std::to_string(array->size) + ":" + fnv1a(joined);
}

std::string shape_text(const GgufTensor& tensor) {
  std::string text;
  for (const std::int64_t dim : tensor.shape) text += (text.empty() ? "" : "x") + std::to_string(dim);
  return text;
}

class HfFolder : public FolderTest {
 protected:
  Result<ConvertReport> convert(const std::string& folder, const std::string& type = "F32") {
    ConvertOptions options;
    options.types.type = type;
    options.overwrite = true;
    options.master_weights = folder.ends_with("prequantized");
    return convert_folder(folder, path("out.gguf"), options, serial_);
  }
  // Lines of expected.txt that the file breaks; counts what the file has beyond them.
  static void expect_as_said(const GgufFile& file, const std::string& expected, std::size_t* extra_keys) {
    std::istringstream lines(expected);
    std::string kind, name, value;
    std::size_t n_keys = 0, n_tensors = 0;
    while (lines >> kind >> name && std::getline(lines >> std::ws, value)) {
      if (kind == "key") {
        ++n_keys;
        const GgufValue* found = file.find(name);
        ASSERT_NE(found, nullptr) << name;
        EXPECT_EQ(value_text(*found), value) << name;
        continue;
      }
      ++n_tensors;
      const GgufTensor* tensor = file.find_tensor(name);
      ASSERT_NE(tensor, nullptr) << name;
      const std::vector<float> values = values_of(*tensor);
      std::string found = shape_text(*tensor) + " ";
      if (kind == "tensor") {
        found += fnv1a({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
        EXPECT_EQ(found, value) << name;
        continue;
      }
      std::string signs;
      float largest = 0;
      for (const float x : values) {
        signs += static_cast<char>(x > 0 ? 1 : x < 0 ? -1 : 0);
        largest = std::max(largest, std::fabs(x));
      }
      const std::size_t space = value.rfind(' ');
      EXPECT_EQ(found + fnv1a(signs), value.substr(0, space)) << name;
      EXPECT_NEAR(largest / std::stof(value.substr(space)), 1, 1e-3) << name;  // half a scale's rounding, at most
    }
    EXPECT_GT(n_keys, 15u);
    EXPECT_EQ(n_tensors, file.tensors().size());
    *extra_keys = file.metadata().size() - n_keys;
  }
};

constexpr const char* kCases[] = {"llama",
                                  "llama_bias",
                                  "qwen2",
                                  "qwen3",
                                  "gemma2",
                                  "gemma3",
                                  "bitnet",
                                  "bitnet_packed",
                                  "llama_packed",
                                  "llama_online",
                                  "llama_rms",
                                  "llama_float_codes",
                                  "llama_prequantized",
                                  "bitnet_embed",
                                  "bitnet_embed_gemma3",
                                  "phi3",
                                  "qwen3moe",
                                  "qwen35",
                                  "qwen35moe",
                                  "smollm3",
                                  "smollm3_listed",
                                  "granite",
                                  "ministral3",
                                  "minicpm",
                                  "minicpm_long",
                                  "hunyuan",
                                  "olmo2",
                                  "lfm2",
                                  "lfm2moe",
                                  "gptoss",
                                  "gptoss_mxfp4",
                                  "gemma4",
                                  "gemma4_moe",
                                  "gemma4_vk",
                                  "deepseek_v2",
                                  "deepseek_v3",
                                  "glm4_moe_lite"};

TEST_F(HfFolder, KeyByKeyAndTensorByTensorAsTheOracle) {
  for (const std::string name : kCases) {
    SCOPED_TRACE(name);
    const std::string folder = hf_folder(name);
    const auto report = convert(folder);
    ASSERT_TRUE(report.ok()) << report.error().message;
    for (const ConvertedTensor& tensor : report->tensors) EXPECT_EQ(tensor.rms_error, 0) << tensor.name;
    const auto file = GgufFile::open(path("out.gguf"));
    ASSERT_TRUE(file.ok()) << file.error().message;
    std::size_t extra = 0;
    const bool mtp = std::filesystem::exists(folder + "/expected_mtp.txt");
    expect_as_said(*file, content(folder + (mtp ? "/expected_mtp.txt" : "/expected.txt")), &extra);
    // general.name, file_type and quantization_version are not in the list; nor are a head's size where it follows
    // from others, or bitnet's rope.dimension_count, which its files have.
    EXPECT_LE(extra, name == "llama" ? 5u : name.starts_with("bitnet") ? 4u : 3u);
  }
}

TEST_F(HfFolder, TheFolderGivesTheType) {
  const std::pair<const char*, const char*> kTypes[] = {{"qwen2", "BF16"}, {"llama_packed", "I2_S"}};
  for (const auto& [name, type] : kTypes) {
    const auto report = convert(hf_folder(name), "");
    ASSERT_TRUE(report.ok()) << report.error().message;
    const auto file = GgufFile::open(path("out.gguf"));
    ASSERT_TRUE(file.ok());
    // 16 and 24 columns are no whole blocks of I2_S or its substitutes.
    const std::string expected = std::string_view(type) == "I2_S" ? "F16" : type;
    EXPECT_EQ(gguf_tensor_format_name(*file->find_tensor("blk.0.attn_q.weight")), expected);
    EXPECT_EQ(gguf_tensor_format_name(*file->find_tensor("blk.0.attn_norm.weight")), "F32");
  }
}

// Folders of embedding models: pooling, and what else there is to hear.
TEST_F(HfFolder, EmbeddingModels) {
  const std::string folder = hf_folder("bitnet_embed");
  auto report = convert(folder);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(has_notice(*report, "taken for master weights and rounded"));
  EXPECT_FALSE(has_notice(*report, "names no pooling"));
  const std::string pooling = folder + "/1_Pooling/config.json", sound = content(pooling);
  const auto type_with = [&](const std::string& text) {
    save(pooling, text);
    return convert(folder).ok() ? *GgufFile::open(path("out.gguf"))->get_uint("qwen3.pooling_type") : 0;
  };
  EXPECT_EQ(type_with(sound), 3u);
  EXPECT_EQ(type_with(R"({"pooling_mode": "cls"})"), 2u);
  EXPECT_EQ(type_with(R"({"pooling_mode": "mean", "include_prompt": true})"), 1u);
  for (const char* wrong : {R"({"pooling_mode_max_tokens": true})", R"({})", R"({"pooling_mode": "max"})",
                            R"({"pooling_mode_lasttoken": true, "pooling_mode_max_tokens": true})"}) {
    save(pooling, wrong);
    expect_error(convert(folder), ErrorCode::kUnsupported, {"1_Pooling/config.json", "one pooling_mode"});
  }
  save(pooling, R"({"pooling_mode_lasttoken": "yes"})");
  expect_error(convert(folder), ErrorCode::kUnsupported, {"1_Pooling/config.json", "one pooling_mode"});
  save(pooling, sound);
  // Whatever else the vectors pass through is not lost without a word, and no path leads out of the folder.
  const std::string modules = folder + "/modules.json", known = content(modules);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = known;
    EXPECT_NE(text.find(from), std::string::npos) << from;
    save(modules, text.replace(text.find(from), from.size(), to));
    return convert(folder);
  };
  const std::string last = "\"sentence_transformers.models.Pooling\"}";
  const auto behind = [&](const std::string& path, const std::string& kind) {
    return with(last, last + R"(, {"path": ")" + path + R"(", "type": ")" + kind + "\"}");
  };
  EXPECT_TRUE(behind("2_Normalize", "sentence_transformers.models.Normalize").ok());
  expect_error(behind("2_Dense", "sentence_transformers.models.Dense"), ErrorCode::kUnsupported,
               {"modules.json", "Dense"});
  expect_error(behind("2_Pooling", "sentence_transformers.models.Pooling"), ErrorCode::kUnsupported, {"2_Pooling"});
  expect_error(with("sentence_transformers.models.Pooling", "my.Pooling"), ErrorCode::kUnsupported, {"my.Pooling"});
  for (const char* path : {"../1_Pooling", "..", "/etc", ""}) {
    expect_error(with("1_Pooling", path), ErrorCode::kUnsupported, {"modules.json", "one Pooling in a folder"});
  }
  std::filesystem::remove(folder + "/modules.json");
  report = convert(folder);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(has_notice(*report, "names no pooling"));
  EXPECT_EQ(GgufFile::open(path("out.gguf"))->find("qwen3.pooling_type"), nullptr);
}

// A token behind every text is EOS to the file; where the model has another one, only embedding models may have it.
TEST_F(HfFolder, ATokenBehindEveryText) {
  const auto processor = [&](const char* name, const std::string& token) {
    const std::string folder = hf_folder(name);
    std::string text = content(folder + "/tokenizer.json");
    const std::string from = "\"post_processor\":null";
    EXPECT_NE(text.find(from), std::string::npos);
    text.replace(text.find(from), from.size(),
                 R"("post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A","type_id":0}},)"
                 R"({"SpecialToken":{"id":")" +
                     token + R"(","type_id":0}}],"pair":[],"special_tokens":{}})");
    save(folder + "/tokenizer.json", text);
    return folder;
  };
  const auto written = [&] { return Tokenizer::from_gguf(*GgufFile::open(path("out.gguf"))); };
  auto report = convert(processor("bitnet_embed", "<|endoftext|>"));  // id 0; the model's own EOS is 2
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(has_notice(*report, "which becomes EOS"));
  EXPECT_TRUE(written()->add_eos());
  EXPECT_EQ(written()->eos(), 0);
  report = convert(processor("qwen2", "<|im_end|>"));
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(written()->add_eos());
  EXPECT_EQ(written()->eos(), 2);
  expect_error(convert(processor("qwen3", "<|endoftext|>")), ErrorCode::kUnsupported, {"post_processor", "EOS behind"});
}

// What transformers' layers of the bitnet quantisation would not compute as it is written.
TEST_F(HfFolder, FormsOfTernaryFoldersThatAreNone) {
  std::string folder = hf_folder("llama_rms");
  replace_in(folder + "/config.json", "\"rms_norm_eps\": 1e-05\n }", "\"rms_norm_eps\": 1e-06\n }");
  expect_error(convert(folder), ErrorCode::kUnsupported, {"quantization_config", "rms_norm_eps", "1e-05", "1e-06"});
  std::filesystem::remove_all(folder);
  folder = hf_folder("llama_rms");
  replace_in(folder + "/config.json", "\"use_rms_norm\": true", "\"use_rms_norm\": false");
  expect_error(convert(folder), ErrorCode::kUnsupported, {"rms_norm.weight", "not known"});
  folder = hf_folder("llama_float_codes");  // packed layers have no floats
  replace_in(folder + "/config.json", "autobitlinear", "bitlinear");
  expect_error(convert(folder), ErrorCode::kUnsupported, {"weight_scale", "no packed matrix"});
  std::filesystem::remove_all(folder);
  folder = hf_folder("llama_float_codes");  // and codes without their scale are no weights
  edit_tensors(folder + "/model.safetensors",
               [](Tensors& tensors) { tensors.erase("model.layers.0.mlp.down_proj.weight_scale"); });
  expect_error(convert(folder), ErrorCode::kCorrupt, {"mlp.down_proj.weight", "there is no", "weight_scale"});
}

// Layers that guess tokens ahead; groups that other engines may judge otherwise.
TEST_F(HfFolder, WhatIsSaidOfDeepseeksKin) {
  auto report = convert(hf_folder("glm4_moe_lite"));
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(has_notice(*report, "guess tokens ahead (model.layers.3), are left out"));
  report = convert(hf_folder("deepseek_v2"));
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(has_notice(*report, "count as much as their best one"));
  report = convert(hf_folder("deepseek_v3"));
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_FALSE(has_notice(*report, "count as much as their best one"));
  EXPECT_FALSE(has_notice(*report, "guess tokens ahead"));
}

TEST_F(HfFolder, TheTokenizerWorks) {
  ASSERT_TRUE(convert(hf_folder("qwen2")).ok());
  const auto file = GgufFile::open(path("out.gguf"));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(*file->get_string("tokenizer.ggml.pre"), "smollm");
  const auto tokenizer = Tokenizer::from_gguf(*file, {});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
}

TEST_F(HfFolder, OtherHeadsAndScalesAreNoticed) {
  // The oracle's hashes do see a wrong reading: multiply for divide.
  const std::string folder = hf_folder("llama_packed");
  replace_in(folder + "/config.json", "\"bitlinear\"", "\"autobitlinear\"");
  ASSERT_TRUE(convert(folder).ok());
  const auto file = GgufFile::open(path("out.gguf"));
  ASSERT_TRUE(file.ok());
  const std::string expected = content(folder + "/expected.txt");
  const std::size_t at = expected.find("ternary blk.0.attn_q.weight");
  ASSERT_NE(at, std::string::npos);
  const std::string line = expected.substr(at, expected.find('\n', at) - at);
  float largest = 0;
  for (const float x : values_of(*file->find_tensor("blk.0.attn_q.weight"))) largest = std::max(largest, x);
  EXPECT_GT(std::fabs(largest / std::stof(line.substr(line.rfind(' '))) - 1), 0.1);
}

TEST_F(HfFolder, ConfigurationsThatRowmaxCouldNotRun) {
  const auto refused = [&](const char* name, const char* from, const char* to, ErrorCode code,
                           std::initializer_list<std::string_view> texts) {
    SCOPED_TRACE(to);
    const std::string folder = hf_folder(name);
    replace_in(folder + "/config.json", from, to);
    expect_error(convert(folder), code, texts);
    EXPECT_FALSE(std::filesystem::exists(path("out.gguf")));
    std::filesystem::remove_all(folder);
  };
  const ErrorCode unsupported = ErrorCode::kUnsupported, corrupt = ErrorCode::kCorrupt;
  refused("qwen2", "Qwen2ForCausalLM", "MambaForCausalLM", unsupported,
          {"config.json", "architectures", "Qwen3", "Mamba"});
  refused("qwen2", "\"silu\"", "\"relu\"", unsupported, {"hidden_act", "'silu'", "'relu'"});
  refused("qwen2", "\"hidden_size\": 16", "\"hidden_size\": 0", corrupt, {"hidden_size", "found 0"});
  refused("qwen2", "\"hidden_size\": 16", "\"hidden_size\": \"16\"", corrupt, {"hidden_size", "found \"16\""});
  refused("qwen2", "\"num_hidden_layers\"", "\"layers\"", corrupt, {"num_hidden_layers", "missing"});
  refused("qwen2", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", corrupt, {"blk.2."});
  refused("qwen2", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", unsupported,
          {"model.layers.1", "not known"});
  refused("qwen2", "\"vocab_size\": 280", "\"vocab_size\": 281", corrupt, {"embed_tokens", "280", "281"});
  refused("qwen2", "\"vocab_size\": 280", "\"vocab_size\": 279", corrupt, {"tokenizer.json", "279"});
  refused("qwen2", "\"use_sliding_window\": false", "\"use_sliding_window\": true", unsupported,
          {"use_sliding_window"});
  refused("qwen2", "\"default\"", "\"dynamic\"", unsupported, {"rope_type", "'dynamic'"});
  refused("qwen3", "\"factor\"", "\"fector\"", corrupt, {"rope_parameters", "factor", "missing"});
  refused("llama_bias", "\"num_key_value_heads\": 1", "\"num_key_value_heads\": 3", corrupt, {"num_key_value_heads"});
  refused("llama_bias", "\"num_attention_heads\": 2", "\"num_attention_heads\": 4", corrupt,
          {"q_proj", "[16, 16]", "[32, 16]"});
  refused("gemma2", "\"attn_logit_softcapping\": 50.0", "\"attn_logit_softcapping\": null", unsupported,
          {"softcapping"});
  refused("gemma2", "\"full_attention\"", "\"sliding_attention\"", unsupported, {"layer_types"});
  refused("bitnet", "\"quant_method\": \"bitnet\"", "\"quant_method\": \"gptq\"", unsupported,
          {"quant_method", "gptq"});
  refused("bitnet", "{", "[", corrupt, {"config.json", "malformed"});
  refused("deepseek_v2", "\"norm_topk_prob\": false", "\"norm_topk_prob\": true", unsupported,
          {"norm_topk_prob: expected false, found true"});
  refused("deepseek_v2", "\"group_limited_greedy\"", "\"noaux_tc\"", unsupported, {"topk_method", "'noaux_tc'"});
  refused("deepseek_v2", "\"n_group\": 4", "\"n_group\": 3", corrupt, {"could not run", "expert_group_count"});
  refused("deepseek_v2", "\"n_group\": 4", "\"n_group\": 4, \"moe_layer_freq\": 2", unsupported, {"moe_layer_freq"});
  refused("deepseek_v2", "\"n_group\": 4", "\"n_group\": 4, \"scoring_func\": \"sigmoid\"", unsupported,
          {"scoring_func", "'softmax'"});
  refused("deepseek_v3", "\"rope_interleave\": true", "\"rope_interleave\": false", unsupported, {"rope_interleave"});
  refused("deepseek_v3", "\"attention_bias\": false", "\"attention_bias\": true", unsupported, {"attention_bias"});
  refused("deepseek_v3", "\"mscale\": 0.8", "\"mscale\": 0.7", unsupported, {"mscale", "mscale_all_dim 0.8", "0.7"});
  refused("deepseek_v3", "\"mscale\": 0.8", "\"mscale\": 0.8, \"attention_factor\": 2", unsupported,
          {"attention_factor"});
  refused("deepseek_v3", "\"kv_lora_rank\": 12", "\"kv_lora_rank\": 13", corrupt,
          {"kv_a_proj_with_mqa", "[16, 16]", "[17, 16]"});
  refused("deepseek_v3", "\"q_lora_rank\": 14", "\"q_lora_rank\": null", unsupported, {"q_a_", "not known"});
  refused("deepseek_v3", "\"q_lora_rank\": 14,", "", corrupt, {"q_lora_rank", "missing"});
  refused("deepseek_v3", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 1", unsupported,
          {"num_key_value_heads", "expected num_attention_heads 2"});
  refused("deepseek_v3", "\"n_group\": 4", "\"n_group\": 4, \"quantization_config\": {\"quant_method\": \"fp8\"}",
          unsupported, {"quant_method", "fp8"});
  refused("deepseek_v3", "\"n_group\": 4", "\"n_group\": 4, \"index_topk\": 2048", unsupported, {"index_topk"});
  refused("glm4_moe_lite", "\"dense\",\n  \"sparse\"", "\"sparse\",\n  \"dense\"", unsupported, {"mlp_layer_types"});
  refused("glm4_moe_lite", "\"num_nextn_predict_layers\": 1", "\"num_nextn_predict_layers\": 0", unsupported,
          {"model.layers.3.", "not known"});
  refused("qwen3moe", "\"num_local_experts\": 5", "\"num_local_experts\": 4", unsupported, {"experts.4", "not known"});
  refused("qwen3moe", "\"num_local_experts\": 5", "\"num_local_experts\": 6", corrupt, {"experts.5", "missing"});
  refused("qwen3moe", "\"num_local_experts\": 5", "\"num_local_experts\": 5, \"num_experts\": 6", corrupt,
          {"num_local_experts", "num_experts 6"});
  refused("qwen3moe", "\"num_experts_per_tok\": 2", "\"num_experts_per_tok\": 6", corrupt,
          {"num_experts_per_tok", "found 6"});
  refused("qwen3moe", "\"moe_intermediate_size\": 12", "\"moe_intermediate_size\": 13", corrupt,
          {"experts.0.", "[12, 16]", "[13, 16]"});
  refused("qwen35", "\"linear_num_value_heads\": 6", "\"linear_num_value_heads\": 5", corrupt,
          {"linear_num_value_heads", "multiple", "2", "found 5"});
  refused("qwen35", "\"linear_num_value_heads\": 6", "\"linear_num_value_heads\": 4", corrupt,
          {"linear_attn.", "[40, 16]", "[32, 16]"});
  refused("qwen35", "\"linear_conv_kernel_dim\": 4", "\"linear_conv_kernel_dim\": 1", corrupt,
          {"linear_conv_kernel_dim", "found 1"});
  refused("qwen35", "\"partial_rotary_factor\": 0.25", "\"partial_rotary_factor\": 0.2", unsupported,
          {"rope_parameters", "partial_rotary_factor", "found 3"});
  refused("qwen35", "    0\n", "    3\n", corrupt, {"mrope_section", "0 to 2"});
  refused("qwen35", "   \"full_attention\"\n", "   \"linear_attention\"\n", unsupported, {"self_attn", "not known"});
  refused("qwen35", "  \"linear_attention\",\n", "", corrupt, {"layer_types", "expected 4 entries, found 1"});
  refused("qwen3moe", "\"decoder_sparse_step\": 1", "\"decoder_sparse_step\": 2", unsupported,
          {"decoder_sparse_step", "found 2"});
  refused("qwen3moe", "\"mlp_only_layers\": []", "\"mlp_only_layers\": [1]", unsupported, {"mlp_only_layers"});
  refused("qwen3moe", "\"rope_type\"", "\"mrope_section\": [1, 1, 0], \"rope_type\"", unsupported, {"mrope_section"});
  refused("qwen35", "\"attention_bias\"", "\"attn_output_gate\": false, \"attention_bias\"", unsupported,
          {"attn_output_gate"});
  refused("qwen35", "\"linear_attention\"", "\"sliding_attention\"", unsupported, {"layer_types", "sliding"});
  refused("qwen35moe", "\"moe_intermediate_size\"", "\"clip_qkv\": 2, \"moe_intermediate_size\"", unsupported,
          {"config.json", "clip_qkv"});
  refused("gptoss", "\"swiglu_limit\": 7.0", "\"swiglu_limit\": 10.0", unsupported, {"swiglu_limit", "expected 7"});
  refused("gptoss", "\"swiglu_alpha\": 1.702", "\"swiglu_alpha\": 1.5", unsupported, {"swiglu_alpha", "1.702"});
  refused("gptoss", "\"truncate\": false", "\"truncate\": true", unsupported, {"truncate", "expected false"});
  refused("qwen3", "\"rope_type\": \"yarn\"", "\"truncate\": false, \"rope_type\": \"yarn\"", unsupported,
          {"truncate", "expected true"});
  refused("gptoss", "\"attention_bias\": true", "\"attention_bias\": false", unsupported, {"attention_bias", "true"});
  refused("gptoss", "\"rope_parameters\"", "\"rope_scalings\"", unsupported, {"rope_parameters", "YaRN"});
  refused("gptoss_mxfp4", "\"quant_method\": \"mxfp4\"", "\"quant_method\": \"awq\"", unsupported,
          {"quant_method", "awq"});
  refused("qwen35moe", "\"text_config\"", "\"text_confug\"", corrupt, {"text_config", "object"});
  refused("qwen35moe", "\"linear_key_head_dim\": 4", "\"linear_key_head_dim\": 4.5", corrupt,
          {"text_config: linear_key_head_dim", "4.5"});
}

TEST_F(HfFolder, OldNamesOfRopeKeys) {
  const std::string folder = hf_folder("llama");
  replace_in(folder + "/config.json", "\"rope_parameters\"", "\"rope_scaling\"");
  replace_in(folder + "/config.json", "\"rope_theta\": 100.0,", "");
  replace_in(folder + "/config.json", "\"rope_type\"", "\"type\"");
  replace_in(folder + "/config.json", "\"rms_norm_eps\"", "\"rope_theta\": 100.0, \"rms_norm_eps\"");
  const auto report = convert(folder);
  ASSERT_TRUE(report.ok()) << report.error().message;
  const auto file = GgufFile::open(path("out.gguf"));
  std::size_t extra = 0;
  expect_as_said(*file, content(folder + "/expected.txt"), &extra);
}

TEST_F(HfFolder, ShardsMustBeWhatTheIndexSays) {
  const auto refused = [&](const char* from, const char* to, ErrorCode code,
                           std::initializer_list<std::string_view> texts) {
    SCOPED_TRACE(to);
    const std::string folder = hf_folder("llama");
    replace_in(folder + "/model.safetensors.index.json", from, to);
    expect_error(convert(folder), code, texts);
    std::filesystem::remove_all(folder);
  };
  refused("\"model-00001-of-00003.safetensors\"", "\"../model-00001-of-00003.safetensors\"", ErrorCode::kCorrupt,
          {"index.json", "file name in this folder"});
  refused("\"model-00001-of-00003.safetensors\"", "\"none.safetensors\"", ErrorCode::kNotFound, {"none.safetensors"});
  refused("\"model.norm.weight\"", "\"model.morn.weight\"", ErrorCode::kCorrupt, {"model.morn.weight", "missing"});
  const std::string folder = hf_folder("llama");
  std::filesystem::copy(folder + "/model-00001-of-00003.safetensors", folder + "/model-00004-of-00003.safetensors");
  replace_in(folder + "/model.safetensors.index.json", "\"weight_map\": {",
             "\"weight_map\": {\"x\": \"model-00004-of-00003.safetensors\",");
  expect_error(convert(folder), ErrorCode::kCorrupt, {"too"});
}

TEST_F(HfFolder, WeightsMustBeSound) {
  const std::string folder = hf_folder("qwen2"), weights = folder + "/model.safetensors";
  const std::string sound = content(weights);
  // The last tensor's last bf16 becomes NaN.
  std::string bad = sound;
  bad.replace(bad.size() - 2, 2, "\xC0\x7F");
  save(weights, bad);
  expect_error(convert(folder), ErrorCode::kCorrupt, {"model.safetensors", "tensor", "finite"});
  save(weights, sound.substr(0, sound.size() - 1));
  expect_error(convert(folder), ErrorCode::kCorrupt, {"model.safetensors", "ends at byte"});
  bad = sound;
  bad.replace(bad.find("mlp.up_proj"), 11, "mlp.up_prej");
  save(weights, bad);
  expect_error(convert(folder), ErrorCode::kUnsupported, {"mlp.up_prej.weight", "not known to Qwen2ForCausalLM"});

  const std::string packed = hf_folder("bitnet_packed");
  edit_tensors(packed + "/model.safetensors",
               [](Tensors& tensors) { tensors.erase("model.layers.0.mlp.down_proj.weight_scale"); });
  expect_error(convert(packed), ErrorCode::kCorrupt, {"down_proj.weight", "weight_scale"});
}

TEST_F(HfFolder, Code3AndMissingFiles) {
  const std::string folder = hf_folder("bitnet_packed"), weights = folder + "/model.safetensors";
  std::string bad = content(weights);
  // Codes lie behind all wider types or before them; a byte of four threes is in the file's U8 part either way.
  const std::size_t at = bad.find("\"dtype\":\"U8\"");
  ASSERT_NE(at, std::string::npos);
  const std::size_t offsets = bad.find("\"data_offsets\":[", at) + 16;
  std::uint64_t header = 0;
  std::memcpy(&header, bad.data(), sizeof header);
  bad[8 + header + std::stoul(bad.substr(offsets))] = '\xFF';
  save(weights, bad);
  expect_error(convert(folder), ErrorCode::kCorrupt, {"model.safetensors", "code 3"});

  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
    const std::string other = hf_folder("qwen2");
    std::filesystem::remove(other + "/" + name);
    expect_error(convert(other), ErrorCode::kNotFound, {name});
    std::filesystem::remove_all(other);
  }
}

TEST_F(HfFolder, SpecialIdsAndTemplate) {
  const std::string folder = hf_folder("qwen2");
  save(folder + "/tokenizer_config.json",
       R"({"eos_token": {"content": "<|im_end|>"}, "pad_token": "<|endoftext|>", "add_bos_token": true,
           "chat_template": "{{ messages }}"})");
  save(folder + "/generation_config.json", R"({"eos_token_id": [2, 0, 1, 5]})");
  auto report = convert(folder);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(has_notice(*report, "room for three"));
  auto file = GgufFile::open(path("out.gguf"));
  EXPECT_EQ(*file->get_uint("tokenizer.ggml.bos_token_id"), 1u);  // config.json
  EXPECT_EQ(*file->get_uint("tokenizer.ggml.eos_token_id"), 2u);
  EXPECT_EQ(*file->get_uint("tokenizer.ggml.eot_token_id"), 0u);
  EXPECT_EQ(*file->get_uint("tokenizer.ggml.eom_token_id"), 1u);
  EXPECT_TRUE(*file->get_bool("tokenizer.ggml.add_bos_token"));
  EXPECT_EQ(*file->get_string("tokenizer.chat_template"), "{{ messages }}");
  save(folder + "/chat_template.jinja", "{{ other }}");
  ASSERT_TRUE(convert(folder).ok());
  file = GgufFile::open(path("out.gguf"));
  EXPECT_EQ(*file->get_string("tokenizer.chat_template"), "{{ other }}");
  save(folder + "/tokenizer_config.json", R"({"eos_token": "<nothing>"})");
  expect_error(convert(folder), ErrorCode::kCorrupt, {"tokenizer_config.json", "eos_token", "<nothing>"});
}

// config.json alone may name several ends; more than GGUF has room for are all kept.
TEST_F(HfFolder, EveryEndOfATextIsKept) {
  const std::string folder = hf_folder("qwen2");
  std::filesystem::remove(folder + "/generation_config.json");
  std::filesystem::remove(folder + "/tokenizer_config.json");
  const std::string config = content(folder + "/config.json");
  const auto ends_with = [&](const std::string& list) {
    std::string text = config;
    const std::size_t at = text.find("\"eos_token_id\":");
    text.replace(at, text.find(',', at) - at, "\"eos_token_id\": " + list);
    save(folder + "/config.json", text);
    const auto report = convert(folder);
    EXPECT_TRUE(report.ok()) << report.error().message;
    const auto file = GgufFile::open(path("out.gguf"));
    const auto tokenizer = Tokenizer::from_gguf(*file);
    std::vector<TokenId> ends(tokenizer->end_of_generation().begin(), tokenizer->end_of_generation().end());
    std::erase_if(ends, [](TokenId id) { return id < 3; });  // known by their texts
    return ends;
  };
  EXPECT_EQ(ends_with("[10, 11]"), (std::vector<TokenId>{10, 11}));
  EXPECT_EQ(ends_with("[14, 10, 13, 11, 12]"), (std::vector<TokenId>{10, 11, 12, 13, 14}));
  EXPECT_EQ(ends_with("12"), std::vector<TokenId>{12});
}

// The head of a folder that says it is tied: left out where it is the embedding, kept where it is not.
TEST_F(HfFolder, ATiedHeadThatDiffersIsKept) {
  const std::string folder = hf_folder("qwen2"), weights = folder + "/model.safetensors";
  const std::string sound = content(weights);
  std::uint64_t n_header = 0;
  std::memcpy(&n_header, sound.data(), sizeof n_header);
  std::string header = sound.substr(8, n_header);
  header.erase(header.rfind('}'));
  const std::size_t n_data = sound.size() - 8 - n_header, n_head = 280 * 16 * 2;
  const std::string embedding = sound.substr(8 + n_header, n_head);  // the first tensor
  ASSERT_NE(header.find("\"model.embed_tokens.weight\":{\"dtype\":\"BF16\",\"shape\":[280,16],\"data_offsets\":[0,"),
            std::string::npos);
  header += R"(,"lm_head.weight":{"dtype":"BF16","shape":[280,16],"data_offsets":[)" + std::to_string(n_data) + "," +
            std::to_string(n_data + n_head) + "]}}";
  const auto convert_with = [&](const std::string& head) {
    std::string file(8, '\0');
    const std::uint64_t n = header.size();
    std::memcpy(file.data(), &n, sizeof n);
    save(weights, file + header + sound.substr(8 + n_header) + head);
    return convert(folder);
  };
  auto report = convert_with(embedding);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(has_notice(*report, "lm_head.weight is left out"));
  EXPECT_EQ(GgufFile::open(path("out.gguf"))->find_tensor("output.weight"), nullptr);
  std::string other = embedding;
  other[n_head - 1] ^= '\x80';  // one sign
  report = convert_with(other);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(has_notice(*report, "lm_head.weight is kept"));
  const auto file = GgufFile::open(path("out.gguf"));
  ASSERT_NE(file->find_tensor("output.weight"), nullptr);
  EXPECT_EQ(values_of(*file->find_tensor("output.weight")).back(),
            -values_of(*file->find_tensor("token_embd.weight")).back());
}

TEST_F(HfFolder, TheSingleFileBesideAnIndex) {
  const std::string folder = hf_folder("qwen2");
  save(folder + "/model.safetensors.index.json", R"({"weight_map": {"x": "gone.safetensors"}})");
  const auto report = convert(folder);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(has_notice(*report, "were not read"));
}

// What transformers' classes do where a key is missing or means another function.
TEST_F(HfFolder, WhatTransformersWouldComputeOtherwise) {
  const auto refused = [&](const char* name, const char* from, const char* to,
                           std::initializer_list<std::string_view> texts) {
    SCOPED_TRACE(to);
    const std::string folder = hf_folder(name);
    replace_in(folder + "/config.json", from, to);
    expect_error(convert(folder), ErrorCode::kUnsupported, texts);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), std::filesystem::directory_iterator()), 1)
        << "something was left";
    std::filesystem::remove_all(folder);
  };
  refused("gemma3", "\"gelu_pytorch_tanh\"", "\"gelu\"", {"hidden_activation", "'gelu'"});
  refused("llama_bias", "\"mlp_bias\": false", "\"mlp_bias\": true", {"mlp_bias"});
  refused("llama_bias", "\"attention_bias\": true", "\"attention_bias\": false", {"_proj.bias", "attention_bias"});
  refused("bitnet", "\"rope_type\": \"default\"", "\"rope_type\": \"llama3\"", {"rope_type", "'llama3'"});
  // A window hides nothing of a context that it holds; without the key it is the class's own.
  const std::string folder = hf_folder("llama_packed");
  replace_in(folder + "/config.json", "LlamaForCausalLM", "MistralForCausalLM");
  EXPECT_TRUE(convert(folder).ok());
  replace_in(folder + "/config.json", "\"max_position_embeddings\": ", "\"max_position_embeddings\": 81");
  expect_error(convert(folder), ErrorCode::kUnsupported, {"sliding_window", "4096"});
  replace_in(folder + "/config.json", "\"max_position_embeddings\"",
             "\"sliding_window\": null, \"max_position_embeddings\"");
  EXPECT_TRUE(convert(folder).ok());
}

// What no check of config.json looks at, but the loader's.
TEST_F(HfFolder, NothingIsWrittenThatRowmaxRefuses) {
  const std::string folder = hf_folder("qwen3");  // yarn
  replace_in(folder + "/config.json", "\"rope_theta\": 1000000.0", "\"rope_theta\": 1.0");
  expect_error(convert(folder), ErrorCode::kCorrupt, {"config.json", "rowmax could not run", "rope.freq_base"});
  // And in the end what was written.
  GgufWriter keys;
  keys.set_string("general.architecture", "llama");
  ConvertOptions options;
  TypeRules rules;
  rules.type = "F32";
  const auto report =
      write_model({.name = "folder", .inputs = {}}, path("out.gguf"), std::move(keys), {}, rules, options, serial_);
  expect_error(report, ErrorCode::kCorrupt, {"folder: rowmax could not run", "llama.context_length"});
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), std::filesystem::directory_iterator()), 1)
      << "something was left";
}

}  // namespace
}  // namespace rowmax::engine
