// Folders whose tensors are changed: what must be found, and what must come out the same.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "engine/arch/read_spec.h"
#include "engine/convert/test_folder.h"

namespace rowmax::engine {
namespace {

class HfTensorsTest : public FolderTest {
 protected:
  Result<ConvertReport> convert(const std::string& folder, const std::string& type = "F32",
                                const char* out = "out.gguf") {
    ConvertOptions options;
    options.types.type = type;
    options.overwrite = true;
    return convert_folder(folder, path(out), options, serial_);
  }
  static std::string weights_of(const std::string& folder) { return folder + "/model.safetensors"; }

  // mlp.experts.E.* of each layer as mlp.experts.gate_up_proj and mlp.experts.down_proj, and the other way round.
  static void fuse(Tensors& tensors, const std::string& layer, std::int64_t n_expert) {
    std::string both, down;
    std::vector<std::int64_t> in, out;
    const std::string prefix = layer + "mlp.experts.";
    for (std::int64_t e = 0; e < n_expert; ++e) {
      const std::string expert = prefix + std::to_string(e) + ".";
      in = tensors.at(expert + "gate_proj.weight").shape;
      out = tensors.at(expert + "down_proj.weight").shape;
      both += tensors[expert + "gate_proj.weight"].bytes + tensors[expert + "up_proj.weight"].bytes;
      down += tensors[expert + "down_proj.weight"].bytes;
      for (const char* name : {"gate_proj.weight", "up_proj.weight", "down_proj.weight"}) tensors.erase(expert + name);
    }
    tensors[prefix + "gate_up_proj"] = {"BF16", {n_expert, 2 * in[0], in[1]}, both};
    tensors[prefix + "down_proj"] = {"BF16", {n_expert, out[0], out[1]}, down};
  }
  static void split(Tensors& tensors, const std::string& layer) {
    const std::string prefix = layer + "mlp.experts.";
    const Stored both = tensors.at(prefix + "gate_up_proj"), down = tensors.at(prefix + "down_proj");
    tensors.erase(prefix + "gate_up_proj");
    tensors.erase(prefix + "down_proj");
    const std::int64_t n = both.shape[0], ff = both.shape[1] / 2, embd = both.shape[2];
    const auto bytes = static_cast<std::size_t>(2 * ff * embd);
    for (std::int64_t e = 0; e < n; ++e) {
      const std::string expert = prefix + std::to_string(e) + ".";
      const std::size_t at = static_cast<std::size_t>(e) * bytes;
      tensors[expert + "gate_proj.weight"] = {"BF16", {ff, embd}, both.bytes.substr(2 * at, bytes)};
      tensors[expert + "up_proj.weight"] = {"BF16", {ff, embd}, both.bytes.substr(2 * at + bytes, bytes)};
      tensors[expert + "down_proj.weight"] = {"BF16", {embd, ff}, down.bytes.substr(at, bytes)};
    }
  }

