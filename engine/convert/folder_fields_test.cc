// What transformers writes (testdata/folder_fields.jsonl) is known field by field; others are refused by their names.
#include "engine/convert/folder_fields.h"

#include <map>
#include <sstream>

#include "engine/convert/test_folder.h"

namespace rowmax::engine {
namespace {

class FolderFields : public FolderTest {
 protected:
  Result<ConvertReport> convert(const std::string& folder, std::vector<std::string> ignored = {}) {
    ConvertOptions options;
    options.types.type = "F32";
    options.overwrite = true;
    options.ignored_fields = std::move(ignored);
    auto report = convert_folder(folder, path("out.gguf"), options, serial_);
    std::filesystem::remove_all(folder);
    return report;
  }
  // One member more, or another in its place, in a file of a stored folder; where: in front of what it is put.
  std::string changed(const std::string& name, const std::string& file, const std::string& member,
                      const std::string& where = "{") {
    const std::string folder = hf_folder(name);
    std::string text = std::filesystem::exists(folder + "/" + file) ? content(folder + "/" + file) : std::string("{}");
    const std::string key = member.substr(0, member.find(':'));
    if (const std::size_t there = text.find(key); there != std::string::npos && where == "{") {
      text.replace(there, key.size(), "\"_name_or_path\"");
    }
    const std::size_t at = text.find(where);
    EXPECT_NE(at, std::string::npos) << where;
    const bool last = text[text.find_first_not_of(" \n", at + where.size())] == '}';
    text.insert(at + where.size(), member + (last ? "" : ","));
    save(folder + "/" + file, text);
    return folder;
  }
  Result<ConvertReport> convert_with(const std::string& name, const std::string& member) {
    return convert(changed(name, "config.json", member));
  }
};

TEST_F(FolderFields, AllThatTransformersWritesAreKnown) {
  std::istringstream lines(content(ROWMAX_SOURCE_DIR "/engine/convert/testdata/folder_fields.jsonl"));
  std::string line;
  std::getline(lines, line);  // the source
  std::map<std::string, int> counts;
  while (std::getline(lines, line)) {
    const auto document = parse_json(line, "folder_fields.jsonl");
    ASSERT_TRUE(document.ok());
    const Json root = document->root(), json = root.find("json");
    const std::string name(root.find("file").as_string());
    ++counts[name];
    FolderJson files;
    files.folder = "folder";
    if (name == "config.json") files.config = json;
    if (name == "tokenizer.json") files.tokenizer = json;
    if (name == "tokenizer_config.json") files.tokenizer_config = json;
    if (name == "generation_config.json") files.generation_config = json;
    const auto notes = check_folder_fields(files, {});
    // Its tokens are not there: what is said of them is another test's.
    if (!notes.ok() && notes.error().message.find("extra_special_tokens") != std::string::npos) continue;
    ASSERT_TRUE(notes.ok()) << root.find("of").as_string() << ": " << notes.error().message;
    EXPECT_TRUE(notes->empty()) << root.find("of").as_string() << ": " << notes->front();
  }
  EXPECT_EQ(
      counts,
      (std::map<std::string, int>{
          {"config.json", 67}, {"generation_config.json", 2}, {"tokenizer.json", 5}, {"tokenizer_config.json", 5}}));
}

TEST_F(FolderFields, UnknownOnesAreRefusedByName) {
  struct Case {
    const char *file, *member, *where, *field;
  };
  const Case cases[] = {
      {"config.json", R"("lane_multiplier": 2)", "{", "lane_multiplier"},
      {"config.json", R"("rope_scaling": {"rope_type": "default", "twist": 2})", "{", "rope_scaling.twist"},
      {"config.json", R"("residual_multiplier": 2)", "{", "residual_multiplier"},
      {"config.json", R"("rope_interleaved": true)", "{", "rope_interleaved"},
      {"tokenizer.json", R"("mangler": {"type": "X"})", "{", "mangler"},
      {"tokenizer.json", R"("version": "2.0")", "{", "version"},
      {"tokenizer.json", R"("min_count": 3)", R"("model":{)", "model.min_count"},
      {"tokenizer.json", R"("fold": true)", R"("added_tokens":[{)", "added_tokens.fold"},
      {"tokenizer.json", R"("reverse": true)", R"("pre_tokenizer":{)", "pre_tokenizer.reverse"},
      {"tokenizer.json", R"("reverse": true)", R"("pretokenizers":[{)", "pre_tokenizer.pretokenizers.reverse"},
      {"tokenizer_config.json", R"("mangle": 1)", "{", "mangle"},
      {"tokenizer_config.json", R"("split_special_tokens": true)", "{", "split_special_tokens"},
      {"tokenizer_config.json", R"("extra_special_tokens": ["<new>"])", "{", "extra_special_tokens"},
      {"tokenizer_config.json", R"("add_prefix_space": true)", "{", "add_prefix_space"},
      {"tokenizer_config.json",
       R"("added_tokens_decoder": {"0": {"content": "<|endoftext|>", "lstrip": true, "special": true}})", "{",
       "added_tokens_decoder"},
      {"tokenizer_config.json", R"("added_tokens_decoder": {"7": {"content": "x"}})", "{", "added_tokens_decoder"},
      {"generation_config.json", R"("twist": 1)", "{", "twist"},
      {"special_tokens_map.json", R"("twist_token": "x")", "{", "twist_token"},
      {"special_tokens_map.json", R"("additional_special_tokens": ["<new>"])", "{", "additional_special_tokens"},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.member);
    const std::string full = std::string(each.file) + ":" + each.field;
    const std::string said = std::string(each.file) + ": " + each.field + ": ", flag = "--ignore-field " + full;
    const auto folder = [&] { return changed("llama", each.file, each.member, each.where); };
    expect_error(convert(folder()), ErrorCode::kUnsupported, {std::string_view(said), std::string_view(flag)});
    // These take the place of what the folder needs.
    if (full.find("rope_scaling") != std::string::npos || full.ends_with(":version")) continue;
    const auto report = convert(folder(), {full});
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_TRUE(has_notice(*report, "as --ignore-field says"));
  }
}

TEST_F(FolderFields, OnlyWhatIsRefusedCanBeIgnored) {
  for (const char* field : {"config.json:hidden_size", "config.json:nosuch", "hidden_size", "config.json:use_cache"}) {
    expect_error(convert(hf_folder("llama"), {field}), ErrorCode::kInvalidArgument,
                 {"--ignore-field", field, "found none"});
  }
}

TEST_F(FolderFields, NullIsNoField) {
  EXPECT_TRUE(convert(changed("llama", "config.json", R"("lane_multiplier": null)")).ok());
  EXPECT_TRUE(convert(changed("llama", "tokenizer_config.json", R"("mangle": null)")).ok());
}

TEST_F(FolderFields, WhatSteersGenerationIsTold) {
  const auto report = convert(changed("llama", "generation_config.json", R"("suppress_tokens": [3])"));
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(has_notice(*report, "generation_config.json: suppress_tokens = [3]: "));
}

TEST_F(FolderFields, SpecialTokensOfOlderFolders) {
  const auto eos_of = [&](const std::string& folder) {
    const auto report = convert(folder);
    EXPECT_TRUE(report.ok()) << report.error().message;
    const auto file = GgufFile::open(path("out.gguf"));
    return *file->get_uint("tokenizer.ggml.eos_token_id");
  };
  EXPECT_EQ(eos_of(changed("llama", "special_tokens_map.json", R"("eos_token": {"content": "<|im_end|>"})")), 2u);
  std::string folder = changed("llama", "special_tokens_map.json", R"("eos_token": "<|im_end|>")");
  save(folder + "/tokenizer_config.json", R"({"eos_token": "<|im_start|>"})");
  expect_error(convert(folder), ErrorCode::kUnsupported,
               {"special_tokens_map.json: eos_token: expected '<|im_start|>'"});
}

TEST_F(FolderFields, ATemplateOfAProcessorIsNotTheTokenizers) {
  const auto report = convert(changed("llama", "chat_template.json", R"("chat_template": "x")"));
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(has_notice(*report, "chat_template.json: "));
}

TEST_F(FolderFields, KnownOnesThatChangeTheMathematicsAreRefused) {
  const char* const cases[][3] = {
      {"llama", R"("mlp_bias": true)", "mlp_bias"},
      {"llama", R"("hidden_act": "gelu")", "hidden_act"},
      {"llama", R"("is_causal": false)", "is_causal"},
      {"qwen2", R"("is_causal": false)", "is_causal"},
      {"gemma3", R"("is_causal": false)", "is_causal"},
      {"llama", R"("partial_rotary_factor": 0.5)", "partial_rotary_factor"},
      {"qwen2", R"("use_sliding_window": true)", "use_sliding_window"},
      {"qwen3", R"("layer_types": ["sliding_attention"])", "layer_types"},
      {"gemma3", R"("use_bidirectional_attention": true)", "use_bidirectional_attention"},
      {"gemma2", R"("use_bidirectional_attention": true)", "use_bidirectional_attention: expected false, found true"},
      {"bitnet_embed", R"("use_bidirectional_attention": true)", "use_bidirectional_attention"},  // Qwen3Model
      {"bitnet_embed_gemma3", R"("use_bidirectional_attention": true)", "use_bidirectional_attention"},
      {"llama", R"("use_bidirectional_attention": "vision")", "use_bidirectional_attention"},
      {"gemma4_vk", R"("use_bidirectional_attention": "all")", "use_bidirectional_attention: expected null or vision"},
      {"gemma4_vk", R"("use_bidirectional_attention": true)", "use_bidirectional_attention"},
      {"gemma2", R"("hidden_activation": "gelu")", "hidden_activation"},
      {"bitnet", R"("hidden_act": "silu")", "hidden_act"},
      {"qwen3moe", R"("decoder_sparse_step": 2)", "decoder_sparse_step"},
      {"qwen3moe", R"("mlp_only_layers": [1])", "mlp_only_layers"},
      {"qwen3moe", R"("use_sliding_window": true)", "use_sliding_window"},
      {"qwen3moe", R"("hidden_act": "gelu")", "hidden_act"},
      {"qwen3moe", R"("partial_rotary_factor": 0.5)", "partial_rotary_factor"},
      {"qwen35", R"("attn_output_gate": false)", "attn_output_gate"},
      {"qwen35", R"("layer_types": ["linear_attention", "linear_attention", "sliding_attention", "full_attention"])",
       "layer_types"},
      {"qwen35", R"("is_causal": false)", "is_causal"},
      {"smollm3", R"("use_sliding_window": true)", "use_sliding_window"},
      {"smollm3", R"("mlp_bias": true)", "mlp_bias"},
      {"granite", R"("mlp_bias": true)", "mlp_bias"},
      {"granite", R"("scale_emb": 2)", "scale_emb"},
      {"llama", R"("no_rope_layers": [1, 0])", "no_rope_layers"},
      {"qwen3", R"("embedding_multiplier": 2)", "embedding_multiplier"},
      {"ministral3", R"("sliding_window": 64)", "sliding_window"},
      {"ministral3", R"("rope_parameters": {"rope_type": "default", "rope_theta": 10000.0})", "rope_type"},
      {"hunyuan", R"("use_cla": true)", "use_cla"},
      {"hunyuan",
       R"("rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0, "alpha": 9, "xdrope_section": [1]})",
       "xdrope_section"},
      {"olmo2", R"("clip_qkv": 8)", "clip_qkv"},
      {"lfm2", R"("conv_bias": true)", "conv_bias"},
      {"lfm2", R"("block_use_swiglu": false)", "block_use_swiglu"},
      {"lfm2", R"("use_pos_enc": false)", "use_pos_enc"},
      {"lfm2", R"("sliding_window": 64)", "sliding_window"},
      {"lfm2", R"("num_dense_layers": 1)", "num_dense_layers"},
      {"lfm2moe", R"("use_expert_bias": false)", "use_expert_bias"},
      {"lfm2moe", R"("block_ffn_dim_multiplier": 2)", "block_ffn_dim_multiplier"},
      {"llama", R"("conv_L_cache": 3)", "conv_L_cache"},
  };
  for (const auto& [name, member, field] : cases) {
    SCOPED_TRACE(member);
    expect_error(convert_with(name, member), ErrorCode::kUnsupported, {"config.json", field});
  }
}

}  // namespace
}  // namespace rowmax::engine
