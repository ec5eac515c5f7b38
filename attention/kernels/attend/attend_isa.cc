// The kernel of an instruction set.
#include "attention/kernels/attend/attend.h"

namespace rowmax::attention {

const AttendKernel* attend_kernel(Isa isa) noexcept {
  if (!isa_supported(isa)) return nullptr;
  switch (isa) {
    case Isa::kScalar: return &kAttendScalar;
#if defined(__x86_64__)
    case Isa::kAvx2: return &kAttendAvx2;
    case Isa::kAvx512: return &kAttendAvx512;
#elif defined(__aarch64__)
    case Isa::kNeon: return &kAttendNeon;
#endif
    default: return nullptr;
  }
}

}  // namespace rowmax::attention
