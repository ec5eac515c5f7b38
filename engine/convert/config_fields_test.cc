// Every field of transformers' configuration classes (testdata/config_fields.txt) is known; others get a note.
#include "engine/convert/config_fields.h"

#include <sstream>

#include "engine/convert/test_folder.h"

namespace rowmax::engine {
namespace {

class ConfigFields : public FolderTest {
 protected:
  Result<ConvertReport> convert_with(const std::string& name, const std::string& member) {
    const std::string folder = hf_folder(name);
    const std::string config = folder + "/config.json";
    std::string text = content(config);
    const std::string key = member.substr(0, member.find(':'));
    const std::size_t there = text.find(key);
    if (there != std::string::npos) text.replace(there, key.size(), "\"_was\"");
    save(config, "{" + member + "," + text.substr(text.find('{') + 1));
    ConvertOptions options;
    options.types.type = "F32";
    options.overwrite = true;
    auto report = convert_folder(folder, path("out.gguf"), options, serial_);
    std::filesystem::remove_all(folder);
    return report;
  }
};

TEST_F(ConfigFields, AllOfTransformersAreKnown) {
  std::istringstream lines(content(ROWMAX_SOURCE_DIR "/engine/convert/testdata/config_fields.txt"));
  std::string line, name, field;
  int classes = 0, fields = 0;
  while (std::getline(lines, line)) {
    if (line.starts_with('#')) continue;
    std::istringstream words(line);
    words >> name;
    ++classes;
    while (words >> field) {
      ++fields;
      EXPECT_TRUE(is_known_config_field(field)) << name << ": " << field;
    }
  }
  EXPECT_EQ(classes, 12);
  EXPECT_GT(fields, 450);
}

TEST_F(ConfigFields, UnknownOnesGetANoteWithTheirName) {
  auto report = convert_with("llama", R"("residual_multiplier": 2)");
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(has_notice(*report, "config.json: residual_multiplier: "));
  report = convert_with("llama", R"("residual_multiplier": null)");
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_FALSE(has_notice(*report, "residual_multiplier"));
}

TEST_F(ConfigFields, UnknownOnesOfTheTextModelToo) {
  const std::string folder = hf_folder("qwen35moe");
  ConvertOptions options;
  options.types.type = "F32";
  auto report = convert_folder(folder, path("out.gguf"), options, serial_);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_FALSE(has_notice(*report, "not a field"));
  replace_in(folder + "/config.json", "\"bos_token_id\"", "\"residual_multiplier\": 2, \"bos_token_id\"");
  options.overwrite = true;
  report = convert_folder(folder, path("out.gguf"), options, serial_);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(has_notice(*report, "config.json: text_config: residual_multiplier: "));
}

TEST_F(ConfigFields, KnownOnesThatChangeTheMathematicsAreRefused) {
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
  };
  for (const auto& [name, member, field] : cases) {
    SCOPED_TRACE(member);
    expect_error(convert_with(name, member), ErrorCode::kUnsupported, {"config.json", field});
  }
}

}  // namespace
}  // namespace rowmax::engine
