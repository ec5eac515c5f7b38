#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "engine/arch/architecture.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine::read_model_test {
namespace {

std::vector<std::byte> bytes_of(const tools::SyntheticSpec& spec) {
  auto bytes = tools::synthetic_model_bytes(spec);
  EXPECT_TRUE(bytes.ok()) << bytes.error().message;
  return std::move(bytes).value();
}

tools::SyntheticSpec spec_of(const std::string& arch) {
  tools::SyntheticSpec spec;
  spec.arch = arch;
  return spec;
}

// Replaces the first occurrence of one text by another of the same length, in the file itself.
std::vector<std::byte> patched(std::vector<std::byte> bytes, const std::string& from, const std::string& to) {
  EXPECT_EQ(from.size(), to.size());
  const auto* begin = reinterpret_cast<const std::byte*>(from.data());
  const auto at = std::search(bytes.begin(), bytes.end(), begin, begin + from.size());
  EXPECT_NE(at, bytes.end()) << from;
  std::copy_n(reinterpret_cast<const std::byte*>(to.data()), to.size(), at);
  return bytes;
}

Result<ReadModel> read(const std::vector<std::byte>& bytes, const KeyOverrides& overrides = {},
                       const IgnoredKeys& ignored = {}) {
  auto file = GgufFile::parse(bytes, "m.gguf");
  EXPECT_TRUE(file.ok()) << file.error().message;
  // ReadModel's views point into `bytes`, not into the GgufFile.
  return read_model(*file, overrides, ignored);
}

void expect_error(const Result<ReadModel>& result, ErrorCode code, std::initializer_list<const char*> texts) {
  ASSERT_FALSE(result.ok()) << *texts.begin();
  EXPECT_EQ(result.error().code, code) << result.error().message;
  EXPECT_NE(result.error().message.find("m.gguf"), std::string::npos) << result.error().message;
  for (const char* text : texts) {
    EXPECT_NE(result.error().message.find(text), std::string::npos) << text << " in: " << result.error().message;
  }
}

std::string fact(const ReadModel& model, const std::string& name, bool source = false) {
  for (auto it = model.description.facts.rbegin(); it != model.description.facts.rend(); ++it) {
    if (it->name == name) return source ? it->source : it->value;
  }
  return "absent";
}

TEST(ReadModel, EveryArchitectureStatesItsConventions) {
  for (const std::string& made : tools::synthetic_architectures()) {
    SCOPED_TRACE(made);
    auto model = read(bytes_of(spec_of(made)));
    ASSERT_TRUE(model.ok()) << model.error().message;
    const ModelSpec& spec = model->spec;
    const std::string arch = made == "gemma4_moe" ? "gemma4" : made;
    EXPECT_EQ(spec.architecture, arch);
    const bool gemma = arch.starts_with("gemma");
    const bool adjacent = arch == "llama" || arch == "deepseek2";
    EXPECT_EQ(spec.ropes[0].pairing, adjacent ? RopePairing::kAdjacent : RopePairing::kHalves) << arch;
    EXPECT_EQ(spec.layers[0].attention.qk_norm == QkNorm::kHead,
              arch.starts_with("qwen3") || arch == "gemma3" || arch == "gemma4" || arch.starts_with("lfm2"))
        << arch;
    EXPECT_EQ(spec.layers[0].post_norms, gemma) << arch;
    EXPECT_EQ(spec.layers[0].ffn.activation, gemma                    ? FfnActivation::kGeluTanh
                                             : arch == "bitnet-b1.58" ? FfnActivation::kReluSquared
                                             : arch == "gpt-oss"      ? FfnActivation::kGeluQuick
                                                                      : FfnActivation::kSilu)
        << arch;
    EXPECT_EQ(spec.layers[0].attention.sub_norm, arch.starts_with("bitnet")) << arch;
    EXPECT_EQ(spec.default_pre, arch.starts_with("bitnet") ? "llama-bpe" : "") << arch;
    EXPECT_EQ(spec.embedding_scale, gemma ? std::sqrt(static_cast<float>(spec.shape.n_embd)) : 1.0f) << arch;
    EXPECT_FLOAT_EQ(spec.layers[0].attention.scale,
                    arch == "gemma4" ? 1.0f : 1.0f / std::sqrt(static_cast<float>(spec.shape.head_dim)))
        << arch;
    EXPECT_EQ(spec.attention_softcap > 0, arch == "gemma2") << arch;
    EXPECT_EQ(fact(*model, "rms_norm_eps", true), "key " + arch + ".attention.layer_norm_rms_epsilon");
    for (std::size_t i = 0; i < spec.layers.size(); ++i) {
      const bool local = ((arch == "gemma2" || arch == "gpt-oss") && i % 2 == 0) || (arch == "gemma3" && i % 6 != 5) ||
                         (arch == "gemma4" && i % 3 != 2 && i + 1 != spec.layers.size());
      EXPECT_EQ(spec.layers[i].attention.window, local ? 64 : 0) << arch << " layer " << i;
      EXPECT_EQ(spec.layers[i].attention.rope, (arch == "gemma3" || arch == "gemma4") && local ? 1 : 0)
          << arch << " layer " << i;
    }
  }
}

TEST(ReadModel, Gemma3TurnsLocalLayersWithTheirOwnBase) {
  auto model =
      read(bytes_of(spec_of("gemma3")), {{"gemma3.rope.scaling.type", "linear"}, {"gemma3.rope.scaling.factor", "8"}});
  ASSERT_TRUE(model.ok()) << model.error().message;
  ASSERT_EQ(model->spec.ropes.size(), 2u);
  EXPECT_EQ(model->spec.ropes[0].base, 1e6);
  EXPECT_EQ(model->spec.ropes[0].scale, 0.125);
  EXPECT_EQ(model->spec.ropes[1].base, 1e4);
  EXPECT_EQ(model->spec.ropes[1].scale, 1.0);
}

// ollama's converter lists the layers with a window; others write every how many layers one is without.
TEST(ReadModel, Gemma3TakesWindowsAsAListOfLayers) {
  const auto with = [](const std::vector<bool>& listed) {
    auto writer = tools::make_synthetic_model(spec_of("gemma3"));
    EXPECT_TRUE(writer.ok());
    writer->remove("gemma3.attention.sliding_window_pattern");
    writer->set_bools("gemma3.attention.sliding_window_pattern", listed);
    static std::vector<std::byte> bytes;  // that the model points into
    bytes = std::move(writer->bytes()).value();
    return read(bytes);
  };
  const std::vector<bool> listed = {true, false, false, true, true, false, true};
  const auto model = with(listed);
  ASSERT_TRUE(model.ok()) << model.error().message;
  ASSERT_EQ(model->spec.layers.size(), listed.size());
  for (std::size_t i = 0; i < listed.size(); ++i) {
    EXPECT_EQ(model->spec.layers[i].attention.window > 0, listed[i]) << i;
    EXPECT_EQ(model->spec.layers[i].attention.rope, listed[i] ? 1 : 0) << i;
  }
  EXPECT_EQ(fact(*model, "sliding_window_layers"), "4 of 7");
  for (const std::size_t n : {2, 8}) {
    expect_error(with(std::vector<bool>(n, true)), ErrorCode::kCorrupt,
                 {"sliding_window_pattern", "7 values", n == 2 ? "found 2" : "found 8"});
  }
}

TEST(ReadModel, YarnNeedsItsKeys) {
  const std::vector<std::byte> bytes = bytes_of(spec_of("qwen3"));
  const KeyOverrides yarn = {{"qwen3.rope.scaling.type", "yarn"},
                             {"qwen3.rope.scaling.factor", "4"},
                             {"qwen3.rope.scaling.original_context_length", "128"}};
  auto model = read(bytes, yarn);
  ASSERT_TRUE(model.ok()) << model.error().message;
  ASSERT_TRUE(model->spec.ropes[0].yarn.has_value());
  EXPECT_EQ(model->spec.ropes[0].yarn->factor, 4.0);
  EXPECT_EQ(model->spec.ropes[0].yarn->original_context, 128.0);
  EXPECT_NEAR(model->spec.ropes[0].yarn->magnitude, 1 + 0.1 * std::log(4.0), 1e-12);
  EXPECT_EQ(model->spec.ropes[0].scale, 1.0);  // not interpolated twice
  const KeyOverrides without_length(yarn.begin(), yarn.begin() + 2);
  expect_error(read(bytes, without_length), ErrorCode::kCorrupt, {"original_context_length", "missing", "--set"});
  KeyOverrides flat = yarn;
  flat.push_back({"qwen3.rope.freq_base", "1"});
  expect_error(read(bytes, flat), ErrorCode::kCorrupt, {"rope.freq_base", "more than 1"});
}

TEST(ReadModel, FactorsOfMatricesAreOnesOfTheirOwn) {
  auto writer = tools::make_synthetic_model(spec_of("bitnet"));
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  const float factor = 0.5f;
  const auto* data = reinterpret_cast<const std::byte*>(&factor);
  writer->add_tensor("blk.1.ffn_down.scale", 0, {1}, {data, data + sizeof factor});
  auto bytes = writer->bytes();
  ASSERT_TRUE(bytes.ok());
  auto model = read(*bytes);
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_TRUE(model->sources.layers[1][W::kFfnDownScale].present());
  EXPECT_FALSE(model->sources.layers[0][W::kFfnDownScale].present());
  // The 2B4T architecture has no such tensors: they would change nothing in silence.
  auto other = tools::make_synthetic_model(spec_of("bitnet-b1.58"));
  other->add_tensor("blk.1.ffn_down.scale", 0, {1}, {data, data + sizeof factor});
  expect_error(read(*other->bytes()), ErrorCode::kUnsupported, {"blk.1.ffn_down.scale", "not used"});
}

TEST(ReadModel, MissingKeysAreNamedWithTheFlagThatGivesThem) {
  const std::vector<std::byte> good = bytes_of(spec_of("llama"));
  const std::string eps = "llama.attention.layer_norm_rms_epsilon";
  const std::vector<std::byte> bad = patched(good, eps, "llama.attention.layer_norm_rms_epsilox");
  expect_error(read(bad), ErrorCode::kCorrupt, {eps.c_str(), "missing", "--set"});
  // The other name is a key that nobody knows.
  expect_error(read(bad, {{eps, "1e-5"}}), ErrorCode::kUnsupported, {"rms_epsilox", "--ignore-key"});
  auto model = read(bad, {{eps, "1e-5"}}, {"llama.attention.layer_norm_rms_epsilox"});
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->spec.rms_norm_eps, 1e-5f);
  EXPECT_EQ(fact(*model, "rms_norm_eps", true), "override of key " + eps);
  expect_error(read(patched(good, "llama.block_count", "llama.block_cuont")), ErrorCode::kCorrupt,
               {"llama.block_count", "missing"});
}

