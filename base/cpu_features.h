// What a CPU can do beyond its Isa (rowmax/cpu.h): faster instructions for the same bits.
#pragma once

namespace rowmax::base {

// AVX-VNNI: byte dot products in 256 bits. Never true without Isa::kAvx2.
bool has_avx_vnni() noexcept;
// AVX-512 VBMI: permutations of bytes. Never true without Isa::kAvx512.
bool has_avx512_vbmi() noexcept;
// AMX with tiles of bytes and of bfloat16 (all that has AMX has both), and the system's leave to use it, which the first
// call asks for (Linux grants it to a process for good). Never true without Isa::kAvx512.
bool has_amx() noexcept;
// The Advanced SIMD dot products of ARMv8.2 (SDOT, UDOT).
bool has_neon_dotprod() noexcept;
// The Advanced SIMD matrix products of bytes of ARMv8.6 (SMMLA), and the dot products.
bool has_neon_i8mm() noexcept;

}  // namespace rowmax::base
