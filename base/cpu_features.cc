#include "base/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
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

// Linux gives no process the 8 KiB of tiles before it asks.
bool ask_for_amx() noexcept {
#if defined(__linux__)
  constexpr std::uint32_t kTiles = 1u << 24 | 1u << 25 | 1u << 22;  // CPUID 7.0 EDX: AMX-TILE, -INT8, -BF16
  constexpr std::uint32_t kOsXsave = 1u << 27, kTileState = 1u << 17 | 1u << 18;  // CPUID 1 ECX, XCR0
  constexpr long kArchReqXcompPerm = 0x1023, kTileData = 18;
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
  if (!isa_supported(Isa::kAvx512) || (leaf7(0).d & kTiles) != kTiles) return false;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kOsXsave) == 0) return false;
  asm volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return (a & kTileState) == kTileState && syscall(SYS_arch_prctl, kArchReqXcompPerm, kTileData) == 0;
#else
  return false;
#endif
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

bool has_amx() noexcept {
#if defined(__x86_64__)
  static const bool granted = ask_for_amx();
  return granted;
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

bool has_neon_i8mm() noexcept {
#if defined(__aarch64__)
  constexpr unsigned long kI8mm = 1ul << 13;  // HWCAP2_I8MM
  return has_neon_dotprod() && (getauxval(AT_HWCAP2) & kI8mm) != 0;
#else
  return false;
#endif
}

}  // namespace rowmax::base
