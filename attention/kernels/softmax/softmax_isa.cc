// The kernel of an instruction set.
#include "attention/kernels/softmax/softmax.h"

namespace rowmax::attention {

SoftmaxKernel softmax_kernel(Isa isa) noexcept {
  if (!isa_supported(isa)) return nullptr;
  switch (isa) {
    case Isa::kScalar: return kSoftmaxScalar;
#if defined(__x86_64__)
    case Isa::kAvx2: return kSoftmaxAvx2;
    case Isa::kAvx512: return kSoftmaxAvx512;
#elif defined(__aarch64__)
    case Isa::kNeon: return kSoftmaxNeon;
#endif
    default: return nullptr;
  }
}

}  // namespace rowmax::attention
