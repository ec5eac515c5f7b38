#include "tools/make_model/synthetic/synthetic_model.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>

#include "engine/quant/format.h"
#include "tools/make_model/synthetic/random.h"
#include "tools/make_model/synthetic/vocabulary.h"

namespace rowmax::tools {
namespace {

using engine::GgufArray;
using engine::GgufFile;
using engine::GgufTensor;
using engine::GgufType;

struct Built {
  std::vector<std::byte> bytes;
  GgufFile file;
};

Built build(const SyntheticSpec& spec) {
  auto bytes = synthetic_model_bytes(spec);
  EXPECT_TRUE(bytes.ok()) << bytes.error().message;
  std::vector<std::byte> data = std::move(bytes).value();
  auto file = GgufFile::parse(data, spec.arch);
  EXPECT_TRUE(file.ok()) << file.error().message;
  return {std::move(data), std::move(file).value()};
}

SyntheticSpec spec_of(std::string arch) {
  SyntheticSpec spec;
  spec.arch = std::move(arch);
  return spec;
}

std::vector<float> floats(const GgufTensor& tensor) {
  std::vector<float> values(tensor.data.size() / sizeof(float));
  std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  return values;
}

std::uint64_t fnv(const std::vector<std::byte>& bytes) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const std::byte b : bytes) hash = (hash ^ std::to_integer<std::uint64_t>(b)) * 0x100000001B3u;
  return hash;
}

TEST(Synthetic, TheSameBytesEverywhere) {
  // Computed once and stored: a change of the generator, of a name or of the writer shows here.
  const std::map<std::string, std::uint64_t> expected = {
      {"llama", 2311900087511252511u},        {"qwen2", 3812845006245720976u},      {"qwen3", 17382481360932553614u},
      {"gemma2", 3197841802568599070u},       {"gemma3", 6934326232861930958u},     {"bitnet", 1579326077386107346u},
      {"bitnet-b1.58", 6609185468110108096u}, {"qwen3moe", 5696877055617379903u},   {"qwen35", 12574016103064431626u},
      {"qwen35moe", 17014740494898450343u},   {"phi3", 12641792677443002287u},      {"gpt-oss", 7350442667732609812u},
      {"gemma4", 6220718401300279641u},       {"lfm2", 10893642185294916888u},      {"lfm2moe", 589356667666785015u},
      {"deepseek2", 2592764696635149535u},    {"gemma4_moe", 8644860202321592948u},
  };
  for (const std::string& arch : synthetic_architectures()) {
    SyntheticSpec spec = spec_of(arch);
    spec.rope_factors = arch == "llama";
    EXPECT_EQ(fnv(*synthetic_model_bytes(spec)), expected.at(arch)) << arch;
  }
}

TEST(Synthetic, RandomValuesAreNormalAndDependOnSeedAndName) {
  const std::vector<float> values = random_normal(1, "a", 100000);
  double sum = 0, squares = 0, within_one = 0;
  for (const float v : values) {
    sum += v;
    squares += static_cast<double>(v) * v;
    within_one += std::fabs(v) < 1 ? 1 : 0;
  }
  EXPECT_NEAR(sum / 1e5, 0.0, 0.02);  // six sigma of the mean
  EXPECT_NEAR(squares / 1e5, 1.0, 0.03);
  EXPECT_NEAR(within_one / 1e5, 0.683, 0.02);
  EXPECT_EQ(random_normal(1, "a", 5), std::vector<float>(values.begin(), values.begin() + 5));
  EXPECT_NE(random_normal(2, "a", 5), random_normal(1, "a", 5));
  EXPECT_NE(random_normal(1, "b", 5), random_normal(1, "a", 5));
}

