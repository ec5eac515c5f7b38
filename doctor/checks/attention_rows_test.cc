#include "doctor/checks/planted_test_util.h"

namespace rowmax::doctor {
namespace {

using namespace testing_util;

TEST(AttentionRows, SoundModelsPass) { expect_all_pass(check_attention_rows); }

TEST(AttentionRows, EveryRowOfEveryLayerAndHeadIsSeen) {
  tools::SyntheticSpec spec;
  spec.layers = 3;
  const CheckResult result = Planted(spec).run(check_attention_rows);
  // 70 tokens, and of 320 every 41st and the last two.
  EXPECT_EQ(result.n_compared, 3 * 4 * (70 + 7 + 2));
  EXPECT_LT(result.measured, 1);
}

TEST(AttentionRows, AScaleThatIsNotTheFilesIsNamed) {
  tools::SyntheticSpec spec;
  Planted planted(spec);
  planted.options.model.overrides = {{"llama.attention.scale", "0.125"}};  // it is 1 / sqrt(16)
  const CheckResult result = planted.run(check_attention_rows);
  expect_cause(result, "attention_scale");
  EXPECT_EQ(result.measured, 0.25);
}

}  // namespace
}  // namespace rowmax::doctor
