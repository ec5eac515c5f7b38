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

#include "attention/plan/plan.h"
#include "rowmax/attention.h"

namespace rowmax {
struct ProbeRow;
}

namespace rowmax::attention {

// Most rows of one block.
inline constexpr int kMaxRows = 384;

struct Scratch {
  float* q;                    // [rows][k_dim], see load_query_rows
  float* s;                    // [rows][kKeyTile] scores, then weights
  float* bias;                 // [rows][kKeyTile]
  float* o;                    // [rows][o_stride] of the running split
  float* total;                // [rows][o_stride] of the splits before
  float* k;                    // [k_dim][kKeyTile]
  float* v;                    // [kKeyTile][o_stride]
  float* l;                    // [rows][16]
  float* m;                    // [rows], sixteen may be read and written from any row on
  float* alpha;                // [rows], likewise
  float* total_m;              // [rows]
  float* total_l;              // [rows]
  std::uint32_t* flags;        // [rows] of the running split
  std::uint32_t* total_flags;  // [rows]
  std::uint64_t* words;        // [rows]
  RowSpans* spans;             // [rows]
};

// A row's state at the end of a split, as stored between tasks: o_stride floats of o, then this.
struct PartialTail {
  float m;
  float l;
  std::uint32_t flags;
};
inline constexpr std::uint32_t kRowSeen = 1;      // a key was visible
inline constexpr std::uint32_t kRowOverflow = 2;  // a visible score was infinite

// What is the same for all blocks of a call.
struct CallArgs {
  const AttendArgs* args;
  std::int64_t group;           // query heads of a kv head
  std::int64_t o_stride;        // v_dim rounded up to 16
  std::int64_t partial_stride;  // floats of a stored row
  bool distance_bias = false;   // ALiBi or a relative bias
  bool check_weights = false;   // look for the first non-finite weight of a block with faulty rows
};

struct BlockArgs {
  const PlanSequence* sequence;
  const KvSequence* kv;
  std::int64_t kv_head;
  std::int64_t row_begin;  // within the sequence
  int n_rows;
  std::int64_t split_begin;  // splits from the anchor
  std::int64_t split_end;
  float* partials;  // nullptr: finish the rows; else store each split: [split - first][row][partial_stride]
};

// The first non-finite weight, by sequence, query, head, key; query within the caller's sequence.
struct WeightFault {
  std::int64_t sequence = -1;  // none
  std::int64_t query = 0;
  std::int64_t head = 0;
  std::int64_t key = 0;
  float score = 0;
};

// What became of the rows of one worker's blocks.
struct BlockCounts {
  std::int64_t empty = 0;
  std::int64_t non_finite = 0;
  std::int64_t overflow = 0;
  std::int64_t fault_row = -1;  // the lowest faulty row of q, then head
  std::int64_t fault_head = -1;
  WeightFault weight;
};

namespace {

inline bool fault_before(std::int64_t row, std::int64_t head, std::int64_t than_row, std::int64_t than_head) noexcept {
  return than_row < 0 || row < than_row || (row == than_row && head < than_head);
}
inline bool fault_before(const WeightFault& a, const WeightFault& b) noexcept {
  if (a.sequence < 0 || b.sequence < 0) return a.sequence >= 0;
  if (a.sequence != b.sequence) return a.sequence < b.sequence;
  if (a.query != b.query) return a.query < b.query;
  return a.head != b.head ? a.head < b.head : a.key < b.key;
}

}  // namespace

struct AttendKernel {
  // Computes splits [split_begin, split_end) of a block.
  void (*block)(const CallArgs& call, const BlockArgs& block, const Scratch& scratch, BlockCounts* counts);
  // Merges n_splits stored splits of a block in ascending order and finishes its rows.
  void (*merge)(const CallArgs& call, const BlockArgs& block, std::int64_t n_splits, const Scratch& scratch,
                BlockCounts* counts);
  // merge_partials() for rows [begin, end) of n_row * n_head, heads fastest. f32 alone.
  void (*merge_parts)(const MergeArgs& args, std::int64_t begin, std::int64_t end, BlockCounts* counts) = nullptr;
  // What became of one row (block.n_rows 1, all splits) with scratch for n_rows, see probe_pass.h. f32 alone.
  void (*probe_row)(const CallArgs& call, const BlockArgs& block, const MaskPlan& plan, int n_rows,
                    const Scratch& scratch, ProbeRow* out) = nullptr;
};

// nullptr where this machine cannot run it.
const AttendKernel* attend_kernel(Isa isa) noexcept;

extern const AttendKernel kAttendScalar;
extern const AttendKernel kAttendAvx2;
extern const AttendKernel kAttendAvx512;
extern const AttendKernel kAttendNeon;

}  // namespace rowmax::attention
