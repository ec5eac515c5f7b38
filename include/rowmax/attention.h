// Masked attention: out = softmax(bias + softcap(scale * q kᵀ), over the visible keys) v, for any number of sequences
// of different lengths in one call, prompt chunks and single generated tokens mixed.
//
// What is promised, for every call:
//   - Masked is never read into the result: NaN or infinity in keys and values that a query does not see cannot
//     change a bit of its result; keys outside the valid span and pages
//     without visible keys are not touched at all.
//   - A query without visible keys gives exactly +0, lse -inf and RowStatus::kEmpty (see EmptyRows for other customs).
//   - One answer: the bits of a query's result depend on its own q, its visible keys and values and their distance from
//     the anchor alone; not on threads, ISA, the other rows and sequences of the call, how a prompt was cut into calls,
//     padding, K/V layout, page size, nor on how heads are grouped.
//   - A NaN in a visible score or value gives NaN (one canonical bit pattern) and RowStatus::kNonFinite; results that
//     leave f32's range are RowStatus::kOverflow. Both are counted, never silent.
//   - Nothing is allocated. The floating-point environment of the caller does not matter and is left as it was.
//
// Arithmetic (f32, or f64 with Arithmetic::kF64): a score is one fma chain over dimensions ascending, times scale,
// once; then soft cap; then bias; then the mask selects. Keys go in tiles of kKeyTile from the anchor, 8 tiles make a
// split; inside a split the softmax is online (running maximum, rescaled where it grows), splits are merged in
// ascending order; a sink joins last. Every result is rounded to its output type once.
//
// A call in short, in a function that returns a Status (ROWMAX_TRY is in rowmax/try.h):
//     MaskPlan plan;                                          // once a step for every kind of layer
//     ROWMAX_RETURN_IF_ERROR(plan.compile(MaskSpec().causal().window(511, 0), {sequences, n_head, n_kv_head}));
//     AttendArgs args;                                        // once a layer
//     args.q = packed_heads(q, n_row, n_head, head_dim);
//     args.kv = paged_kv(DType::kF16, n_kv_head, head_dim, head_dim);
//     args.sequences = kv_sequences;                          // as many, in the order of the plan's
//     args.scale = 1 / sqrt(head_dim);
//     args.out = packed_heads(out, n_row, n_head, head_dim);
//     ROWMAX_TRY(backend, cpu_backend(executor));             // once
//     ROWMAX_TRY(report, attend(args, plan, workspace, backend));
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "rowmax/backend.h"
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

// What a row without visible keys gives. lse is -inf (the sink's logit with sinks) and the status kEmpty in all cases.
enum class EmptyRows : std::uint8_t {
  kZero,     // +0; weights 0
  kNaN,      // NaN, weights NaN: to find out who relies on such rows
  kUniform,  // the mean of the values of the valid span, weights 1/n there: what finite sentinels give in other
             // frameworks (JAX, Hugging Face eager). With segments in order, the row's document is the span. Reads
             // values that no query may see: all pages of the span must be there. +0 where no key is valid.
};

enum class Arithmetic : std::uint8_t {
  kF32,  // q, K, V of any type but f64
  kF64,  // any type; slower by far: the reference for everything else. Weights and lse are rounded to f32. Without
         // partial and probe, which hold f32 by type: kUnsupported.
};

// Additive bias: element (query i of the sequence, query head h, key j) lies at
// KvSequence::bias + i * row_stride + h * head_stride + j * key_stride. -inf means masked, with all of the guarantees
// of a mask. NaN and +inf make the row kNonFinite and kOverflow, or the call fails, with AttendArgs::check_bias.
struct BiasStrides {
  DType dtype = DType::kF32;  // f32, f16 or bf16; also f64 with Arithmetic::kF64
  std::int64_t row_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t key_stride = 0;
};

// Bias by distance: table[h * head_stride + clamp(j - p, min_distance, max_distance) - min_distance], p the query's
// position. T5's buckets are such a table, expanded. Finite entries.
struct RelativeBias {
  const float* table = nullptr;  // nullptr: none
  std::int64_t min_distance = 0;
  std::int64_t max_distance = 0;
  std::int64_t head_stride = 0;  // 0: the same for all heads
};

// Where softmax weights go: element (row, query head h, key j of the row's sequence) at
// data + row * row_stride + h * head_stride + j. Keys [0, n_kv) of the row's sequence are all written: exactly 0 where
// hidden. A second pass with the row's final maximum and sum: rows add up to 1 within rounding (to less with a sink).
struct WeightsView {
  float* data = nullptr;  // nullptr: none
  std::int64_t row_stride = 0;
  std::int64_t head_stride = 0;
};

// Unfinished rows, for keys spread over several calls (or machines): o is not yet divided by l, and
// result = o / l, lse = m + log(l). Element (row, h): o + row * o_row_stride + h * o_head_stride (v_dim floats, dense),
// m, l and status at row * row_stride + h * head_stride. A row that saw no key: o 0, m -inf, l 0, kEmpty.
struct PartialView {
  float* o = nullptr;
  std::int64_t o_row_stride = 0;
  std::int64_t o_head_stride = 0;
  float* m = nullptr;
  float* l = nullptr;
  RowStatus* status = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t head_stride = 1;
};

