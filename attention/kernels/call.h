// What a call and its blocks are to the attend kernels of every arithmetic: arguments, scratch, counts, entries.
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

}  // namespace rowmax::attention