TEST(Synthetic, TensorsAndShapesOfEachArchitecture) {
  // Written down from llama.cpp's tensor names and the shapes that users of them expect ([columns, rows]).
  const std::set<std::string> common = {"attn_norm.weight", "attn_q.weight",      "attn_k.weight",
                                        "attn_v.weight",    "attn_output.weight", "ffn_norm.weight",
                                        "ffn_gate.weight",  "ffn_up.weight",      "ffn_down.weight"};
  const std::map<std::string, std::set<std::string>> extra = {
      {"llama", {}},
      {"qwen2", {"attn_q.bias", "attn_k.bias", "attn_v.bias"}},
      {"qwen3", {"attn_q_norm.weight", "attn_k_norm.weight"}},
      {"gemma2", {"post_attention_norm.weight", "post_ffw_norm.weight"}},
      {"gemma3", {"attn_q_norm.weight", "attn_k_norm.weight", "post_attention_norm.weight", "post_ffw_norm.weight"}},
  };
  for (const auto& [arch, more] : extra) {
    const Built built = build(odd_spec(arch));
    std::set<std::string> expected = {"token_embd.weight", "output_norm.weight"};
    const std::int64_t layers = static_cast<std::int64_t>(*built.file.get_uint(arch + ".block_count"));
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      for (const auto& name : common) expected.insert("blk." + std::to_string(layer) + "." + name);
      for (const auto& name : more) expected.insert("blk." + std::to_string(layer) + "." + name);
    }
    std::set<std::string> found;
    for (const GgufTensor& tensor : built.file.tensors()) found.emplace(tensor.name);
    EXPECT_EQ(found, expected) << arch;
    const auto shape = [&](std::string_view name) { return built.file.find_tensor(name)->shape; };
    using Shape = std::vector<std::int64_t>;
    const std::int64_t head_dim = arch == "qwen2" ? 32 : 40;
    EXPECT_EQ(shape("token_embd.weight"), (Shape{96, 431}));
    EXPECT_EQ(shape("blk.1.attn_q.weight"), (Shape{96, 3 * head_dim}));
    EXPECT_EQ(shape("blk.1.attn_k.weight"), (Shape{96, head_dim}));
    EXPECT_EQ(shape("blk.1.attn_output.weight"), (Shape{3 * head_dim, 96}));
    EXPECT_EQ(shape("blk.1.ffn_gate.weight"), (Shape{96, 224}));
    EXPECT_EQ(shape("blk.1.ffn_down.weight"), (Shape{224, 96}));
    EXPECT_EQ(built.file.get_uint(arch + ".attention.key_length").ok(), arch != "qwen2") << arch;
  }
}

TEST(Synthetic, OptionalTensorsOfLlama) {
  SyntheticSpec spec = spec_of("llama");
  spec.untied = spec.biases = spec.rope_factors = true;
  const Built built = build(spec);
  EXPECT_NE(built.file.find_tensor("output.weight"), nullptr);
  EXPECT_EQ(built.file.find_tensor("blk.1.attn_output.bias")->shape, (std::vector<std::int64_t>{64}));
  EXPECT_EQ(built.file.find_tensor("blk.1.attn_k.bias")->shape, (std::vector<std::int64_t>{32}));
  // The same values as without the options.
  const Built plain = build(spec_of("llama"));
  EXPECT_EQ(floats(*built.file.find_tensor("blk.0.attn_q.weight")),
            floats(*plain.file.find_tensor("blk.0.attn_q.weight")));
  EXPECT_EQ(plain.file.find_tensor("rope_freqs.weight"), nullptr);

  // Llama 3's factors by their definition, original context 128: base 10000, head_dim 16.
  const std::vector<float> factors = floats(*built.file.find_tensor("rope_freqs.weight"));
  ASSERT_EQ(factors.size(), 8u);
  for (std::size_t i = 0; i < factors.size(); ++i) {
    const double wave = 2 * std::acos(-1.0) * std::pow(10000.0, 2.0 * static_cast<double>(i) / 16);
    const double smooth = (128 / wave - 1) / 3;
    const double expected = wave > 128 ? 8 : wave < 32 ? 1 : 1 / ((1 - smooth) / 8 + smooth);
    EXPECT_NEAR(factors[i], expected, 1e-5) << i;
  }
  EXPECT_EQ(factors[0], 1.0f);
  EXPECT_EQ(factors[7], 8.0f);
}