// Whether to look for non-finite weights after the softmax. A find is an error that names the first such row (by
// sequence, query, head) and the key to blame: the first whose score is NaN or +inf, else the first visible one. The
// results are written all the same. Costs nothing where all rows are finite.
enum class WeightCheck : std::uint8_t {
  kDefault,  // on where the library was built without NDEBUG, else off
  kOff,
  kOn,
};

class Probe;  // probe.h

struct AttendArgs {
  ConstHeadsView q;                       // [row][n_head][k_dim]; f32, f16, bf16, f64
  KvView kv;                              // types and strides of all sequences
  std::span<const KvSequence> sequences;  // one for each sequence of the plan
  Arithmetic arithmetic = Arithmetic::kF32;
  double scale = 1.0;    // finite; kF32 rounds it to f32
  float softcap = 0.0f;  // > 0: score = softcap * tanh(score / softcap), before bias and mask; 0: none
  // Bias terms add up, f32, in this order: dense, ALiBi, relative.
  BiasStrides bias;                     // read only where a sequence has a bias
  const float* alibi_slopes = nullptr;  // [n_head] or nullptr: - slope * |p - j|
  RelativeBias relative_bias;
  bool check_bias = false;  // look for NaN and +inf in the visible dense bias first: kNumericFault names the place
  // [n_head] or nullptr: one more logit a row, of a key without value ("attention sink"): only the sum grows. A row
  // without visible keys gives 0 and the sink as lse. -inf: none for that head. NaN, +inf: kInvalidArgument.
  const float* sinks = nullptr;
  EmptyRows empty_rows = EmptyRows::kZero;

  HeadsView out;        // [row][n_head][v_dim]; data may be nullptr when `partial` is asked for
  WeightsView weights;  // optional
  PartialView partial;  // optional (o != nullptr); instead of out, lse and weights, and without sinks

  // Optional, [row][n_head], strides in elements: log of the sum of exponentials, natural.
  float* lse = nullptr;
  std::int64_t lse_row_stride = 0;
  std::int64_t lse_head_stride = 1;
  // Optional, [row][n_head].
  RowStatus* row_status = nullptr;
  std::int64_t status_row_stride = 0;
  std::int64_t status_head_stride = 1;

  const Probe* probe = nullptr;  // sees the stages of chosen rows; costs nothing when absent
  WeightCheck check_weights = WeightCheck::kDefault;

  void* stream = nullptr;  // for devices to come; must be nullptr on the host
};

// Rows (query x head) by status; what the caller must look at instead of guessing from the numbers.
struct AttendReport {
  std::int64_t n_rows = 0;
  std::int64_t n_empty = 0;
  std::int64_t n_non_finite = 0;
  std::int64_t n_overflow = 0;
  // The first row (lowest row number, then head) that is kNonFinite or kOverflow; -1: none.
  std::int64_t fault_row = -1;
  std::int64_t fault_head = -1;
};

// Scratch memory; aligned to 64 bytes. Contents mean nothing between calls. One call at a time.
struct Workspace {
  void* data = nullptr;
  std::size_t size = 0;
};

// Bytes that attend() needs for these arguments there. Depends on shapes and the executor's concurrency alone.
std::size_t attend_workspace_bytes(const AttendArgs& args, const MaskPlan& plan, const Backend& backend) noexcept;

// Bytes that suffice for every call within these bounds, so that a caller can allocate once.
struct AttendBounds {
  std::int64_t max_sequences = 1;  // every document of ordered segments counts as one
  std::int64_t max_n_kv = 0;       // of one sequence
  std::int64_t n_head = 1;
  std::int64_t n_kv_head = 1;
  std::int64_t k_dim = 0;
  std::int64_t v_dim = 0;
  Arithmetic arithmetic = Arithmetic::kF32;
};
std::size_t attend_workspace_bound(const AttendBounds& bounds, const Backend& backend) noexcept;

// Errors: kInvalidArgument (shapes, strides, workspace, a page number below 0 where a visible key lies; named),
// kUnsupported (memory space, type), kNumericFault (check_bias). Nothing was written then. kNumericFault from
// check_weights: everything was written.
Result<AttendReport> attend(const AttendArgs& args, const MaskPlan& plan, Workspace workspace, const Backend& backend);

// Joins partial results of the same rows over disjoint keys, in the order given, and finishes them. Where the parts are
// cut at split edges (multiples of 512 keys from one common anchor, each part after the first one split long), the
// bits are those of one call over all keys; cut elsewhere they agree within the error bound. Empty parts change
// nothing. Parts share n_row, n_head and v_dim; all of their members are read.
struct MergeArgs {
  std::span<const PartialView> parts;
  std::int64_t n_row = 0;
  std::int64_t n_head = 0;
  std::int64_t v_dim = 0;
  const float* sinks = nullptr;  // as in AttendArgs
  HeadsView out;
  float* lse = nullptr;
  std::int64_t lse_row_stride = 0;
  std::int64_t lse_head_stride = 1;
  RowStatus* row_status = nullptr;
  std::int64_t status_row_stride = 0;
  std::int64_t status_head_stride = 1;
};
Result<AttendReport> merge_partials(const MergeArgs& args, const Backend& backend);

}  // namespace rowmax
