// The attend kernel: masked attention of one block of rows over a range of splits, for one kv head of one sequence.
//
// Rows. The query heads of a kv head's group are packed as rows: row r of a sequence is query r / group, head
// kv_head * group + r % group, so that a key tile is read once for all of them. A row's arithmetic does not depend on
// which rows share its block, nor on how many.
//
// Definition of a row's result (all f32, round to nearest, every fma fused; lane = key or lane = dimension, never a
// sum whose order depends on a register width). Tiles are kKeyTile keys from the anchor, splits kSplitTiles tiles.
//   score     s[key] = fma chain of q[d] * k[key][d] over d ascending from +0; * scale; softcap * tanh(s / softcap);
//             + bias; -inf where not visible. Bias: dense, plus -slope * |p - key|, plus table[key - p], f32, in this
//             order, terms that are not there left out; |p - key| is rounded to f32
//   in a split, tiles ascending, tiles without a visible key left out:
//     m'      = max(m, max s)                      base = m' where finite or +inf, 0 where m' = -inf
//     alpha   = exp(m - base)                      p[key] = exp(s[key] - base)
//     l[lane] = l[lane] * alpha + (((p[lane] + p[lane+16]) + p[lane+32]) + p[lane+48])       16 lanes
//     o[d]    = fma chain of p[key] * v[key][d] over visible keys ascending, from o[d] * alpha
//   at its end  l = the 16 lanes added by reduce_add's tree
//   splits ascending: the first with a visible key is taken as it is, then with M = max(m1, m2), base as above,
//     a = exp(m1 - base), b = exp(m2 - base):  l = fma(l2, b, l1 * a), o[d] = fma(o2[d], b, o1[d] * a)
//   a sink joins last, unless it is -inf: with M = max(m, sink), a = exp(m - M): l = l * a + exp(sink - M) (two
//     roundings), o[d] = o[d] * a, m = M; of an empty row m = sink, l = 1
//   out[d] = o[d] / l + 0, NaN made canonical; lse = m + log l in fp64, rounded once.
//   weight[key] = exp(s[key] - base) / l with the row's final m and l, exactly +0 where not visible
// where exp is exp_weight (weight_exp.h). A masked key adds p = 0 times a finite value, which changes nothing but the
// sign of a zero (hence the + 0); where the tile holds non-finite values, masked keys are left out of the chain
// instead.
//
// Plain data only: ISA-specific files include this.
#pragma once

#include <cstdint>

#include "attention/kernels/call.h"

namespace rowmax::attention {

// A row's state at the end of a split, as stored between tasks: o_stride floats of o, then this.
struct PartialTail {
  float m;
  float l;
  std::uint32_t flags;
};

// Of an instruction set that this machine can run.
const AttendKernel& attend_kernel(Isa isa) noexcept;

extern const AttendKernel kAttendScalar;
extern const AttendKernel kAttendAvx2;
extern const AttendKernel kAttendAvx512;
extern const AttendKernel kAttendNeon;

}  // namespace rowmax::attention