TEST(ReadModel, ValuesOutOfRangeAreNamed) {
  const std::vector<std::byte> bytes = bytes_of(spec_of("llama"));
  const auto refused = [&](const char* key, const char* value, std::initializer_list<const char*> texts) {
    const auto result = read(bytes, {{std::string("llama.") + key, value}});
    ASSERT_FALSE(result.ok()) << key << "=" << value;
    for (const char* text : texts)
      EXPECT_NE(result.error().message.find(text), std::string::npos) << result.error().message;
  };
  refused("attention.layer_norm_rms_epsilon", "0", {"layer_norm_rms_epsilon", "found 0"});
  refused("attention.layer_norm_rms_epsilon", "-1", {"layer_norm_rms_epsilon", "found -1"});
  refused("attention.layer_norm_rms_epsilon", "nan", {"layer_norm_rms_epsilon"});
  refused("rope.freq_base", "0", {"rope.freq_base", "found 0"});
  refused("rope.freq_base", "inf", {"rope.freq_base"});
  refused("attention.head_count", "0", {"head_count", "found 0"});
  refused("attention.head_count_kv", "3", {"head_count_kv", "divisor", "found 3"});
  refused("block_count", "2147483648", {"block_count"});
  refused("block_count", "2.5", {"block_count", "integer"});
  refused("context_length", "0", {"context_length"});
  refused("rope.dimension_count", "7", {"rope.dimension_count", "even"});
  refused("rope.scaling.type", "dynamic", {"rope.scaling.type", "none, linear or yarn", "dynamic"});
  refused("rope.scaling.type", "yarn", {"rope.scaling.factor", "missing"});
  refused("expert_count", "8", {"expert_count"});
  refused("no.such.key", "1", {"no.such.key", "does not read"});
  refused("embedding_length", "63", {"embedding_length"});
}