  // The largest difference of the file's logits to the folder's logits.golden (transformers), over their range.
  double distance_to_golden(const std::string& model_path, const std::string& golden_path) {
    const std::string golden = content(golden_path);
    std::uint32_t header[4];
    if (golden.size() < 24) return HUGE_VAL;
    std::memcpy(header, golden.data() + 8, sizeof header);
    std::vector<TokenId> tokens(header[0]);
    std::vector<std::uint32_t> rows(header[1]);
    std::vector<float> want(std::size_t{header[1]} * header[2]);
    std::memcpy(tokens.data(), golden.data() + 24, 4 * tokens.size());
    std::memcpy(rows.data(), golden.data() + 24 + 4 * tokens.size(), 4 * rows.size());
    std::memcpy(want.data(), golden.data() + 24 + 4 * (tokens.size() + rows.size()), 4 * want.size());
    const std::vector<float> logits = logits_of(model_path, tokens);
    if (logits.size() != tokens.size() * header[2]) return HUGE_VAL;
    double difference = 0;
    for (std::size_t r = 0; r < rows.size(); ++r) {
      for (std::size_t v = 0; v < header[2]; ++v) {
        const double found = static_cast<double>(logits[rows[r] * header[2] + v]);
        difference = std::max(difference, std::fabs(found - static_cast<double>(want[r * header[2] + v])));
      }
    }
    const auto [low, high] = std::ranges::minmax(want);
    return difference / static_cast<double>(high - low);
  }
};

TEST_F(HfTensorsTest, LogitsOfTransformers) {
  const std::pair<const char*, double> cases[] = {
      {"phi3", 3e-6},         {"qwen3moe", 3e-6},   {"qwen35", 1e-5},    {"qwen35moe", 1e-5},    {"smollm3", 3e-6},
      {"granite", 3e-6},      {"ministral3", 3e-6}, {"minicpm", 3e-6},   {"minicpm_long", 3e-6}, {"hunyuan", 3e-6},
      {"lfm2", 3e-6},         {"lfm2moe", 3e-6},    {"olmo2", 3e-6},     {"gptoss", 3e-6},       {"gptoss_mxfp4", 3e-6},
      {"gemma4", 3e-6},       {"gemma4_moe", 3e-6}, {"gemma4_vk", 3e-6}, {"deepseek_v2", 3e-6},  {"deepseek_v3", 3e-6},
      {"glm4_moe_lite", 3e-6}};
  for (const auto& [name, limit] : cases) {
    for (const char* type : {"F32", "BF16", ""}) {  // as the folder has them
      SCOPED_TRACE(std::string(name) + " " + type);
      const std::string folder = hf_folder(name);
      const auto report = convert(folder, type);
      ASSERT_TRUE(report.ok()) << report.error().message;
      EXPECT_LE(distance_to_golden(path("out.gguf"), folder + "/logits.golden"), limit);
      std::filesystem::remove_all(folder);
    }
  }
}

// As llama.cpp's converter writes the same folder.
TEST_F(HfTensorsTest, PackedExpertsStayWhatTheyAre) {
  const std::string folder = hf_folder("gptoss_mxfp4");
  const auto fnv = [](std::span<const std::byte> bytes) {
    std::uint64_t hash = 0xCBF29CE484222325ull;
    for (const std::byte byte : bytes) hash = (hash ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001B3ull;
    return hash;
  };
  ASSERT_TRUE(convert(folder, "").ok());
  const auto file = GgufFile::open(path("out.gguf"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  std::istringstream lines(content(folder + "/mxfp4.txt"));
  std::string name, hash;
  int n = 0;
  for (; lines >> name >> hash; ++n) {
    const GgufTensor* tensor = file->find_tensor(name);
    ASSERT_NE(tensor, nullptr) << name;
    EXPECT_EQ(gguf_tensor_format_name(*tensor), "MXFP4") << name;
    EXPECT_EQ(fnv(tensor->data), std::stoull(hash, nullptr, 16)) << name;
  }
  EXPECT_EQ(n, 6);
  EXPECT_EQ(gguf_tensor_format_name(*file->find_tensor("blk.0.attn_q.weight")), "BF16");
}

TEST_F(HfTensorsTest, ExpertsInOneTensorOrInOneEach) {
  const std::string apart = hf_folder("qwen3moe");
  ASSERT_TRUE(convert(apart, "F32", "model.gguf").ok());
  const std::string before = content(path("model.gguf"));
  edit_tensors(weights_of(apart), [](Tensors& tensors) {
    fuse(tensors, "model.layers.0.", 5);
    fuse(tensors, "model.layers.1.", 5);
  });
  const auto fused = convert(apart, "F32", "model.gguf");
  ASSERT_TRUE(fused.ok()) << fused.error().message;
  EXPECT_EQ(content(path("model.gguf")), before);
  EXPECT_EQ(content(path("model.gguf")).size(), before.size());

  const std::string together = hf_folder("qwen35moe");
  ASSERT_TRUE(convert(together, "BF16", "model.gguf").ok());
  const std::string with_fused = content(path("model.gguf"));
  edit_tensors(weights_of(together), [](Tensors& tensors) {
    for (int layer = 0; layer < 3; ++layer) {
      split(tensors, "model.language_model.layers." + std::to_string(layer) + ".");
    }
    split(tensors, "mtp.layers.0.");
  });
  ASSERT_TRUE(convert(together, "BF16", "model.gguf").ok());
  EXPECT_EQ(content(path("model.gguf")), with_fused);
}

TEST_F(HfTensorsTest, EveryTensorMustBeThereInItsShape) {
  using Change = std::function<void(Tensors&)>;
  const auto refused = [&](const char* name, const Change& change, ErrorCode code,
                           std::initializer_list<std::string_view> texts) {
    const std::string folder = hf_folder(name);
    edit_tensors(weights_of(folder), change);
    expect_error(convert(folder), code, texts);
    EXPECT_FALSE(std::filesystem::exists(path("out.gguf")));
    std::filesystem::remove_all(folder);
  };
  const ErrorCode corrupt = ErrorCode::kCorrupt, unsupported = ErrorCode::kUnsupported;
  const auto turn = [](const char* name) {
    return [name](Tensors& tensors) { std::ranges::reverse(tensors.at(name).shape); };
  };
  const auto drop = [](const char* name) { return [name](Tensors& tensors) { ASSERT_EQ(tensors.erase(name), 1u); }; };
  const auto copy = [](const char* from, const char* to) {
    return [from, to](Tensors& tensors) { tensors[to] = tensors.at(from); };
  };
  refused("qwen2", turn("model.layers.0.mlp.down_proj.weight"), corrupt,
          {"model.safetensors", "mlp.down_proj.weight", "[24, 16]", "[16, 24]", "blk.0.ffn_down.weight"});
  refused("qwen35", turn("lm_head.weight"), corrupt, {"lm_head.weight", "[16, 280]", "[280, 16]"});
  refused("qwen35", turn("model.layers.0.linear_attn.conv1d.weight"), corrupt, {"conv1d", "[4, 1, 40]", "[40, 1, 4]"});
  refused("qwen35", drop("lm_head.weight"), corrupt, {"lm_head.weight", "output.weight", "missing"});
  refused("qwen35", drop("model.norm.weight"), corrupt, {"model.norm.weight", "output_norm.weight", "missing"});
  refused("qwen35", drop("model.layers.1.linear_attn.A_log"), corrupt, {"layers.1.linear_attn.A_log", "blk.1.ssm_a"});
  refused("qwen35", copy("model.norm.weight", "model.layers.0.self_attn.q_norm.weight"), unsupported,
          {"model.layers.0.self_attn.q_norm.weight", "not known to Qwen3_5ForCausalLM"});
  refused("qwen3moe", drop("model.layers.1.mlp.experts.3.up_proj.weight"), corrupt,
          {"layers.1.mlp.experts.3.up_proj.weight", "blk.1.ffn_up_exps.weight", "missing"});
  refused("qwen3moe", turn("model.layers.1.mlp.experts.3.up_proj.weight"), corrupt,
          {"layers.1.mlp.experts.3.up_proj.weight", "[16, 12]", "[12, 16]"});
  refused("qwen35moe", turn("model.language_model.layers.0.mlp.experts.gate_up_proj"), corrupt,
          {"gate_up_proj", "[16, 24, 5]", "[5, 24, 16]"});
  refused("qwen35moe", turn("model.language_model.layers.0.mlp.shared_expert_gate.weight"), corrupt,
          {"shared_expert_gate", "[16, 1]", "[1, 16]"});
  refused("qwen35moe", drop("mtp.fc.weight"), corrupt, {"mtp.fc.weight", "blk.4.nextn.eh_proj.weight", "missing"});
  refused("qwen35moe", copy("mtp.norm.weight", "mtp.other.weight"), unsupported, {"mtp.other.weight", "not known"});
  refused("llama_packed", copy("model.norm.weight", "model.norm.weight_scale"), unsupported,
          {"model.norm.weight_scale", "factor of no packed matrix"});
  refused("llama_bias", copy("model.norm.weight", "model.layers.0.pre_feedforward_layernorm.weight"), unsupported,
          {"pre_feedforward_layernorm", "not known"});
  refused("bitnet",
          copy("model.layers.0.self_attn.attn_sub_norm.weight", "model.layers.0.self_attn.inner_attn_ln.weight"),
          corrupt, {"is a second blk.0.attn_sub_norm.weight"});
  refused("qwen3moe",
          [](Tensors& tensors) {
            Stored& expert = tensors.at("model.layers.1.mlp.experts.4.down_proj.weight");
            expert.bytes.replace(2 * (12 * 3 + 5), 2, "\xC0\x7F");  // NaN
          },
          corrupt, {"layers.1.mlp.experts.4.down_proj.weight", "row 3", "finite"});
}

TEST_F(HfTensorsTest, TheConvolutionMayHaveTwoDims) {
  const std::string folder = hf_folder("qwen35");
  ASSERT_TRUE(convert(folder).ok());
  const std::string before = content(path("out.gguf"));
  edit_tensors(weights_of(folder), [](Tensors& tensors) {
    tensors.at("model.layers.0.linear_attn.conv1d.weight").shape = {40, 4};
  });
  ASSERT_TRUE(convert(folder).ok());
  EXPECT_EQ(content(path("out.gguf")), before);
}

// What a configuration does not say is what transformers' class does.
TEST_F(HfTensorsTest, DefaultsOfTheHybrids) {
  const std::string folder = hf_folder("qwen35"), config = folder + "/config.json";
  ASSERT_TRUE(convert(folder).ok());
  const std::string before = content(path("out.gguf"));
  const std::pair<const char*, const char*> changes[] = {
      {"\"partial_rotary_factor\": 0.25", "\"partial_rotary_factor\": null"},
      {"\"mrope_section\"", "\"finetuned\""},
      {"\"layer_types\"", "\"unsloth_layer_types\""},
      {"\"linear_conv_kernel_dim\"", "\"unsloth_kernel\""},
  };
  for (const auto& [name, instead] : changes) {
    replace_in(config, name, instead);
    const auto report = convert(folder);
    ASSERT_TRUE(report.ok()) << name << report.error().message;
    EXPECT_EQ(content(path("out.gguf")), before) << name;
  }
  // Every second layer attends: other tensors than those of the folder.
  replace_in(config, "\"unsloth_kernel\"", "\"full_attention_interval\": 2, \"unsloth_kernel\"");
  expect_error(convert(folder), ErrorCode::kUnsupported, {"model.layers.1.linear_attn", "not known"});
}

// Layers for guessing tokens ahead are written where there is one of them, as published; else they are left out.
TEST_F(HfTensorsTest, DraftLayers) {
  const auto file_of = [&](const std::string& folder, const char* notice) {
    const auto report = convert(folder);
    EXPECT_TRUE(report.ok() && has_notice(*report, notice)) << notice;
    std::filesystem::path golden = folder + "/logits.golden";
    EXPECT_LE(distance_to_golden(path("out.gguf"), golden), 1e-5);
    return std::move(GgufFile::open(path("out.gguf"))).value();
  };
  const std::string folder = hf_folder("qwen35moe"), config = folder + "/config.json";
  {
    const GgufFile file = file_of(folder, "is written as blk.4");
    EXPECT_EQ(*file.get_uint("qwen35moe.block_count"), 5u);
    EXPECT_NE(file.find_tensor("blk.4.nextn.eh_proj.weight"), nullptr);
  }
  const auto left_out = [&](const char* notice) {
    const GgufFile file = file_of(folder, notice);
    EXPECT_EQ(*file.get_uint("qwen35moe.block_count"), 4u);
    EXPECT_EQ(file.find("qwen35moe.nextn_predict_layers"), nullptr);
    EXPECT_EQ(file.find_tensor("blk.4.nextn.eh_proj.weight"), nullptr);
    EXPECT_EQ((*file.get_array("qwen35moe.attention.recurrent_layers", GgufType::kBool))->size, 4u);
  };
  replace_in(config, "\"mtp_num_hidden_layers\": 1",
             "\"mtp_num_hidden_layers\": 1, \"mtp_use_dedicated_embeddings\": true");
  left_out("mtp_use_dedicated_embeddings true");
  replace_in(config, ", \"mtp_use_dedicated_embeddings\": true", "");
  replace_in(config, "\"mtp_num_hidden_layers\": 1", "\"mtp_num_hidden_layers\": 2");
  left_out("found 1 layers, mtp_num_hidden_layers 2");
  edit_tensors(weights_of(folder), [](Tensors& tensors) {
    std::erase_if(tensors, [](const auto& entry) { return entry.first.starts_with("mtp."); });
  });
  left_out("mtp_num_hidden_layers: 2, but there are no tensors mtp.*");
}

TEST_F(HfTensorsTest, WhatSeesImagesIsLeftOut) {
  const auto report = convert(hf_folder("qwen35moe"));
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(has_notice(*report, "1 tensors model.visual.*"));
}

// As Ministral 3 is published, in either order of names.
TEST_F(HfTensorsTest, AMistralInsideAnother) {
  for (const std::string prefix : {"model.language_model.", "language_model.model."}) {
    SCOPED_TRACE(prefix);
    const std::string folder = hf_folder("ministral3"), config = folder + "/config.json";
    save(config, R"({"architectures": ["Mistral3ForConditionalGeneration"], "image_token_index": 10, "text_config": )" +
                     content(config) + "}");
    edit_tensors(weights_of(folder), [&](Tensors& tensors) {
      Tensors nested;
      for (auto& [name, tensor] : tensors) nested[prefix + name.substr(std::string("model.").size())] = tensor;
      nested["vision_tower.norm.weight"] = {"BF16", {8}, std::string(16, '\0')};
      tensors = std::move(nested);
    });
    const auto report = convert(folder);
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_TRUE(has_notice(*report, "1 tensors vision_tower.*"));
    EXPECT_LE(distance_to_golden(path("out.gguf"), folder + "/logits.golden"), 3e-6);
    replace_in(config, R"("model_type": "ministral3")", R"("model_type": "mistral4")");
    expect_error(convert(folder), ErrorCode::kUnsupported, {"text_config", "ministral3 or mistral", "mistral4"});
    std::filesystem::remove_all(folder);
  }
}

// A magnitude that mscale and attention_factor make, as transformers computes it (_compute_yarn_parameters): get_mscale(16,
// mscale) / get_mscale(16, mscale_all_dim), get_mscale(16, m) = 0.1 m ln 16 + 1.
TEST_F(HfTensorsTest, MagnitudesOfYarn) {
  struct Case {
    const char *from, *to;
    double magnitude;
  };
  const double log = std::log(16.0);
  const Case cases[] = {
      {"\"mscale\": 1.0", "\"mscale\": 0.5", (0.05 * log + 1) / (0.1 * log + 1)},
      {"\"mscale_all_dim\": 1.0", "\"mscale_all_dim\": 0.25", (0.1 * log + 1) / (0.025 * log + 1)},
      {"\"mscale_all_dim\": 1.0,", "", 0.1 * log + 1},
      {"\"mscale\": 1.0,", "", 0.1 * log + 1},
      {"\"mscale\": 1.0", "\"mscale\": 1.0, \"attention_factor\": 1.5", 1.5},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.to);
    const std::string folder = hf_folder("ministral3");
    replace_in(folder + "/config.json", each.from, each.to);
    ASSERT_TRUE(convert(folder).ok());
    const auto file = GgufFile::open(path("out.gguf"));
    const auto spec = read_spec(*file);
    ASSERT_TRUE(spec.ok()) << spec.error().message;
    EXPECT_NEAR(spec->ropes[0].yarn->magnitude, each.magnitude, 1e-6);
    std::filesystem::remove_all(folder);
  }
}

// The outer configuration says whether the head is tied, where it says anything.
TEST_F(HfTensorsTest, TiedAsTheOuterModelSays) {
  const std::string folder = hf_folder("qwen35moe"), config = folder + "/config.json";
  replace_in(config, "\n \"tie_word_embeddings\": true", "\n \"tie_word_embeddings\": false");
  expect_error(convert(folder), ErrorCode::kCorrupt, {"lm_head.weight", "missing"});
  replace_in(config, "\n \"tie_word_embeddings\": false", "\n \"transformers_version\": \"5\"");
  EXPECT_TRUE(convert(folder).ok());
}

// A head of its own that lies in the folder counts, whatever the configuration says; none is no embedding.
TEST_F(HfTensorsTest, ArchitecturesThatNeverTieTheHead) {
  for (const char* name : {"olmo2", "gptoss"}) {
    SCOPED_TRACE(name);
    const std::string folder = hf_folder(name);
    replace_in(folder + "/config.json", "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
    const auto kept = convert(folder);
    ASSERT_TRUE(kept.ok()) << kept.error().message;
    EXPECT_TRUE(has_notice(*kept, "lm_head.weight is kept"));
    edit_tensors(weights_of(folder), [](Tensors& tensors) { tensors.erase("lm_head.weight"); });
    expect_error(convert(folder), ErrorCode::kUnsupported,
                 {"config.json: tie_word_embeddings: expected false", "head of their own"});
  }
}

// Experts beside an FFN, in one tensor for gate and up as the folder has them.
TEST_F(HfTensorsTest, ExpertsBesideTheFfn) {
  const std::string folder = hf_folder("gemma4_moe"), config = folder + "/config.json";
  ASSERT_TRUE(convert(folder).ok());
  const auto file = GgufFile::open(path("out.gguf"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  const GgufTensor* both = file->find_tensor("blk.1.ffn_gate_up_exps.weight");
  ASSERT_NE(both, nullptr);
  EXPECT_EQ(both->shape, (std::vector<std::int64_t>{16, 24, 5}));
  EXPECT_EQ(file->find_tensor("blk.1.ffn_gate_exps.weight"), nullptr);
  const auto broken = [&](const std::function<void(Tensors&)>& change, ErrorCode code,
                          std::initializer_list<std::string_view> texts) {
    std::filesystem::remove_all(folder);
    hf_folder("gemma4_moe");
    edit_tensors(weights_of(folder), change);
    expect_error(convert(folder), code, texts);
  };
  const std::string layer = "model.language_model.layers.1.";
  for (const char* name : {"router.scale", "router.proj.weight", "router.per_expert_scale", "experts.gate_up_proj",
                           "pre_feedforward_layernorm_2.weight", "post_feedforward_layernorm_1.weight",
                           "post_feedforward_layernorm_2.weight", "mlp.up_proj.weight"}) {
    const std::string tensor = layer + name;
    broken([&](Tensors& tensors) { ASSERT_EQ(tensors.erase(tensor), 1u) << tensor; }, ErrorCode::kCorrupt,
           {tensor, "missing"});
  }
  broken(
      [&](Tensors& tensors) {
        tensors.at(layer + "experts.gate_up_proj").shape = {5, 48, 8};
      },
      ErrorCode::kCorrupt, {"experts.gate_up_proj", "[5, 48, 8]", "[5, 24, 16]"});
  broken([&](Tensors& tensors) { tensors[layer + "router.bias"] = tensors.at(layer + "router.scale"); },
         ErrorCode::kUnsupported, {"router.bias", "not known"});
  std::filesystem::remove_all(folder);
  hf_folder("gemma4_moe");
  replace_in(config, "\"top_k_experts\": 2", "\"top_k_experts\": 6");
  expect_error(convert(folder), ErrorCode::kCorrupt, {"top_k_experts", "5"});
  replace_in(config, "\"top_k_experts\": 6", "\"top_k_experts\": null");
  expect_error(convert(folder), ErrorCode::kCorrupt, {"top_k_experts", "missing"});
}

TEST_F(HfTensorsTest, ProbabilitiesThatAreNotRenormalised) {
  const std::string folder = hf_folder("qwen3moe");
  ASSERT_TRUE(convert(folder).ok());
  EXPECT_EQ(GgufFile::open(path("out.gguf"))->find("qwen3moe.expert_weights_norm"), nullptr);
  replace_in(folder + "/config.json", "\"norm_topk_prob\": true", "\"norm_topk_prob\": false");
  const auto report = convert(folder);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(has_notice(*report, "norm_topk_prob"));
  EXPECT_FALSE(*GgufFile::open(path("out.gguf"))->get_bool("qwen3moe.expert_weights_norm"));
  EXPECT_GT(distance_to_golden(path("out.gguf"), folder + "/logits.golden"), 1e-3);
}

}  // namespace
}  // namespace rowmax::engine
