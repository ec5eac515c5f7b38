#include "bench/attention/isa_kernels_inl.h"

namespace rowmax::bench {

const IsaKernels kKernelsAvx2{fma_chains, causal_block, bare_block};

}  // namespace rowmax::bench
