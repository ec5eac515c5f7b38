#include "doctor/checks/planted_test_util.h"

namespace rowmax::doctor {
namespace {

using namespace testing_util;

TEST(PrefillDecode, SoundModelsPass) { expect_all_pass(check_prefill_decode); }

TEST(PrefillDecode, EveryWayIsCompared) {
  tools::SyntheticSpec spec;
  const CheckResult result = Planted(spec).run(check_prefill_decode);
  // 68 rows in five sizes of pieces, those behind what was reused, 34 behind truncate and fork each.
  EXPECT_GT(result.n_compared, 5 * 68 + 2 * 34);
  EXPECT_EQ(result.measured, 0);
}

}  // namespace
}  // namespace rowmax::doctor
