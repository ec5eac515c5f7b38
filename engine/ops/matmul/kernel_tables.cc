#include "engine/ops/matmul/kernel_tables.h"

#include <algorithm>

#include "base/cpu_features.h"
#include "base/guarded.h"
#include "rowmax/try.h"

#if defined(__x86_64__)
#define ROWMAX_X86(kernels) &kernels
#define ROWMAX_ARM(kernels) nullptr
#elif defined(__aarch64__)
#define ROWMAX_X86(kernels) nullptr
#define ROWMAX_ARM(kernels) &kernels
#else
#define ROWMAX_X86(kernels) nullptr
#define ROWMAX_ARM(kernels) nullptr
#endif

namespace rowmax::engine {
namespace panel {
namespace {

template <Isa kIsa>
bool has() noexcept {
  return isa_supported(kIsa);
}

// By instruction set, ascending; the faster ones of each behind the slower ones.
constexpr KernelTable kTables[] = {
    {"scalar", Isa::kScalar, "", &kernels_scalar, &has<Isa::kScalar>},
    {"avx2", Isa::kAvx2, "AVX2, FMA and F16C", ROWMAX_X86(kernels_avx2), &has<Isa::kAvx2>},
    {"avxvnni", Isa::kAvx2, "AVX-VNNI", ROWMAX_X86(kernels_avxvnni), &base::has_avx_vnni},
    {"avx512", Isa::kAvx512, "AVX-512 F, BW, DQ, VL and VNNI", ROWMAX_X86(kernels_avx512), &has<Isa::kAvx512>},
    {"avx512vbmi", Isa::kAvx512, "AVX-512 VBMI", ROWMAX_X86(kernels_avx512vbmi), &base::has_avx512_vbmi},
    {"amx", Isa::kAvx512, "AMX (INT8 and BF16) that the system lets programs use", ROWMAX_X86(kernels_amx),
     &base::has_amx},
    {"neon", Isa::kNeon, "Advanced SIMD", ROWMAX_ARM(kernels_neon), &has<Isa::kNeon>},
    {"dotprod", Isa::kNeon, "the dot products of ARMv8.2", ROWMAX_ARM(kernels_dotprod), &base::has_neon_dotprod},
    {"i8mm", Isa::kNeon, "the matrix products of bytes of ARMv8.6", ROWMAX_ARM(kernels_i8mm), &base::has_neon_i8mm},
};

std::string names(bool supported_alone) {
  std::string text;
  for (const KernelTable& table : kTables) {
    if (supported_alone && !table.supported()) continue;
    text += (text.empty() ? "" : ", ") + std::string(table.name);
  }
  return text;
}

Result<const KernelTable*> find_table(std::string_view name) {
  for (const KernelTable& table : kTables) {
    if (table.name == name) return &table;
  }
  return Error::invalid_argument("unknown kernels '" + std::string(name) + "'; known: " + names(false));
}

}  // namespace

std::span<const KernelTable> kernel_tables() noexcept { return kTables; }

KernelVariant variant_of(const KernelTable& table) {
  KernelVariant variant{table.name, table.isa, {}};
  if (table.kernels == nullptr) {
    variant.missing = table.isa == Isa::kNeon ? "for AArch64" : "for x86-64";
  } else if (!table.supported()) {
    variant.missing = "this CPU has no " + std::string(table.needs);
  }
  return variant;
}

Result<const KernelTable*> choose_table(const KernelChoice& choice, Isa isa) {
  std::vector<const KernelTable*> forbidden;
  for (const std::string& name : choice.forbid) {
    ROWMAX_TRY(table, find_table(name));
    forbidden.push_back(table);
  }
  const auto is_forbidden = [&](const KernelTable* table) { return std::ranges::count(forbidden, table) > 0; };
  if (!choice.force.empty()) {
    ROWMAX_TRY(table, find_table(choice.force));
    if (is_forbidden(table)) return Error::invalid_argument("kernels '" + choice.force + "' are forced and forbidden");
    if (table->supported()) return table;
    return Error::unsupported("kernels '" + choice.force + "' cannot run here: " + variant_of(*table).missing +
                              "; supported: " + names(true));
  }
  ROWMAX_TRY(highest, find_isa(isa_name(isa)));
  const KernelTable* best = nullptr;
  for (const KernelTable& table : kTables) {
    if (table.isa <= highest && !is_forbidden(&table) && table.supported()) best = &table;
  }
  if (best == nullptr)
    return Error::unsupported("no kernels are left: all that this machine can run up to " + std::string(isa_name(isa)) +
                              " are forbidden");
  return best;
}

}  // namespace panel

std::vector<KernelVariant> kernel_variants() {
  std::vector<KernelVariant> variants;
  for (const panel::KernelTable& table : panel::kTables) variants.push_back(panel::variant_of(table));
  return variants;
}

Result<KernelVariant> choose_kernels(const KernelChoice& choice, Isa isa) {
  return base::guarded([&]() -> Result<KernelVariant> {
    ROWMAX_TRY(table, panel::choose_table(choice, isa));
    return panel::variant_of(*table);
  });
}

}  // namespace rowmax::engine
