// The attend kernel in double precision: the same tasks, blocks, tiles and splits as kernels/attend, one row after
// another. The reference for everything else; made for trust, not for speed.
//
// Definition of a row's result: that of kernels/attend/attend.h with every operation in f64 and every input converted
// exactly (fp8 and q8_0 numbers are the f32 numbers of kv.h), except:
//   exp is base::exp_f64 (2 ulp, no floor); tanh(x) = 1 - 2 / (exp(2 |x|) + 1) with x's sign: 5e-16 absolute
//   l's 16 lanes are added as ((l[i] + l[i + 8]), + 4, + 2, + 1)
// lse and weights are rounded to f32 once, the result to its type once; one that leaves that type's range is kOverflow.
// Under EmptyRows::kUniform values are added in plain sums over the keys of a split, splits ascending, and divided.
//
// Scratch is that of kernels/attend with every float pointer to doubles; stored splits likewise (twice the floats).
#pragma once

#include "attention/kernels/call.h"

namespace rowmax::attention {

// A row's state at the end of a split, behind o_stride doubles of o.
struct PartialTailF64 {
  double m;
  double l;
  std::uint32_t flags;
};

extern const AttendKernel kAttendF64Scalar;
extern const AttendKernel kAttendF64Avx2;
extern const AttendKernel kAttendF64Avx512;
extern const AttendKernel kAttendF64Neon;

// Of an instruction set that this machine can run.
const AttendKernel& attend_f64_kernel(Isa isa) noexcept;

}  // namespace rowmax::attention
