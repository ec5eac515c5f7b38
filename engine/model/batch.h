// A batch of rows: tokens of any sequences, each at its own position, and where those sequences' memory lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "rowmax/engine/types.h"
#include "rowmax/kv.h"

namespace rowmax::engine {

// How a page of a layer lies. v_in_k above 0: values are the first so many numbers of the keys, a page is [head][key][dim]
// and one pool is both. (The values are then read as they lie, the keys are turned tile by tile.)
inline KvView page_view(DType dtype, std::int64_t n_kv_head, std::int64_t head_dim, std::int64_t v_in_k) noexcept {
  KvView view = paged_kv(dtype, n_kv_head, head_dim, head_dim);
  if (v_in_k == 0) return view;
  view.v_dim = v_in_k;
  view.k.key_stride = head_dim;
  view.k.dim_stride = 1;
  view.v = view.k;
  return view;
}

// Keys and values of the layers that have them, and how to address them.
struct KvLayers {
  std::vector<KvView> views;  // [n_layer]; n_kv_head 0 for a layer without
  std::vector<void*> keys;    // [n_layer] pools
  std::vector<void*> values;
  std::vector<std::size_t> group_of_layer;  // [n_layer]; of any value for a layer without keys
  std::size_t n_group = 0;
};

// Where the state is copied to as it is behind the first n_row rows of a sequence, for whoever goes on from there.
struct StateCopy {
  std::int64_t n_row = 0;  // 1 or more
  float* to = nullptr;     // RecurrentLayout::n_floats()
};

// Rows of one sequence in a batch: [begin, begin + n_row), at positions [position, position + n_row) of a cache whose
// pages are given, a table for each group of layers with one window; the pages for these positions and for what they see
// exist, others may be -1.
struct ForwardSequence {
  std::int64_t begin = 0;
  std::int64_t n_row = 0;
  std::int64_t position = 0;
  std::span<const std::int32_t* const> pages;  // [n_group]
  SequenceId id = 0;                           // for whoever looks on
  float* state = nullptr;  // RecurrentLayout::n_floats() of the sequence as it is before `position`; is brought forward
  std::span<const StateCopy> copies = {};  // ascending
};

// Brings a state forward: run(begin, end) for the sequence's rows from one copy to the next, copy(to) between.
template <class Run, class Copy>
void run_between_copies(const ForwardSequence& sequence, const Run& run, const Copy& copy) {
  std::int64_t begin = 0;
  for (const StateCopy& each : sequence.copies) {
    if (begin < each.n_row) run(begin, each.n_row);
    copy(each.to);
    begin = each.n_row;
  }
  if (begin < sequence.n_row) run(begin, sequence.n_row);
}

struct ForwardBatch {
  std::span<const TokenId> tokens;  // [n_row]
  std::span<const ForwardSequence> sequences;
  std::span<const std::int32_t> logit_rows;       // rows whose logits are wanted, ascending
  std::span<const std::int32_t> state_rows = {};  // rows of which the final norm's output is wanted, ascending
};

}  // namespace rowmax::engine
