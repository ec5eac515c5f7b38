#include "base/check.h"
#include "base/cpu_features.h"
#include "engine/ops/matmul/matmul_with.h"

namespace rowmax::engine::panel {
namespace {

constexpr KernelTable kTables[] = {
    {"scalar", Isa::kScalar, &kernels_scalar, +[]() noexcept { return true; }},
#if defined(__x86_64__)
    {"avx2", Isa::kAvx2, &kernels_avx2, +[]() noexcept { return isa_supported(Isa::kAvx2); }},
    {"avx2 with AVX-VNNI", Isa::kAvx2, &kernels_avxvnni, &base::has_avx_vnni},
    {"avx512", Isa::kAvx512, &kernels_avx512, +[]() noexcept { return isa_supported(Isa::kAvx512); }},
    {"avx512 with VBMI", Isa::kAvx512, &kernels_avx512vbmi, &base::has_avx512_vbmi},
    {"avx512 with AMX", Isa::kAvx512, &kernels_amx, &base::has_amx_int8},
#elif defined(__aarch64__)
    {"neon", Isa::kNeon, &kernels_neon, +[]() noexcept { return true; }},
    {"neon with dot products", Isa::kNeon, &kernels_dotprod, &base::has_neon_dotprod},
#endif
};

}  // namespace

std::span<const KernelTable> kernel_tables() noexcept { return kTables; }

const Kernels& kernels_for(Isa isa) noexcept {
  const KernelTable* best = nullptr;
  for (const KernelTable& table : kTables) {
    if (table.isa == isa && table.supported()) best = &table;
  }
  ROWMAX_CHECK(best != nullptr, "matmul: an instruction set that this build has no kernels for");
  return best->kernels();
}

}  // namespace rowmax::engine::panel