TEST(ReadModel, EveryTensorIsClaimedOrNamed) {
  const std::vector<std::byte> llama = bytes_of(spec_of("llama"));
  expect_error(read(patched(llama, "blk.1.ffn_norm.weight", "blk.1.ffn_norn.weight")), ErrorCode::kCorrupt,
               {"blk.1.ffn_norm.weight", "missing"});
  // One layer fewer than the file has: its tensors would silently not be used.
  expect_error(read(llama, {{"llama.block_count", "1"}}), ErrorCode::kUnsupported, {"blk.1.", "not used"});
  expect_error(read(llama, {{"llama.feed_forward_length", "128"}}), ErrorCode::kCorrupt,
               {"ffn_gate.weight", "[64, 128]", "[64, 160]"});
  // Qwen 2 without one of its biases is not Qwen 2.
  const std::vector<std::byte> qwen = bytes_of(spec_of("qwen2"));
  expect_error(read(patched(qwen, "blk.0.attn_k.bias", "blk.0.attn_k.bies")), ErrorCode::kCorrupt,
               {"blk.0.attn_k.bias", "missing"});
  // A llama with biases uses them; a tied head is used twice.
  tools::SyntheticSpec biased = spec_of("llama");
  biased.biases = true;
  auto model = read(bytes_of(biased));
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_TRUE(model->sources.layers[1][W::kAttnOutputBias].present());
  EXPECT_TRUE(model->sources.tied);
  EXPECT_EQ(model->sources.output.bytes.data(), model->sources.token_embedding.bytes.data());
  biased.untied = true;
  auto untied = read(bytes_of(biased));
  ASSERT_TRUE(untied.ok());
  EXPECT_FALSE(untied->sources.tied);
}

