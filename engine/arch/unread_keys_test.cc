#include "engine/arch/unread_keys.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>

#include "engine/arch/architecture.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine::unread_keys_test {
namespace {

std::vector<std::byte> with(const std::string& arch, const std::function<void(GgufWriter&)>& change) {
  tools::SyntheticSpec spec;
  spec.arch = arch;
  auto writer = tools::make_synthetic_model(spec);
  EXPECT_TRUE(writer.ok());
  change(*writer);
  auto bytes = writer->bytes();
  EXPECT_TRUE(bytes.ok()) << bytes.error().message;
  return bytes.ok() ? std::move(bytes).value() : std::vector<std::byte>();
}

Result<ReadModel> load(const std::vector<std::byte>& bytes, const IgnoredKeys& ignored = {}) {
  auto file = GgufFile::parse(bytes, "m.gguf");
  EXPECT_TRUE(file.ok()) << file.error().message;
  return read_model(*file, {}, ignored);
}

KeyUse use_of(const std::vector<std::byte>& bytes, const std::string& key) {
  auto file = GgufFile::parse(bytes, "m.gguf");
  for (const KeyReport& report : report_model_keys(*file, {}, {})) {
    if (report.key == key) return report.use;
  }
  ADD_FAILURE() << key << " is in no report";
  return KeyUse::kRead;
}

// testdata/gguf_keys.txt: every key that the `gguf` package knows, what becomes of it at 7 in a llama model (where the
// key is a list of the package's, at [7]), and the value at which it is neutral.
TEST(UnreadKeys, EveryKeyThatGgufKnows) {
  std::ifstream list(std::string(ROWMAX_SOURCE_DIR) + "/engine/arch/testdata/gguf_keys.txt");
  int n_keys = 0;
  for (std::string line; std::getline(list, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string key, expected, neutral;
    words >> key >> expected >> neutral;
    if (!key.starts_with("{arch}.")) continue;
    ++n_keys;
    const std::string full = "llama" + key.substr(6);
    if (expected == "read") continue;  // ReadModel has them
    const auto at_7 = with("llama", [&](GgufWriter& writer) {
      writer.remove(full);
      writer.set_uint32(full, 7);
    });
    EXPECT_EQ(key_use_name(use_of(at_7, full)), expected) << full;
    auto model = load(at_7);
    EXPECT_EQ(model.ok(), expected == "harmless") << full;
    if (expected != "harmless" && !model.ok()) {
      EXPECT_EQ(model.error().code, ErrorCode::kUnsupported);
      for (const std::string_view part : {std::string_view("m.gguf"), std::string_view(full), std::string_view("= 7"),
                                          std::string_view("--ignore-key")}) {
        EXPECT_NE(model.error().message.find(part), std::string::npos) << model.error().message;
      }
      auto ignored = load(at_7, {full});
      ASSERT_TRUE(ignored.ok()) << ignored.error().message;
      EXPECT_NE(ignored->description.notices.back().find(full), std::string::npos);
    }
    if (neutral.empty()) continue;
    const auto quiet = with("llama", [&](GgufWriter& writer) {
      writer.remove(full);
      if (neutral == "true" || neutral == "false") {
        writer.set_bool(full, neutral == "true");
      } else if (neutral.find_first_not_of("-.0123456789") == std::string::npos) {
        writer.set_float32(full, std::stof(neutral));
      } else {
        writer.set_string(full, neutral);
      }
    });
    EXPECT_EQ(use_of(quiet, full), KeyUse::kNeutral) << full;
    EXPECT_TRUE(load(quiet).ok()) << full;
  }
  EXPECT_GT(n_keys, 150);
}

// general.architecture of a synthetic model.
std::string written(const std::string& arch) { return arch == "gemma4_moe" ? "gemma4" : arch; }

// Six that change the mathematics, and one that nobody knows yet, on every architecture.
TEST(UnreadKeys, KeysThatChangeTheMathematicsAreRefusedByName) {
  const std::map<std::string, std::function<void(GgufWriter&, const std::string&)>> changes = {
      {"attention.sliding_window", [](GgufWriter& w, const std::string& k) { w.set_uint32(k, 4); }},
      {"attn_logit_softcapping", [](GgufWriter& w, const std::string& k) { w.set_float32(k, 1); }},
      {"final_logit_softcapping", [](GgufWriter& w, const std::string& k) { w.set_float32(k, 5); }},
      {"expert_count", [](GgufWriter& w, const std::string& k) { w.set_uint32(k, 8); }},
      {"attention.causal", [](GgufWriter& w, const std::string& k) { w.set_bool(k, false); }},
      {"rope.scaling.attn_factor", [](GgufWriter& w, const std::string& k) { w.set_float32(k, 3); }},
      {"a_key_of_tomorrow", [](GgufWriter& w, const std::string& k) { w.set_uint32(k, 1); }},
  };
  for (const std::string& arch : tools::synthetic_architectures()) {
    for (const auto& [key, change] : changes) {
      const std::string full = written(arch) + "." + key;
      auto model = load(with(arch, [&](GgufWriter& writer) {
        writer.remove(full);
        change(writer, full);
      }));
      const bool reads =
          ((arch == "llama" || arch == "phi3" || arch == "gpt-oss") && key == "attention.sliding_window") ||
          ((arch == "gpt-oss" || arch == "deepseek2") && key == "expert_count") ||
          (arch == "phi3" && key == "rope.scaling.attn_factor") ||
          (arch.starts_with("gemma") && (key == "attention.sliding_window" || key.starts_with("final"))) ||
          (arch.ends_with("moe") && key == "expert_count") || (arch == "gemma2" && key.starts_with("attn_logit"));
      EXPECT_EQ(model.ok(), reads) << full;
      if (!model.ok()) {
        EXPECT_NE(model.error().message.find("'" + full + "'"), std::string::npos);
      }
    }
  }
}

// What the converters of llama.cpp (conversion/*.py in the source of llama-cpp-python 0.3.36, and convert_hf_to_gguf.py
// and convert.py of older trees) write besides what a synthetic model has already: such files load.
TEST(UnreadKeys, FilesOfTheConvertersLoad) {
  for (const std::string& arch : tools::synthetic_architectures()) {
    const std::string a = written(arch) + ".";
    auto model = load(with(arch, [&](GgufWriter& w) {
      for (const char* key : {"vocab_size", "rope.scaling.type", "rope.scaling.factor", "rope.freq_base_swa"}) {
        w.remove(a + key);
      }
      w.set_uint32(a + "vocab_size", 32000);
      w.set_float32(a + "attention.layer_norm_epsilon", 1e-5f);
      if (!arch.ends_with("moe") && arch != "gpt-oss" && arch != "deepseek2") {
        w.set_uint32(a + "expert_count", 0);
        w.set_uint32(a + "expert_used_count", 0);
      }
      w.set_bool(a + "attention.causal", true);
      w.set_bool(a + "use_parallel_residual", false);
      w.set_string(a + "tensor_data_layout", "Meta AI original pth");
      w.set_uint32(a + "pooling_type", 3);
      w.set_float32(a + "logit_scale", 1);
      if (arch.starts_with("bitnet")) {
        w.set_string(a + "rope.scaling.type", "linear");
        w.set_float32(a + "rope.scaling.factor", 1);
      } else if (arch != "phi3") {  // whose converter names no type
        w.set_string(a + "rope.scaling.type", "none");
        w.set_bool(a + "rope.scaling.finetuned", false);
        w.set_uint32(a + "rope.scaling.original_context_length", 8192);
      }
      if (arch == "llama") w.set_uint32(a + "attention.sliding_window", 0);
      if (arch == "gemma3") w.set_float32(a + "rope.freq_base_swa", 20000);
    }));
    EXPECT_TRUE(model.ok()) << arch << ": " << model.error().message;
    if (arch == "gemma3" && model.ok()) {
      EXPECT_EQ(model->spec.ropes[1].base, 20000);
    }
  }
}

// What ollama's converter (convert/*.go) writes for llama and for gemma3 with its image encoder.
TEST(UnreadKeys, FilesOfOllamaLoad) {
  auto gemma = load(with("gemma3", [](GgufWriter& w) {
    w.remove("gemma3.rope.freq_base_swa");
    w.set_float32("gemma3.rope.local.freq_base", 30000);
    w.set_uint32("gemma3.mm.tokens_per_image", 256);
    for (const char* key : {"block_count", "embedding_length", "feed_forward_length", "image_size", "patch_size",
                            "num_channels", "attention.head_count"}) {
      w.set_uint32(std::string("gemma3.vision.") + key, 14);
    }
    w.set_float32("gemma3.vision.attention.layer_norm_epsilon", 1e-6f);
  }));
  ASSERT_TRUE(gemma.ok()) << gemma.error().message;
  EXPECT_EQ(gemma->spec.ropes[1].base, 30000);
  const auto head_dim = static_cast<std::uint32_t>(load(with("llama", [](GgufWriter&) {}))->spec.shape.head_dim);
  for (const std::uint32_t wrong : {0u, 2u}) {
    auto llama =
        load(with("llama", [&](GgufWriter& w) { w.set_uint32("llama.attention.head_dim", head_dim + wrong); }));
    EXPECT_EQ(llama.ok(), wrong == 0);
    if (llama.ok()) continue;
    EXPECT_NE(llama.error().message.find("llama.attention.head_dim"), std::string::npos) << llama.error().message;
  }
}

TEST(UnreadKeys, TwoSpellingsOfTheLocalBaseMustAgree) {
  const auto both = [](float swa, float local) {
    return with("gemma3", [=](GgufWriter& w) {
      w.remove("gemma3.rope.freq_base_swa");
      w.set_float32("gemma3.rope.freq_base_swa", swa);
      w.set_float32("gemma3.rope.local.freq_base", local);
    });
  };
  auto same = load(both(20000, 20000));
  ASSERT_TRUE(same.ok()) << same.error().message;
  EXPECT_EQ(same->spec.ropes[1].base, 20000);
  EXPECT_EQ(use_of(both(20000, 20000), "gemma3.rope.local.freq_base"), KeyUse::kRead);
  auto differ = load(both(20000, 30000));
  ASSERT_FALSE(differ.ok());
  EXPECT_EQ(differ.error().code, ErrorCode::kCorrupt);
  for (const char* part : {"m.gguf", "'gemma3.rope.freq_base_swa' = 20000", "'gemma3.rope.local.freq_base' = 30000",
                           "--set gemma3.rope.freq_base_swa=VALUE"}) {
    EXPECT_NE(differ.error().message.find(part), std::string::npos) << differ.error().message;
  }
  for (const char* key : {"gemma3.rope.freq_base_swa", "gemma3.rope.local.freq_base"}) {
    const auto bytes = both(20000, 30000);
    auto file = GgufFile::parse(bytes, "m.gguf");
    auto decided = read_model(*file, {{key, "50000"}});
    ASSERT_TRUE(decided.ok()) << decided.error().message;
    EXPECT_EQ(decided->spec.ropes[1].base, 50000) << key;
  }
}

// The tokenizer's too: whoever loads the model passes their report.
TEST(UnreadKeys, AllThatAreRefusedAreNamedAtOnce) {
  const auto bytes = with("llama", [](GgufWriter& w) {
    w.set_uint32("llama.of_tomorrow", 3);
    w.set_float32("llama.logit_scale", 2);
    w.set_uint32("llama.rope.scaling.finetuned", 1);  // harmless
    w.set_bool("tokenizer.ggml.add_cls_token", true);
  });
  auto file = GgufFile::parse(bytes, "m.gguf");
  const KeyReport tokenizer[] = {
      {"tokenizer.ggml.add_cls_token", KeyUse::kRefused, "a token for the class is put in front of every text"},
      {"tokenizer.ggml.model", KeyUse::kRead, ""}};
  auto model = read_model(*file, {}, {}, tokenizer);
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(model.error().message,
            "m.gguf: 3 keys that would be passed over: key 'llama.of_tomorrow' = 3: architecture 'llama' does not know "
            "this key; key 'llama.logit_scale' = 2 means that the logits are scaled, which architecture 'llama' does "
            "not do here; key 'tokenizer.ggml.add_cls_token' = true means that a token for the class is put in front "
            "of every text, which the "
            "tokenizer does not do here; --ignore-key llama.of_tomorrow --ignore-key llama.logit_scale --ignore-key "
            "tokenizer.ggml.add_cls_token compute without them");
  EXPECT_TRUE(read_model(*file, {}, {"llama.of_tomorrow", "llama.logit_scale", "tokenizer.ggml.add_cls_token"}).ok());
}

TEST(UnreadKeys, YarnsKeysAreReadWithYarnOnly) {
  const auto yarn = [](const char* key, float value) {
    return [=](GgufWriter& w) {
      w.set_string("qwen3.rope.scaling.type", "yarn");
      w.set_float32("qwen3.rope.scaling.factor", 4);
      w.set_uint32("qwen3.rope.scaling.original_context_length", 128);
      w.set_float32(std::string("qwen3.rope.scaling.") + key, value);
    };
  };
  auto plain = load(with("qwen3", yarn("yarn_ext_factor", 1)));
  ASSERT_TRUE(plain.ok()) << plain.error().message;
  for (const char* key : {"attn_factor", "yarn_attn_factor"}) {
    auto scaled = load(with("qwen3", yarn(key, 2)));
    ASSERT_TRUE(scaled.ok()) << scaled.error().message;
    EXPECT_DOUBLE_EQ(scaled->spec.ropes[0].yarn->magnitude, 2 * plain->spec.ropes[0].yarn->magnitude) << key;
  }
  EXPECT_FALSE(load(with("qwen3", yarn("yarn_ext_factor", 0.5f))).ok());
  EXPECT_FALSE(load(with("qwen3", yarn("yarn_log_multiplier", 0.1f))).ok());
  EXPECT_FALSE(
      load(with("qwen3", [](GgufWriter& w) { w.set_float32("qwen3.rope.scaling.yarn_attn_factor", 2); })).ok());
}

TEST(UnreadKeys, MistralsWindowIsInEveryLayer) {
  auto model = load(with("llama", [](GgufWriter& w) { w.set_uint32("llama.attention.sliding_window", 37); }));
  ASSERT_TRUE(model.ok()) << model.error().message;
  for (const LayerSpec& layer : model->spec.layers) EXPECT_EQ(layer.attention.window, 37);
}

TEST(UnreadKeys, AnIgnoredKeyThatIsNotThereIsATypingError) {
  auto model = load(with("llama", [](GgufWriter&) {}), {"llama.expert_cuont"});
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(model.error().message.find("llama.expert_cuont"), std::string::npos);
}

TEST(UnreadKeys, AKeyThatIsReadCannotBeIgnored) {
  const auto bytes = with("llama", [](GgufWriter& w) {
    w.set_uint32("llama.attention.sliding_window", 37);
    w.set_string("general.license", "none");
  });
  for (const char* key : {"llama.attention.sliding_window", "llama.block_count", "general.license"}) {
    auto model = load(bytes, {key});
    ASSERT_FALSE(model.ok()) << key;
    EXPECT_EQ(model.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(model.error().message.find(std::string("--ignore-key ") + key), std::string::npos);
  }
}

TEST(UnreadKeys, TheLaterOverrideCounts) {
  const auto bytes = with("llama", [](GgufWriter&) {});
  auto file = GgufFile::parse(bytes, "m.gguf");
  auto model = read_model(*file, {{"llama.rope.freq_base", "10000"}, {"llama.rope.freq_base", "100"}});
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->spec.ropes[0].base, 100);
}

TEST(UnreadKeys, ListsAreNeutralWhereAllTheirElementsAre) {
  const auto list = [](std::vector<std::int32_t> values) {
    return [=](GgufWriter& w) { w.set_int32s("llama.attention.shared_kv_layers", values); };
  };
  EXPECT_TRUE(load(with("llama", list({0, 0, 0}))).ok());
  EXPECT_FALSE(load(with("llama", list({0, 0, 2}))).ok());
  EXPECT_TRUE(
      load(with("llama", [](GgufWriter& w) { w.set_bools("llama.attention.recurrent_layers", {false}); })).ok());
  EXPECT_FALSE(load(with("llama", [](GgufWriter& w) {
                 w.set_bools("llama.attention.recurrent_layers", {false, true});
               })).ok());
}

}  // namespace
}  // namespace rowmax::engine::unread_keys_test
