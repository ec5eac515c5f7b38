#include "doctor/checks/planted_test_util.h"

#include <cstring>

namespace rowmax::doctor {
namespace {

using namespace testing_util;

TEST(Norms, SoundModelsPass) { expect_all_pass(check_norms); }

TEST(Norms, AnEpsThatIsNotTheFilesIsNamed) {
  tools::SyntheticSpec spec;
  spec.eps = 1e-3;
  Planted planted(spec);
  planted.options.model.overrides = {{"llama.attention.layer_norm_rms_epsilon", "0.00001"}};
  const CheckResult result = planted.run(check_norms);
  expect_cause(result, "norm_eps");
  EXPECT_NE(result.reason.find("0.001"), std::string::npos) << result.reason;
}

TEST(Norms, WeightsThatAreNotAppliedAsTheyAreAreNamed) {
  for (const char* const name : {"blk.1.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"}) {
    tools::SyntheticSpec spec;
    Planted planted(spec);
    const std::span<std::byte> bytes = tensor_bytes(planted.bytes, name);
    for (std::size_t at = 0; at < bytes.size(); at += sizeof(float)) {
      float value = 0;
      std::memcpy(&value, bytes.data() + at, sizeof value);
      value -= 1;  // so that the engine seems to add 1
      std::memcpy(bytes.data() + at, &value, sizeof value);
    }
    const CheckResult result = planted.run(check_norms);
    expect_cause(result, "norm_weight");
    EXPECT_EQ(result.place.tensor, name);
    EXPECT_NE(result.reason.find("1 is added"), std::string::npos) << result.reason;
  }
}

TEST(Norms, ANormBehindTheFfnIsLookedAt) {
  tools::SyntheticSpec spec;
  spec.arch = "gemma2";
  Planted planted(spec);
  std::ranges::fill(tensor_bytes(planted.bytes, "blk.2.post_ffw_norm.weight"), std::byte{0});
  const CheckResult result = planted.run(check_norms);
  expect_cause(result, "norm_place");
  EXPECT_EQ(result.place.tensor, "blk.2.post_ffw_norm.weight");
}

}  // namespace
}  // namespace rowmax::doctor
