#include "doctor/checks/planted_test_util.h"
#include "doctor/test_patient.h"

namespace rowmax::doctor {
namespace {

using namespace testing_util;

TEST(Rope, SoundModelsPass) { expect_all_pass(check_rope); }

TEST(Rope, FactorsAndYarnAreTheFiles) {
  tools::SyntheticSpec spec;
  spec.rope_factors = true;
  expect_pass(check_rope, spec);
  spec.rope_factors = false;
  spec.yarn_factor = 4;
  expect_pass(check_rope, spec);
  spec.arch = "qwen3";
  expect_pass(check_rope, spec);
}

// The check believes that the model should turn in another way than it does.
std::string cause_with(const std::string& arch, const engine::KeyOverrides& overrides,
                       const engine::Edits& edits = {}) {
  tools::SyntheticSpec spec;
  spec.arch = arch;
  Planted planted(spec);
  planted.options.model.overrides = overrides;
  planted.options.model.edits = edits;
  const CheckResult result = planted.run(check_rope);
  EXPECT_EQ(result.verdict, Verdict::kFail) << arch << ": " << result.reason;
  return first_cause(result);
}

TEST(Rope, EachWrongConventionIsNamed) {
  EXPECT_EQ(cause_with("llama", {{"llama.rope.freq_base", "500000"}}), "rope_base");
  EXPECT_EQ(cause_with("qwen3", {{"qwen3.rope.freq_base", "10000"}}), "rope_base");
  EXPECT_EQ(cause_with("gemma3", {{"gemma3.rope.freq_base", "10000"}}), "rope_base");
  EXPECT_EQ(cause_with("llama", {{"llama.rope.scaling.type", "linear"}, {"llama.rope.scaling.factor", "4"}}),
            "rope_scaling");
  EXPECT_EQ(cause_with("llama", {}, {{"rope_pairing", "halves"}}), "rope_pairing");
  EXPECT_EQ(cause_with("qwen2", {}, {{"rope_pairing", "adjacent"}}), "rope_pairing");
}

// Layers that do not turn, a magnitude and a temperature of their own, norms behind RoPE and over the whole width.
TEST(Rope, KinOfLlama) {
  const auto golden = [](const std::string& name) { return file_bytes("tests/golden/" + name + ".gguf"); };
  for (const char* name : {"smollm3", "smollm3_listed", "granite", "minicpm", "mistral3", "hunyuan", "olmo2"}) {
    const CheckResult result = Planted(golden(name)).run(check_rope);
    EXPECT_EQ(result.verdict, Verdict::kPass) << name << ": " << result.reason;
    EXPECT_GT(result.n_compared, 0);
  }
  const auto cause = [&](const char* name, const engine::Edits& edits) {
    Planted planted(golden(name));
    planted.options.model.edits = edits;
    return first_cause(planted.run(check_rope));
  };
  EXPECT_EQ(cause("smollm3", {{"nope_layers", "none"}}), "rope_dimension");
  EXPECT_EQ(cause("granite", {{"nope_layers", "0,1,2"}}), "rope_dimension");
  EXPECT_EQ(cause("minicpm", {{"rope_pairing", "halves"}}), "rope_pairing");
  EXPECT_EQ(cause("mistral3", {{"attention_temperature", "0"}}), "rope_scaling");
}

}  // namespace
}  // namespace rowmax::doctor
