// The kernel of an instruction set.
#include "attention/kernels/softmax/softmax.h"
#include "base/isa_table.h"

namespace rowmax::attention {

SoftmaxKernel softmax_kernel(Isa isa) noexcept {
  static constexpr base::IsaTable<SoftmaxKernel> kTable {
    .scalar = &kSoftmaxScalar,
#if defined(__x86_64__)
    .avx2 = &kSoftmaxAvx2, .avx512 = &kSoftmaxAvx512,
#elif defined(__aarch64__)
    .neon = &kSoftmaxNeon,
#endif
  };
  return kTable.at(isa);
}

}  // namespace rowmax::attention