TEST(ReadModel, UnknownArchitecturesAreRefusedWithTheKnownOnes) {
  const std::vector<std::byte> bytes = patched(bytes_of(spec_of("llama")), std::string("\x05\0\0\0\0\0\0\0llama", 13),
                                               std::string("\x05\0\0\0\0\0\0\0mamba", 13));
  expect_error(read(bytes), ErrorCode::kUnsupported, {"general.architecture", "mamba", "qwen3"});
}

TEST(ReadModel, RopeFactorsMustBePositive) {
  tools::SyntheticSpec spec = spec_of("llama");
  spec.rope_factors = true;
  std::vector<std::byte> bytes = bytes_of(spec);
  auto good = read(bytes);
  ASSERT_TRUE(good.ok()) << good.error().message;
  EXPECT_EQ(good->spec.ropes[0].divisors.size(), static_cast<std::size_t>(good->spec.shape.head_dim / 2));
  auto file = GgufFile::parse(bytes, "m.gguf");
  const GgufTensor* tensor = file->find_tensor("rope_freqs.weight");
  ASSERT_NE(tensor, nullptr);
  const float zero = 0;
  std::copy_n(reinterpret_cast<const std::byte*>(&zero), sizeof zero,
              bytes.begin() + (tensor->data.data() - bytes.data()));
  expect_error(read(bytes), ErrorCode::kCorrupt, {"rope_freqs.weight"});
}

// A file of another architecture says which one it is, what there is, and what it would need.
TEST(ReadModel, AnUnknownArchitectureSaysWhatItWouldNeed) {
  struct Case {
    const char *name, *says;
    bool needs_more;
  };
  const Case cases[] = {{"gemma3n", "embeddings for each layer", true},
                        {"granitehybrid", "state-space layers", true},
                        {"glm4moe", "nothing reads its keys", false},
                        {"a-name-of-tomorrow", "", false}};
  for (const auto& [name, says, needs_more] : cases) {
    GgufWriter writer;
    writer.set_string("general.architecture", name);
    const auto bytes = writer.bytes();
    ASSERT_TRUE(bytes.ok());
    const auto model = read_model(*GgufFile::parse(*bytes, "m.gguf"), {});
    ASSERT_FALSE(model.ok());
    EXPECT_EQ(model.error().code, ErrorCode::kUnsupported);
    for (const std::string& text :
         {std::string("m.gguf"), "'" + std::string(name) + "'", std::string("qwen35moe"), std::string(says)}) {
      EXPECT_NE(model.error().message.find(text), std::string::npos) << text << ": " << model.error().message;
    }
    EXPECT_EQ(model.error().message.find("would need") != std::string::npos, needs_more) << name;
  }
}

}  // namespace
}  // namespace rowmax::engine::read_model_test
