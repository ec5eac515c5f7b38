#include "rowmax/cpu.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace rowmax {
namespace {

TEST(Cpu, ScalarIsAlwaysThereAndFirst) {
  ASSERT_FALSE(supported_isas().empty());
  EXPECT_EQ(supported_isas().front(), Isa::kScalar);
  for (const Isa isa : supported_isas()) {
    EXPECT_TRUE(isa_supported(isa));
    const auto found = find_isa(isa_name(isa));
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(*found, isa);
  }
}

TEST(Cpu, UnknownAndUnsupportedNamesAreErrorsThatSayWhatThereIs) {
  const auto unknown = find_isa("avx3");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(unknown.error().message.find("avx3"), std::string::npos);
  EXPECT_NE(unknown.error().message.find("scalar"), std::string::npos);
  for (const Isa isa : {Isa::kAvx2, Isa::kAvx512, Isa::kNeon}) {
    if (isa_supported(isa)) continue;
    const auto result = find_isa(isa_name(isa));
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::kUnsupported);
  }
}

TEST(Cpu, TheVariableDecidesTheDefault) {
  setenv("ROWMAX_ISA", "scalar", 1);
  EXPECT_EQ(*default_isa(), Isa::kScalar);
  setenv("ROWMAX_ISA", "nonsense", 1);
  EXPECT_FALSE(default_isa().ok());
  unsetenv("ROWMAX_ISA");
  EXPECT_TRUE(default_isa().ok());
}

}  // namespace
}  // namespace rowmax