TEST(Synthetic, WeightScales) {
  const Built built = build(spec_of("gemma3"));
  const auto deviation = [&](std::string_view name, double mean) {
    double squares = 0;
    const auto values = floats(*built.file.find_tensor(name));
    for (const float v : values) squares += (v - mean) * (v - mean);
    return std::sqrt(squares / static_cast<double>(values.size()));
  };
  EXPECT_NEAR(deviation("token_embd.weight", 0), 1 / 8.0, 0.01);
  EXPECT_NEAR(deviation("blk.0.ffn_down.weight", 0), 1 / std::sqrt(160.0), 0.01);
  EXPECT_NEAR(deviation("blk.3.attn_norm.weight", 1), 0.1, 0.05);
}

TEST(Synthetic, QuantisedTypesFallBackWhereRowsAreNoBlocks) {
  SyntheticSpec spec = odd_spec("llama");
  spec.type = "Q8_0";
  const Built built = build(spec);
  EXPECT_EQ(built.file.find_tensor("blk.0.attn_q.weight")->type, 8u);
  EXPECT_EQ(built.file.find_tensor("blk.0.attn_output.weight")->type, 1u);  // rows of 120
  EXPECT_EQ(built.file.find_tensor("blk.0.attn_norm.weight")->type, 0u);
  EXPECT_TRUE(built.file.notices().empty());
}

TEST(Synthetic, EveryFormatOfTheTable) {
  SyntheticSpec spec = spec_of("llama");
  spec.embd = 256;
  spec.ff = 512;
  const std::vector<float> exact = floats(*build(spec).file.find_tensor("blk.1.ffn_down.weight"));
  for (const engine::FormatInfo& format : engine::formats()) {
    spec.type = format.name;
    const Built built = build(spec);
    const GgufTensor* tensor = built.file.find_tensor("blk.1.ffn_down.weight");
    EXPECT_EQ(tensor->type, format.id) << format.name;
    std::vector<float> decoded(exact.size());
    format.decode({tensor->data.data(), tensor->shape[1], tensor->shape[0]}, 0, tensor->shape[1], decoded.data());
    double error = 0, power = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      error += std::pow(decoded[i] - exact[i], 2);
      power += std::pow(exact[i], 2);
    }
    // Four bits with one scale for 32: about 0.09. With two and three bits no worse than the best four and eight levels
    // for normal numbers, which have 0.345 and 0.194 (Max, Quantizing for Minimum Distortion, 1960). Formats of at most
    // two bits, scales included, do not hold normal weights; least of all STQ1_0, three quarters of whose weights are the
    // largest of 256.
    const bool stq = std::string_view(format.name).starts_with("STQ1_0");
    const bool coarse = format.block_bytes * 4 <= format.block_elements + 8 && format.block_elements >= 32;
    const bool two = format.block_bytes * 8 < format.block_elements * 3;
    const bool three = format.block_bytes * 2 < format.block_elements;
    EXPECT_LT(std::sqrt(error / power), stq ? 2.1 : coarse ? 1.0 : two ? 0.345 : three ? 0.194 : 0.12) << format.name;
  }
}

void expect_unique(const GgufArray& tokens) {
  EXPECT_EQ(std::set<std::string_view>(tokens.strings.begin(), tokens.strings.end()).size(), tokens.size);
}

