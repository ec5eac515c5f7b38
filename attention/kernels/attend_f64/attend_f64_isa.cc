// The kernel of an instruction set.
#include "attention/kernels/attend_f64/attend_f64.h"
#include "base/isa_table.h"

namespace rowmax::attention {

const AttendKernel& attend_f64_kernel(Isa isa) noexcept {
  static constexpr base::IsaTable<AttendKernel> kTable {
    .scalar = &kAttendF64Scalar,
#if defined(__x86_64__)
    .avx2 = &kAttendF64Avx2, .avx512 = &kAttendF64Avx512,
#elif defined(__aarch64__)
    .neon = &kAttendF64Neon,
#endif
  };
  return kTable.at(isa);
}

}  // namespace rowmax::attention
