// Which instruction sets this machine has, and which one to use. The choice is a value that is passed along, never
// global state. All of them give the same bits; they differ in speed alone.
#pragma once

#include <span>
#include <string_view>

#include "rowmax/result.h"

namespace rowmax {

enum class Isa : int {
  kScalar = 0,  // plain C++, any CPU
  kAvx2 = 1,    // AVX2 + FMA + F16C
  kAvx512 = 2,  // AVX-512 F, BW, DQ, VL and VNNI
  kNeon = 3,    // AArch64 Advanced SIMD
};

// "scalar", "avx2", "avx512", "neon"
std::string_view isa_name(Isa isa) noexcept;
// The ISAs this binary was built with and this CPU can run, slowest first; never empty.
std::span<const Isa> supported_isas() noexcept;
bool isa_supported(Isa isa) noexcept;
// By name; kInvalidArgument lists the known names, kUnsupported those that this CPU can run.
Result<Isa> find_isa(std::string_view name);
// The fastest supported one, or the one that the environment variable ROWMAX_ISA names (errors as find_isa).
Result<Isa> default_isa();
// The CPU's marketing name as the system gives it, "unknown CPU" where it gives none.
std::string_view cpu_name() noexcept;

}  // namespace rowmax
