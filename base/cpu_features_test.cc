#include "base/cpu_features.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "rowmax/cpu.h"

namespace rowmax::base {
namespace {

// What the kernel says of this CPU, where it says anything (an emulator shows the machine below it).
bool kernel_lists(const std::string& flag) {
  std::ifstream file("/proc/cpuinfo");
  std::string word;
  while (file >> word) {
    if (word == flag) return true;
  }
  return false;
}

TEST(CpuFeatures, AgreeWithTheKernel) {
#if defined(__x86_64__)
  EXPECT_EQ(has_avx_vnni(), kernel_lists("avx_vnni") && isa_supported(Isa::kAvx2));
  EXPECT_FALSE(has_neon_dotprod());
  EXPECT_FALSE(has_neon_i8mm());
  EXPECT_EQ(has_avx512_vbmi(), kernel_lists("avx512vbmi") && isa_supported(Isa::kAvx512));
  const bool amx =
      kernel_lists("amx_int8") && kernel_lists("amx_bf16") && kernel_lists("amx_tile") && isa_supported(Isa::kAvx512);
  EXPECT_EQ(has_amx(), amx);
  EXPECT_EQ(has_amx(), amx) << "asked twice";
#elif defined(__aarch64__)
  EXPECT_FALSE(has_avx_vnni());
  EXPECT_FALSE(has_avx512_vbmi());
  EXPECT_FALSE(has_amx());
  if (kernel_lists("asimd")) {
    EXPECT_EQ(has_neon_dotprod(), kernel_lists("asimddp"));
    EXPECT_EQ(has_neon_i8mm(), kernel_lists("asimddp") && kernel_lists("i8mm"));
  }
#endif
}

}  // namespace
}  // namespace rowmax::base
