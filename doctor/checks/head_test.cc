#include "doctor/checks/head.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "doctor/checks/patient_test_util.h"
#include "engine/quant/format.h"

namespace rowmax::doctor {
namespace {

using namespace testing_util;

TEST(Head, EveryArchitectureAgreesWithItsFile) {
  for (const std::string& arch : tools::synthetic_architectures()) {
    for (const bool untied : {false, true}) {
      tools::SyntheticSpec spec = tools::odd_spec(arch);
      spec.untied = untied;
      const CheckResult result = examine(&check_head, model_bytes(spec));
      EXPECT_EQ(result.verdict, Verdict::kPass) << arch << ": " << result.reason;
      EXPECT_GE(result.n_compared, 32 * 64) << arch;
      const bool own = untied || arch == "gpt-oss";
      EXPECT_NE(result.reason.find(own ? "output.weight" : "token_embd.weight"), std::string::npos) << result.reason;
    }
  }
}

TEST(Head, RoundedActivationsStayWithinTheBound) {
  for (const char* type : {"Q4_0", "Q4_K", "Q6_K", "Q8_0", "I2_S", "TQ2_0", "PTQ1_0"}) {
    tools::SyntheticSpec spec;
    spec.embd = 256;
    spec.type = type;
    spec.values = std::string_view(type).starts_with("Q") ? "normal" : "ternary";
    const CheckResult result = examine(&check_head, model_bytes(spec));
    EXPECT_EQ(result.verdict, Verdict::kPass) << type << ": " << result.reason;
  }
}

// Every matrix as W diag(s) H, with H written out by its definition.
TEST(Head, MatricesThatAreStoredTurned) {
  constexpr std::int64_t kBlock = 16;
  tools::SyntheticSpec spec = spec_of("qwen3");
  spec.untied = true;
  const Bytes plain = model_bytes(spec);
  const auto file = engine::GgufFile::parse(plain, "m.gguf");
  ASSERT_TRUE(file.ok());
  const auto sign = [](std::int64_t column) { return column * 7 % 5 < 2 ? -1 : 1; };
  const auto turned = [](std::string_view name) { return name == "token_embd.weight" || name == "output.weight"; };
  Rewrite rewrite;
  rewrite.drop_tensor = turned;
  rewrite.add = [&](engine::GgufWriter& writer) {
    for (const engine::GgufTensor& tensor : file->tensors()) {
      if (!turned(tensor.name)) continue;
      const std::int64_t cols = tensor.shape[0];
      std::vector<float> in(tensor.data.size() / 4), out(in.size());
      std::memcpy(in.data(), tensor.data.data(), tensor.data.size());
      for (std::size_t i = 0; i < out.size(); ++i) {
        const auto column = static_cast<std::int64_t>(i) % cols, from = column / kBlock * kBlock;
        double sum = 0;
        for (std::int64_t j = 0; j < kBlock; ++j) {
          const int h = __builtin_popcountll(static_cast<unsigned long long>(j & (column % kBlock))) % 2 == 0 ? 1 : -1;
          sum += static_cast<double>(in[i - static_cast<std::size_t>(column - from - j)]) * sign(from + j) * h;
        }
        out[i] = static_cast<float>(sum / 4);
      }
      std::vector<std::byte> bytes(tensor.data.size());
      std::memcpy(bytes.data(), out.data(), bytes.size());
      writer.add_tensor(std::string(tensor.name), tensor.type, tensor.shape, std::move(bytes));
    }
    writer.set_uint32("prism.hadamard.version", 1);
    writer.set_uint32("prism.hadamard.block_size", kBlock);
    writer.set_string("prism.hadamard.transform", "normalized-sylvester-walsh-hadamard");
    writer.set_string("prism.hadamard.axis", "input-last-dimension");
    writer.set_string("prism.hadamard.sign_mode", "explicit");
    writer.set_strings("prism.hadamard.weight_names", {"output.weight"});
    writer.set_strings("prism.hadamard.inverse_weight_names", {"token_embd.weight"});
    std::vector<std::int32_t> signs;
    for (std::int64_t i = 0; i < spec.embd; ++i) signs.push_back(sign(i));
    writer.set_int32s("prism.hadamard.sign_widths", {static_cast<std::int32_t>(spec.embd)});
    writer.set_int32s("prism.hadamard.sign_values", signs);
  };
  const CheckResult result = examine(&check_head, rewritten(plain, rewrite));
  EXPECT_EQ(result.verdict, Verdict::kPass) << result.reason;
  EXPECT_GE(result.n_compared, 32 * 64);
}

// What a sound session shows, to be spoilt: logits of two tokens, computed here.
struct Sound {
  Sound() {
    tools::SyntheticSpec spec;
    spec.untied = true;
    bytes = model_bytes(spec);
    file = std::make_unique<engine::GgufFile>(std::move(engine::GgufFile::parse(bytes, "m.gguf")).value());
    seen.embeddings = file->find_tensor("token_embd.weight");
    seen.head = file->find_tensor("output.weight");
    seen.other = seen.embeddings;
    seen.n_embd = seen.head->shape[0];
    seen.n_vocab = seen.head->shape[1];
    seen.tokens = {3, 77};
    seen.softcap = 5;
    seen.embedding_scale = 8;
    for (const engine::TokenId id : seen.tokens) {
      for (const float value : row(*seen.embeddings, id)) seen.embedding.push_back(8 * value);
    }
    for (std::int64_t i = 0; i < 2 * seen.n_embd; ++i) seen.output_norm.push_back(std::sin(static_cast<float>(i)));
    seen.logits = logits(*seen.head, 5);
  }
  std::vector<float> row(const engine::GgufTensor& tensor, std::int64_t i) const {
    std::vector<float> out(static_cast<std::size_t>(tensor.shape[0]));
    engine::decode_row(*tensor.format, tensor.data, i, tensor.shape[0], out.data());
    return out;
  }
  std::vector<float> logits(const engine::GgufTensor& head, double cap) const {
    std::vector<float> out;
    for (std::int64_t t = 0; t < 2; ++t) {
      for (std::int64_t v = 0; v < seen.n_vocab; ++v) {
        const std::vector<float> weights = row(head, v);
        double sum = 0;
        for (std::int64_t k = 0; k < seen.n_embd; ++k) {
          sum += static_cast<double>(weights[static_cast<std::size_t>(k)]) *
                 static_cast<double>(seen.output_norm[static_cast<std::size_t>(t * seen.n_embd + k)]);
        }
        out.push_back(static_cast<float>(cap > 0 ? cap * std::tanh(sum / cap) : sum));
      }
    }
    return out;
  }
  Bytes bytes;
  std::unique_ptr<engine::GgufFile> file;
  HeadSeen seen;
};

TEST(Head, PlantedFaultsAreNamed) {
  const Sound sound;
  EXPECT_EQ(judge_head(sound.seen).verdict, Verdict::kPass) << judge_head(sound.seen).reason;
  const auto fails_with = [&](const HeadSeen& seen, const std::string& cause) {
    const CheckResult result = judge_head(seen);
    EXPECT_EQ(result.verdict, Verdict::kFail) << cause;
    EXPECT_EQ(first_cause(result), cause) << result.reason;
    EXPECT_GT(result.measured, result.threshold) << cause;
  };
  HeadSeen uncapped = sound.seen;
  uncapped.logits = sound.logits(*sound.seen.head, 0);
  fails_with(uncapped, "softcap");
  HeadSeen plain = sound.seen;
  plain.logit_scale = 0.125;
  fails_with(plain, "logit_scale");
  plain.softcap = 0;
  plain.logits = sound.logits(*sound.seen.head, 0);
  for (float& logit : plain.logits) logit *= 0.125f;
  EXPECT_EQ(judge_head(plain).verdict, Verdict::kPass) << judge_head(plain).reason;
  HeadSeen tied = sound.seen;
  tied.logits = sound.logits(*sound.seen.other, 5);
  fails_with(tied, "tied_head");
  HeadSeen unscaled = sound.seen;
  for (float& value : unscaled.embedding) value /= 8;
  fails_with(unscaled, "embedding_scale");
  HeadSeen neighbour = sound.seen;
  neighbour.embedding.clear();
  for (const engine::TokenId id : sound.seen.tokens) {
    for (const float value : sound.row(*sound.seen.embeddings, id + 1)) neighbour.embedding.push_back(8 * value);
  }
  fails_with(neighbour, "format_kernel");
  HeadSeen shifted = sound.seen;
  std::rotate(shifted.logits.begin(), shifted.logits.begin() + 1, shifted.logits.end());
  fails_with(shifted, "format_kernel");
  HeadSeen nan = sound.seen;
  nan.logits[0] = std::nanf("");
  fails_with(nan, "format_kernel");
}

TEST(Head, ConstantLogitsAreAFault) {
  tools::SyntheticSpec spec;
  Bytes bytes = model_bytes(spec);
  std::ranges::fill(tensor_bytes(bytes, "output_norm.weight"), std::byte{0});
  const CheckResult result = examine(&check_head, bytes);
  EXPECT_EQ(result.verdict, Verdict::kFail);
  EXPECT_EQ(first_cause(result), "norm_weight");
}

TEST(Head, WordsWithoutEmbeddingAreAFault) {
  tools::SyntheticSpec spec;
  Bytes bytes = model_bytes(spec);
  const auto rows = tensor_bytes(bytes, "token_embd.weight");
  std::ranges::fill(rows.first(rows.size() / 2), std::byte{0});
  const CheckResult result = examine(&check_head, bytes);
  EXPECT_EQ(result.verdict, Verdict::kFail);
  EXPECT_EQ(first_cause(result), "weight_zero") << result.reason;
  EXPECT_EQ(result.place.tensor, "token_embd.weight");
}

}  // namespace
}  // namespace rowmax::doctor