TEST(Synthetic, ByteLevelVocabularyIsClosedUnderItsMerges) {
  const Built built = build(odd_spec("llama"));
  const GgufArray& tokens = **built.file.get_array("tokenizer.ggml.tokens", GgufType::kString);
  expect_unique(tokens);
  EXPECT_EQ(tokens.size, 431u);
  EXPECT_EQ(tokens.strings[1], "<|im_start|>");
  EXPECT_EQ((*built.file.get_array("tokenizer.ggml.token_type", GgufType::kI32))->size, tokens.size);
  std::set<std::string> known;
  for (std::size_t i = 3; i < 3 + 256; ++i) known.emplace(tokens.strings[i]);
  std::size_t next = 3 + 256;
  for (const std::string_view merge : (*built.file.get_array("tokenizer.ggml.merges", GgufType::kString))->strings) {
    const std::size_t space = merge.find(' ');
    const std::string left(merge.substr(0, space)), right(merge.substr(space + 1));
    EXPECT_TRUE(known.contains(left) && known.contains(right)) << merge;
    EXPECT_EQ(tokens.strings[next++], left + right);
    known.insert(left + right);
  }
  EXPECT_EQ(static_cast<std::int64_t>(next), byte_level_vocabulary_size());
}

TEST(Synthetic, SentencePieceVocabularyReachesEveryPiece) {
  const Built built = build(spec_of("gemma3"));
  const GgufArray& tokens = **built.file.get_array("tokenizer.ggml.tokens", GgufType::kString);
  expect_unique(tokens);
  EXPECT_EQ(tokens.strings[6], "<0x00>");
  EXPECT_EQ(tokens.strings[6 + 255], "<0xFF>");
  EXPECT_EQ((*built.file.get_array("tokenizer.ggml.scores", GgufType::kF32))->size, tokens.size);
  const GgufArray& types = **built.file.get_array("tokenizer.ggml.token_type", GgufType::kI32);
  const std::set<std::string> pieces(tokens.strings.begin() + 6 + 256, tokens.strings.end());
  for (const std::string& piece : pieces) {
    std::set<std::size_t> cuts;  // character boundaries inside
    for (std::size_t i = 1; i < piece.size(); ++i) {
      if ((static_cast<unsigned char>(piece[i]) & 0xC0) != 0x80) cuts.insert(i);
    }
    bool reachable = cuts.empty();
    for (const std::size_t cut : cuts)
      reachable |= pieces.contains(piece.substr(0, cut)) && pieces.contains(piece.substr(cut));
    EXPECT_TRUE(reachable) << piece;
  }
  EXPECT_EQ(types.as_int(3), 2);
  EXPECT_EQ(types.as_int(6), 6);
  EXPECT_EQ(types.as_int(6 + 256), 1);
}

// The same ternary weights in every type that can hold them, written in pieces or at once.
TEST(Synthetic, TernaryValuesAreTheSameInEveryType) {
  SyntheticSpec spec = spec_of("bitnet-b1.58");
  spec.embd = 256, spec.ff = 4608, spec.layers = 1;
  spec.values = "ternary", spec.head_type = "F16";
  const auto decoded = [&](const char* type) {
    spec.type = type;
    const Built built = build(spec);
    const GgufTensor& tensor = *built.file.find_tensor("blk.0.ffn_down.weight");
    EXPECT_STREQ(tensor.format->name, type);
    EXPECT_EQ(built.file.find_tensor("token_embd.weight")->type, 1u);
    std::vector<float> values(256 * 4608);
    tensor.format->decode({tensor.data.data(), 256, 4608}, 0, 256, values.data());
    return values;
  };
  const std::vector<float> exact = decoded("F32");
  float m = 0;
  for (const float v : exact) m = std::max(m, v);
  std::int64_t counts[3] = {};
  for (const float v : exact) {
    ASSERT_TRUE(v == -m || v == 0 || v == m);
    ++counts[v < 0 ? 0 : v > 0 ? 2 : 1];
  }
  const double n = 256.0 * 4608;
  EXPECT_NEAR(static_cast<double>(counts[0]) / n, 0.25, 0.002);
  EXPECT_NEAR(static_cast<double>(counts[1]) / n, 0.5, 0.002);
  EXPECT_NEAR(static_cast<double>(counts[2]) / n, 0.25, 0.002);
  for (const char* type : {"I2_S", "IQ2_BN", "TQ1_0", "TQ2_0", "Q2_0", "PTQ1_0"})
    EXPECT_EQ(decoded(type), exact) << type;
  spec.values = "binary";
  const std::vector<float> binary = decoded("F32");
  for (const float v : binary) ASSERT_EQ(std::fabs(v), std::fabs(binary[0]));
  EXPECT_EQ(decoded("Q1_0"), binary);
}

