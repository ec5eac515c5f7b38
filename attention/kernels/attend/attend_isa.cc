// The kernel of an instruction set.
#include "attention/kernels/attend/attend.h"
#include "base/isa_table.h"

namespace rowmax::attention {

const AttendKernel& attend_kernel(Isa isa) noexcept {
  static constexpr base::IsaTable<AttendKernel> kTable {
    .scalar = &kAttendScalar,
#if defined(__x86_64__)
    .avx2 = &kAttendAvx2, .avx512 = &kAttendAvx512,
#elif defined(__aarch64__)
    .neon = &kAttendNeon,
#endif
  };
  return kTable.at(isa);
}

}  // namespace rowmax::attention
