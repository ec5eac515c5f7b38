#include "base/isa_table.h"
#include "engine/ops/rows/row_kernels_list.h"

namespace rowmax::engine {

const RowKernels& row_kernels(Isa isa) noexcept {
  static const base::IsaTable<RowKernels> kTable {
    .scalar = &row_kernels_scalar(),
#if defined(__x86_64__)
    .avx2 = &row_kernels_avx2(), .avx512 = &row_kernels_avx512(),
#elif defined(__aarch64__)
    .neon = &row_kernels_neon(),
#endif
  };
  return kTable.at(isa);
}

}  // namespace rowmax::engine
