// The rows of a block: which query and head each is, which keys they may see, what becomes of them. Integers and
// bookkeeping alone; shared by the f32, the f64 and the softmax kernel.
#pragma once

#include "attention/kernels/call.h"

namespace rowmax::attention {
namespace {

constexpr float kInfinity = __builtin_inff();
constexpr float kNaN = __builtin_bit_cast(float, 0x7FC00000u);

// Where the keys of a block's rows lie, to tell empty and full tiles without looking at rows.
struct BlockSpans {
  std::int64_t begin0_min, begin0_max, end0_min, end0_max;
  std::int64_t begin1_min, begin1_max, end1_min, end1_max;

  // Some row may see a key of [begin, end).
  bool touches(std::int64_t begin, std::int64_t end) const noexcept {
    return (begin0_min < end && end0_max > begin) || (begin1_min < end && end1_max > begin);
  }
  // All rows see all keys of [begin, end).
  bool covers(std::int64_t begin, std::int64_t end) const noexcept {
    return (begin0_max <= begin && end0_min >= end) || (begin1_max <= begin && end1_min >= end);
  }
};

struct Row {
  std::int64_t query;  // within the PlanSequence
  std::int64_t head;   // query head
};

inline Row row_of(const CallArgs& call, const BlockArgs& block, int r) noexcept {
  const std::int64_t row = block.row_begin + r;
  const std::int64_t query = row / call.group;
  return {query, block.kv_head * call.group + (row - query * call.group)};
}

inline BlockSpans find_spans(const CallArgs& call, const BlockArgs& block, RowSpans* spans) noexcept {
  BlockSpans all{};
  std::int64_t query = block.row_begin / call.group;
  std::int64_t in_group = block.row_begin % call.group;
  for (int r = 0; r < block.n_rows; ++r, ++in_group) {
    if (in_group == call.group) {
      in_group = 0;
      ++query;
    } else if (r > 0) {
      spans[r] = spans[r - 1];
      continue;
    }
    const RowSpans row = row_spans(*block.sequence, query);
    spans[r] = row;
    if (r == 0) {
      all = {row.begin0, row.begin0, row.end0, row.end0, row.begin1, row.begin1, row.end1, row.end1};
      continue;
    }
    all.begin0_min = min_i64(all.begin0_min, row.begin0);
    all.begin0_max = max_i64(all.begin0_max, row.begin0);
    all.end0_min = min_i64(all.end0_min, row.end0);
    all.end0_max = max_i64(all.end0_max, row.end0);
    all.begin1_min = min_i64(all.begin1_min, row.begin1);
    all.begin1_max = max_i64(all.begin1_max, row.begin1);
    all.end1_min = min_i64(all.end1_min, row.end1);
    all.end1_max = max_i64(all.end1_max, row.end1);
  }
  return all;
}

// The row of q and out of a block's row.
inline std::int64_t packed_row(const BlockArgs& block, const Row& row) noexcept {
  return block.sequence->q_begin + row.query;
}

inline float sink_of(const AttendArgs& args, std::int64_t head) noexcept {
  return args.sinks != nullptr ? args.sinks[head] : -kInfinity;
}

// Whether anything is added to the scores of a block.
inline bool adds_bias(const CallArgs& call, const BlockArgs& block) noexcept {
  return block.kv->bias != nullptr || call.distance_bias;
}

inline std::uint32_t status_bit(RowStatus status) noexcept { return 1u << static_cast<int>(status); }
inline constexpr std::uint32_t kFaultBits =
    (1u << static_cast<int>(RowStatus::kNonFinite)) | (1u << static_cast<int>(RowStatus::kOverflow));

inline void count_row(RowStatus status, std::int64_t row, std::int64_t head, BlockCounts* counts) noexcept {
  counts->empty += status == RowStatus::kEmpty;
  counts->non_finite += status == RowStatus::kNonFinite;
  counts->overflow += status == RowStatus::kOverflow;
  if ((status_bit(status) & kFaultBits) != 0 && fault_before(row, head, counts->fault_row, counts->fault_head)) {
    counts->fault_row = row;
    counts->fault_head = head;
  }
}

}  // namespace
}  // namespace rowmax::attention
