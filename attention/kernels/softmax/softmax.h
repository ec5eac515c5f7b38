// The softmax kernel: rows of given scores to weights, with the arithmetic of the attend kernel (attend.h): score j
// takes the place of the raw dot with key j, the tile grid starts at key 0.
//
// Plain data only: ISA-specific files include this.
#pragma once

#include <cstdint>

#include "attention/kernels/call.h"
#include "rowmax/softmax.h"

namespace rowmax::attention {

inline constexpr int kSoftmaxRows = 8;  // computed at a time

struct SoftmaxCall {
  const SoftmaxArgs* args;
  CallArgs scoring;  // scale and soft cap; distance_bias says that there is a bias
};

// Rows [begin, end).
using SoftmaxKernel = void (*)(const SoftmaxCall& call, std::int64_t begin, std::int64_t end, BlockCounts* counts);

extern const SoftmaxKernel kSoftmaxScalar;
extern const SoftmaxKernel kSoftmaxAvx2;
extern const SoftmaxKernel kSoftmaxAvx512;
extern const SoftmaxKernel kSoftmaxNeon;

// Of an instruction set that this machine can run.
SoftmaxKernel softmax_kernel(Isa isa) noexcept;

}  // namespace rowmax::attention
