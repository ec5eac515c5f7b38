#include "doctor/checks/planted_test_util.h"

#include <cmath>
#include <cstring>

namespace rowmax::doctor {
namespace {

using namespace testing_util;

TEST(NonFinite, SoundModelsPass) { expect_all_pass(check_non_finite); }

CheckResult with_weights(const char* tensor, float value) {
  tools::SyntheticSpec spec;
  Bytes bytes = model_bytes(spec);
  const std::span<std::byte> at = tensor_bytes(bytes, tensor);
  for (std::size_t i = 0; i < at.size(); i += sizeof value) std::memcpy(at.data() + i, &value, sizeof value);
  return examine(check_non_finite, bytes);
}

TEST(NonFinite, TheFirstStageThatLeavesTheRangeIsNamed) {
  const CheckResult result = with_weights("blk.1.ffn_norm.weight", 3e38f);
  expect_cause(result, "weight_scaled");
  EXPECT_EQ(result.place.layer, 1);
  EXPECT_EQ(result.place.stage, "blk.1.ffn_norm");
  EXPECT_EQ(result.place.position, 0);
  EXPECT_NE(result.reason.find("blk.1.mixer_out is finite"), std::string::npos) << result.reason;
}

TEST(NonFinite, LargeNumbersArePassedOnAsAHint) {
  const CheckResult result = with_weights("blk.1.ffn_norm.weight", 1e6f);
  EXPECT_EQ(result.verdict, Verdict::kPass);
  EXPECT_NE(result.reason.find("65504"), std::string::npos) << result.reason;
}

TEST(NonFinite, ATensorOfTheLayerWithANaNIsNamed) {
  tools::SyntheticSpec spec;
  spec.seed = 3;
  Bytes bytes = model_bytes(spec);
  const float huge = 3e38f, nan = NAN;
  const std::span<std::byte> norm = tensor_bytes(bytes, "blk.1.attn_norm.weight");
  for (std::size_t i = 0; i < norm.size(); i += sizeof huge) std::memcpy(norm.data() + i, &huge, sizeof huge);
  Planted planted(std::move(bytes));
  // Behind the engine, which refuses such a file.
  std::memcpy(tensor_bytes(planted.bytes, "blk.1.ffn_down.weight").data() + 8, &nan, sizeof nan);
  const CheckResult result = planted.run(check_non_finite);
  expect_cause(result, "weight_nonfinite");
  EXPECT_EQ(result.place.tensor, "blk.1.ffn_down.weight");
}

}  // namespace
}  // namespace rowmax::doctor
