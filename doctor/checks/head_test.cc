#include "doctor/checks/head.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
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
      EXPECT_NE(result.reason.find(untied ? "output.weight" : "token_embd.weight"), std::string::npos) << result.reason;
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

}  // namespace
}  // namespace rowmax::doctor
