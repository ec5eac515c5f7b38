// The exact path against logits that Hugging Face transformers computed from the same weights (tests/golden/README.md):
// one tiny model for every trait of every architecture, past sliding windows and original contexts.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "engine/runtime/golden_file.h"
#include "rowmax/engine/session.h"

namespace rowmax::engine::session_golden_test {
namespace {

class GoldenModel : public testing::TestWithParam<const char*> {};

TEST_P(GoldenModel, ExactPathAgreesWithTransformers) {
  const std::string base = std::string(ROWMAX_SOURCE_DIR) + "/tests/golden/" + GetParam();
  const Golden golden = read_golden(base + ".golden");
  ASSERT_FALSE(golden.rows.empty()) << base;
  auto pool = make_thread_pool(2);
  ModelOptions options;
  options.isa = supported_isas().back();
  options.activations = Activations::kF32;
  auto model = Model::load(base + ".gguf", options, **pool);
  ASSERT_TRUE(model.ok()) << model.error().message;
  SessionOptions session_options;
  session_options.kv_type = KvType::kF32;
  session_options.context = std::ssize(golden.tokens);  // LongRoPE: transformers asks the sequence, rowmax the context
  auto session = Session::create(*model, session_options, **pool);
  ASSERT_TRUE(session.ok()) << session.error().message;
  const SequenceId sequence = *session->open();
  const BatchItem item{sequence, golden.tokens, LogitsFor::kAll};
  const Status status = session->forward({&item, 1});
  ASSERT_TRUE(status.ok()) << status.error().message;
  ASSERT_EQ(session->logits(0).size(), golden.n_vocab);

  const auto [low, high] = std::minmax_element(golden.logits.begin(), golden.logits.end());
  const double range = static_cast<double>(*high) - *low;
  double worst = 0;
  std::size_t n_compared = 0;
  for (std::size_t r = 0; r < golden.rows.size(); ++r) {
    const std::span<const float> got = session->logits(golden.rows[r]);
    for (std::size_t v = 0; v < got.size(); ++v, ++n_compared) {
      worst = std::max(worst, std::fabs(static_cast<double>(got[v]) - golden.logits[r * got.size() + v]) / range);
    }
  }
  EXPECT_EQ(n_compared, golden.logits.size());
  // Wrong conventions land between 5e-6 (eps) and 0.7 (RoPE pairing); see the README of the goldens.
  EXPECT_LE(worst, 3e-6);
  RecordProperty("worst_relative_delta", std::to_string(worst));
}

INSTANTIATE_TEST_SUITE_P(Architectures, GoldenModel,
                         testing::Values("llama3rope", "llama_bias", "qwen2", "qwen3", "qwen3_yarn", "gemma2", "gemma3",
                                         "bitnet", "phi3", "phi3_short", "bitnet_embed_qwen3", "bitnet_embed_gemma3",
                                         "qwen3moe", "qwen35", "qwen35_equal", "qwen35_tied", "qwen35_uneven",
                                         "qwen35moe", "smollm3", "smollm3_listed", "granite", "mistral3", "minicpm",
                                         "minicpm_long", "minicpm_old", "hunyuan", "olmo2", "gptoss", "gemma4",
                                         "gemma4_moe", "gemma4_vk", "deepseek2_v2", "deepseek2_v3", "glm47_flash",
                                         "lfm2", "lfm2_taps", "lfm2moe", "lfm2moe_scaled"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace rowmax::engine::session_golden_test
