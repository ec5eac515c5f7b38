#include "doctor/checks/planted_test_util.h"

namespace rowmax::doctor {
namespace {

using namespace testing_util;

TEST(HeadMap, SoundModelsPass) { expect_all_pass(check_head_map); }

TEST(HeadMap, HeadsAreToldApart) {
  tools::SyntheticSpec spec;
  spec.heads = 8;
  spec.kv_heads = 4;
  const CheckResult result = Planted(spec).run(check_head_map);
  EXPECT_EQ(result.verdict, Verdict::kPass);
  // Keys and values of 8 heads in 2 layers, of a row of the prompt and one that was computed alone.
  EXPECT_EQ(result.n_compared, 2 * 8 * 2 * 2);
  EXPECT_NE(result.reason.find("for 64 no other"), std::string::npos) << result.reason;
}

}  // namespace
}  // namespace rowmax::doctor
