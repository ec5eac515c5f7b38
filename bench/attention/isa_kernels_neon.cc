#include "bench/attention/isa_kernels_inl.h"

namespace rowmax::bench {

const IsaKernels kKernelsNeon{fma_chains, causal_block, bare_block};

}  // namespace rowmax::bench
