#include "base/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include "rowmax/cpu.h"

namespace rowmax::base {

namespace {

#if defined(__x86_64__)
struct Leaf7 {
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
};
Leaf7 leaf7(std::uint32_t subleaf) noexcept {
  Leaf7 r;
  if (__get_cpuid_count(7, subleaf, &r.a, &r.b, &r.c, &r.d) == 0) return {};
  return r;
}
#endif

}  // namespace

// Asked once: cpuid costs microseconds in a virtual machine.
bool has_avx_vnni() noexcept {
#if defined(__x86_64__)
  static const bool has = isa_supported(Isa::kAvx2) && (leaf7(1).a >> 4 & 1u) != 0;
  return has;
#else
  return false;
#endif
}

bool has_avx512_vbmi() noexcept {
#if defined(__x86_64__)
  static const bool has = isa_supported(Isa::kAvx512) && (leaf7(0).c >> 1 & 1u) != 0;
  return has;
#else
  return false;
#endif
}

bool has_neon_dotprod() noexcept {
#if defined(__aarch64__)
  constexpr unsigned long kAsimdDp = 1ul << 20;  // HWCAP_ASIMDDP
  return (getauxval(AT_HWCAP) & kAsimdDp) != 0;
#else
  return false;
#endif
}

}  // namespace rowmax::base
