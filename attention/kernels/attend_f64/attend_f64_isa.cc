#include "attention/kernels/attend_f64/attend_f64.h"

namespace rowmax::attention {

const AttendKernel* attend_f64_kernel(Isa isa) noexcept {
  if (!isa_supported(isa)) return nullptr;
  switch (isa) {
    case Isa::kScalar: return &kAttendF64Scalar;
#if defined(__x86_64__)
    case Isa::kAvx2: return &kAttendF64Avx2;
    case Isa::kAvx512: return &kAttendF64Avx512;
#elif defined(__aarch64__)
    case Isa::kNeon: return &kAttendF64Neon;
#endif
    default: return nullptr;
  }
}

}  // namespace rowmax::attention
