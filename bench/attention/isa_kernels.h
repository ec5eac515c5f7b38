// What the benchmark needs compiled once for each instruction set: the machine's arithmetic peak, and attention with
// causality compiled into the kernel, to compare with the same mask read from a plan.
//
// Plain data only: ISA-specific files include this.
#pragma once

#include <cstdint>

#include "attention/kernels/call.h"

namespace rowmax::bench {

struct IsaKernels {
  // n_steps times as many independent fused multiply-adds as hide their latency; returns how many lanes' worth one
  // step makes. Two floating point operations a lane.
  std::int64_t (*fma_chains)(std::int64_t n_steps, float* sink);
  // attention::AttendKernel::block for a causal mask with positions from 0, whatever the plan says.
  void (*causal_block)(const attention::CallArgs& call, const attention::BlockArgs& block,
                       const attention::Scratch& scratch, attention::BlockCounts* counts);
  // attention::AttendKernel::block without what may observe it, and without looking whether anything does.
  void (*bare_block)(const attention::CallArgs& call, const attention::BlockArgs& block,
                     const attention::Scratch& scratch, attention::BlockCounts* counts);
};

#if defined(__x86_64__)
extern const IsaKernels kKernelsAvx2;
extern const IsaKernels kKernelsAvx512;
#elif defined(__aarch64__)
extern const IsaKernels kKernelsNeon;
#endif

}  // namespace rowmax::bench
