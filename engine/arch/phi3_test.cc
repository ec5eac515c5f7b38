#include <gtest/gtest.h>

#include <string>

#include "engine/arch/test_changed_model.h"

namespace rowmax::engine::phi3_test {
namespace {

// A set of factors that is lost is named, not taken for a model without LongRoPE.
TEST(Phi3, LostFactors) {
  const std::string one = "rope_factors_short.weight", other = "rope_factors_long.weight";
  ASSERT_TRUE(read_changed("phi3").ok());
  expect_refused("phi3", ErrorCode::kCorrupt, {one.c_str(), "missing"}, {one});
  expect_refused("phi3", ErrorCode::kCorrupt, {other.c_str(), "missing"}, {other});
  expect_refused("phi3", ErrorCode::kCorrupt, {one.c_str(), other.c_str(), "attn_factor", "missing"}, {one, other});
}

}  // namespace
}  // namespace rowmax::engine::phi3_test