TEST(Synthetic, PublishedShapes) {
  const auto expect_tensors = [](const char* name, std::size_t n, std::int64_t layers) {
    auto spec = spec_of_model(name);
    ASSERT_TRUE(spec.ok());
    EXPECT_EQ(spec->layers, layers) << name;
    // As many tensors as the published files have, shown on narrow layers.
    spec->embd = 128, spec->heads = spec->kv_heads = 1, spec->head_dim = 128, spec->ff = 128, spec->vocab = 320;
    const Built built = build(*spec);
    EXPECT_EQ(built.file.tensors().size(), n) << name;
  };
  expect_tensors("bitnet-2b-4t", 332, 30);
  expect_tensors("bonsai-8b", 399, 36);
  EXPECT_FALSE(spec_of_model("bitnet").ok());
}

TEST(Synthetic, WrittenInPiecesTheSameBytes) {
  for (const char* type : {"F32", "I2_S", "Q6_K"}) {
    SyntheticSpec spec = spec_of("llama");
    spec.embd = 256, spec.ff = 4608, spec.layers = 1, spec.type = type, spec.repeat = type[0] == 'Q';
    const std::string path = ::testing::TempDir() + "rowmax_synthetic_" + std::to_string(::getpid()) + ".gguf";
    ASSERT_TRUE(write_synthetic_model(spec, path).ok());
    std::ifstream file(path, std::ios::binary);
    const std::string found((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const std::vector<std::byte> expected = *synthetic_model_bytes(spec);
    ASSERT_EQ(found.size(), expected.size());
    EXPECT_EQ(std::memcmp(found.data(), expected.data(), expected.size()), 0) << type;
    std::remove(path.c_str());
  }
}

TEST(Synthetic, YarnKeys) {
  SyntheticSpec spec = spec_of("qwen3");
  spec.yarn_factor = 4;
  const Built built = build(spec);
  EXPECT_EQ(*built.file.get_string("qwen3.rope.scaling.type"), "yarn");
  EXPECT_EQ(*built.file.get_float("qwen3.rope.scaling.factor"), 4.0);
  EXPECT_EQ(*built.file.get_uint("qwen3.rope.scaling.original_context_length"), 128u);
}

TEST(Synthetic, RefusesImpossibleSpecs) {
  const auto refused = [](SyntheticSpec spec, std::string_view text) {
    const auto bytes = synthetic_model_bytes(spec);
    ASSERT_FALSE(bytes.ok()) << text;
    EXPECT_EQ(bytes.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(bytes.error().message.find(text), std::string::npos) << bytes.error().message;
  };
  SyntheticSpec spec = spec_of("gpt2");
  refused(spec, "unknown architecture 'gpt2'");
  spec = spec_of("llama");
  spec.type = "Q9_9";
  refused(spec, "unknown type 'Q9_9'");
  spec = spec_of("llama");
  spec.kv_heads = 3;
  refused(spec, "multiple of kv_heads");
  spec = spec_of("llama");
  spec.heads = 0;
  refused(spec, "heads is 0");
  spec = spec_of("llama");
  spec.head_dim = 15;
  refused(spec, "head_dim must be even");
  spec = spec_of("qwen2");
  spec.window = 8;
  refused(spec, "has no window");
  spec = spec_of("qwen2");
  spec.head_dim = 32;
  refused(spec, "needs heads * head_dim = embd");
  spec = spec_of("gemma3");
  spec.vocab = 10;
  refused(spec, "needs at least");
  spec = spec_of("qwen3");
  spec.rope_factors = true;
  refused(spec, "llama only");
  spec = spec_of("llama");
  spec.values = "quaternary";
  refused(spec, "unknown values");
  spec = spec_of("llama");
  spec.yarn_factor = 0.5;
  refused(spec, "yarn_factor");
}

}  // namespace
}  // namespace rowmax::tools
