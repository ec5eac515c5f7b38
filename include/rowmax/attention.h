// Masked attention: out = softmax(bias + softcap(scale * q kᵀ), over the visible keys) v, for any number of sequences
// of different lengths in one call, prompt chunks and single generated tokens mixed.
//
// What is promised, for every call:
//   - Masked is never read into the result: NaN or infinity in keys and values that a query does not see cannot change
//   a
//     bit of its result; keys outside the valid span and pages without visible keys are not touched at all.
//   - A query without visible keys gives exactly +0, lse -inf and RowStatus::kEmpty.
//   - One answer: the bits of a query's result depend on its own q, its visible keys and values and their distance from
//     the anchor alone; not on threads, ISA, the other rows and sequences of the call, how a prompt was cut into calls,
//     padding, K/V layout, page size, nor on how heads are grouped.
//   - A NaN in a visible score or value gives NaN (one canonical bit pattern) and RowStatus::kNonFinite; results that
//     leave f32's range are RowStatus::kOverflow. Both are counted, never silent.
//   - Nothing is allocated. The floating-point environment of the caller does not matter and is left as it was.
//
// Arithmetic (all of it f32): a score is one fma chain over dimensions ascending, times scale, once; then soft cap;
// then bias; then the mask selects. Keys go in tiles of kKeyTile from the anchor, 8 tiles make a split; inside a split
// the softmax is online (running maximum, rescaled where it grows), splits are merged in ascending order.
//
// A call in short:
//     MaskPlan plan;                                          // once a step for every kind of layer
//     ROWMAX_TRY: plan.compile(MaskSpec().causal().window(511, 0), {sequences, n_head, n_kv_head});
//     AttendArgs args;                                        // once a layer
//     args.q = packed_heads(q, n_row, n_head, head_dim);
//     args.kv = paged_kv(DType::kF16, n_kv_head, head_dim, head_dim);
//     args.sequences = kv_sequences;                          // as many, in the order of the plan's
//     args.scale = 1 / sqrt(head_dim);
//     args.out = packed_heads(out, n_row, n_head, head_dim);
//     attend(args, plan, workspace, executor, isa);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "rowmax/cpu.h"
#include "rowmax/executor.h"
#include "rowmax/kv.h"
#include "rowmax/mask.h"
#include "rowmax/result.h"
#include "rowmax/view.h"

namespace rowmax {

enum class RowStatus : std::uint8_t {
  kOk = 0,
  kEmpty = 1,      // no visible key
  kNonFinite = 2,  // NaN came in through q, a visible key or value, or the bias; the result is NaN
  kOverflow = 3,   // a visible score or an output left f32's range; the result holds inf or NaN, or cannot be trusted
};

// Additive bias: element (query i of the sequence, query head h, key j) lies at
// KvSequence::bias + i * row_stride + h * head_stride + j * key_stride. -inf means masked, with all of the guarantees
// of a mask. NaN and +inf make the row kNonFinite and kOverflow, or the call fails, with AttendArgs::check_bias.
struct BiasStrides {
  DType dtype = DType::kF32;
  std::int64_t row_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t key_stride = 0;
};

struct AttendArgs {
  ConstHeadsView q;                       // [row][n_head][k_dim]; f32, f16 or bf16
  KvView kv;                              // types and strides of all sequences
  std::span<const KvSequence> sequences;  // one for each sequence of the plan
  BiasStrides bias;                       // read only where a sequence has a bias
  float scale = 1.0f;                     // finite
  float softcap = 0.0f;                   // > 0: score = softcap * tanh(score / softcap), before bias and mask; 0: none
  bool check_bias = false;  // look for NaN and +inf in the visible bias first: kNumericFault names the place

  HeadsView out;  // [row][n_head][v_dim]

  // Optional, [row][n_head], strides in elements: log of the sum of exponentials, natural.
  float* lse = nullptr;
  std::int64_t lse_row_stride = 0;
  std::int64_t lse_head_stride = 1;
  // Optional, [row][n_head].
  RowStatus* row_status = nullptr;
  std::int64_t status_row_stride = 0;
  std::int64_t status_head_stride = 1;

  void* stream = nullptr;  // for devices to come; must be nullptr on the host
};

// Rows (query x head) by status; what the caller must look at instead of guessing from the numbers.
struct AttendReport {
  std::int64_t n_rows = 0;
  std::int64_t n_empty = 0;
  std::int64_t n_non_finite = 0;
  std::int64_t n_overflow = 0;
};

// Scratch memory; aligned to 64 bytes. Contents mean nothing between calls. One call at a time.
struct Workspace {
  void* data = nullptr;
  std::size_t size = 0;
};

// Bytes that attend() needs for these arguments with an executor of that concurrency. Depends on shapes alone.
std::size_t attend_workspace_bytes(const AttendArgs& args, const MaskPlan& plan, int concurrency) noexcept;

// Bytes that suffice for every call within these bounds, so that a caller can allocate once.
struct AttendBounds {
  std::int64_t max_sequences = 1;  // every document of ordered segments counts as one
  std::int64_t max_n_kv = 0;  // of one sequence
  std::int64_t n_head = 1;
  std::int64_t n_kv_head = 1;
  std::int64_t k_dim = 0;
  std::int64_t v_dim = 0;
  int concurrency = 1;
};
std::size_t attend_workspace_bound(const AttendBounds& bounds) noexcept;

// Errors: kInvalidArgument (shapes, strides, workspace, a page number below 0 where a visible key lies; named),
// kUnsupported (memory space, ISA), kNumericFault (check_bias). Nothing was written then.
Result<AttendReport> attend(const AttendArgs& args, const MaskPlan& plan, Workspace workspace, Executor& executor,
                            Isa isa);

}  // namespace rowmax
