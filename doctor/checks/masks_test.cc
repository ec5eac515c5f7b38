#include "doctor/checks/planted_test_util.h"

namespace rowmax::doctor {
namespace {

using namespace testing_util;

TEST(Masks, SoundModelsPass) { expect_all_pass(check_masks); }

TEST(Masks, AWindowThatIsNotTheFilesIsNamed) {
  for (const char* const window : {"40", "63", "65"}) {
    tools::SyntheticSpec spec;
    spec.arch = "gemma2";  // a window of 64
    Planted planted(spec);
    planted.options.model.overrides = {{"gemma2.attention.sliding_window", window}};
    const CheckResult result = planted.run(check_masks);
    expect_cause(result, "window");
    EXPECT_EQ(result.place.layer, 0) << window;
  }
}

// Nothing that can be computed: no verdict.
TEST(Masks, AFileThatIsNoModelIsInconclusive) {
  const CheckResult result = examine(check_masks, Bytes(100));
  EXPECT_EQ(result.verdict, Verdict::kInconclusive);
  EXPECT_NE(result.reason, "");
}

}  // namespace
}  // namespace rowmax::doctor
