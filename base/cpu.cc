#include "rowmax/cpu.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace rowmax {
namespace {

struct IsaList {
  std::array<Isa, 4> items{};
  std::size_t size = 0;
  void add(Isa isa) { items[size++] = isa; }
};

#if defined(__x86_64__)
// What the CPU offers is not enough: the operating system must also save the wide registers (XCR0).
std::uint64_t read_xcr0() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
}

void add_x86_isas(IsaList& list) {
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return;
  const bool osxsave = (c >> 27) & 1u, avx = (c >> 28) & 1u, fma = (c >> 12) & 1u, f16c = (c >> 29) & 1u;
  if (!osxsave || !avx) return;
  const std::uint64_t xcr0 = read_xcr0();
  if ((xcr0 & 0x6u) != 0x6u) return;
  std::uint32_t a7 = 0, b7 = 0, c7 = 0, d7 = 0;
  if (!__get_cpuid_count(7, 0, &a7, &b7, &c7, &d7)) return;
  const bool avx2 = (b7 >> 5) & 1u;
  if (!(avx2 && fma && f16c)) return;
  list.add(Isa::kAvx2);
  const bool f = (b7 >> 16) & 1u, dq = (b7 >> 17) & 1u, bw = (b7 >> 30) & 1u, vl = (b7 >> 31) & 1u;
  const bool vnni = (c7 >> 11) & 1u;
  if ((xcr0 & 0xE6u) == 0xE6u && f && dq && bw && vl && vnni) list.add(Isa::kAvx512);
}
#endif

const IsaList& isa_list() {
  static const IsaList list = [] {
    IsaList found;
    found.add(Isa::kScalar);
#if defined(__x86_64__)
    add_x86_isas(found);
#elif defined(__aarch64__)
    found.add(Isa::kNeon);
#endif
    return found;
  }();
  return list;
}

std::string names_of(std::span<const Isa> isas) {
  std::string text;
  for (Isa isa : isas) {
    if (!text.empty()) text += ", ";
    text += isa_name(isa);
  }
  return text;
}

}  // namespace

std::string_view isa_name(Isa isa) noexcept {
  switch (isa) {
    case Isa::kScalar: return "scalar";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
    case Isa::kNeon: return "neon";
  }
  return "unknown";
}

std::span<const Isa> supported_isas() noexcept { return {isa_list().items.data(), isa_list().size}; }

bool isa_supported(Isa isa) noexcept {
  for (Isa candidate : supported_isas()) {
    if (candidate == isa) return true;
  }
  return false;
}

Result<Isa> find_isa(std::string_view name) {
  static constexpr Isa kAll[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kNeon};
  for (Isa isa : kAll) {
    if (isa_name(isa) != name) continue;
    if (isa_supported(isa)) return isa;
    return Error{ErrorCode::kUnsupported,
                 "instruction set '" + std::string(name) +
                     "' is not supported by this CPU; supported: " + names_of(supported_isas())};
  }
  return Error{ErrorCode::kInvalidArgument,
               "unknown instruction set '" + std::string(name) + "'; known: " + names_of(kAll)};
}

Result<Isa> default_isa() {
  const char* forced = std::getenv("ROWMAX_ISA");
  if (forced == nullptr || *forced == '\0') return supported_isas().back();
  auto isa = find_isa(forced);
  if (isa.ok()) return isa;
  return Error{isa.error().code, "ROWMAX_ISA: " + isa.error().message};
}

std::string_view cpu_name() noexcept {
  static const std::array<char, 128> name = [] {
    std::array<char, 128> text{};
    std::snprintf(text.data(), text.size(), "unknown CPU");
    if (std::FILE* file = std::fopen("/proc/cpuinfo", "r")) {
      char line[512];
      while (std::fgets(line, sizeof line, file)) {
        if (std::strncmp(line, "model name", 10) != 0) continue;
        const char* value = std::strchr(line, ':');
        if (value == nullptr) continue;
        value += std::strspn(value, ": \t");
        std::snprintf(text.data(), text.size(), "%.*s", static_cast<int>(std::strcspn(value, "\n")), value);
        break;
      }
      std::fclose(file);
    }
    return text;
  }();
  return name.data();
}

}  // namespace rowmax
