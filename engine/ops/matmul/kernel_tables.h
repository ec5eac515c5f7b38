// The tables of kernels that matmul() can take, one a variant of rowmax/engine/kernels.h.
#pragma once

#include <span>
#include <string_view>

#include "engine/ops/matmul/panel.h"
#include "rowmax/cpu.h"
#include "rowmax/engine/kernels.h"
#include "rowmax/result.h"

namespace rowmax::engine::panel {

struct KernelTable {
  std::string_view name;
  Isa isa;
  std::string_view needs;                // of the CPU
  const Kernels& (*kernels)() noexcept;  // nullptr: not in this build
  bool (*supported)() noexcept;          // false where there are no kernels
};

// In the order of kernel_variants().
std::span<const KernelTable> kernel_tables() noexcept;
// choose_kernels(), as a row of the above.
Result<const KernelTable*> choose_table(const KernelChoice& choice, Isa isa);
KernelVariant variant_of(const KernelTable& table);

}  // namespace rowmax::engine::panel
