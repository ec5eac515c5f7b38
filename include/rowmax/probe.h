// A look inside attention: what became of single rows between q kᵀ and the result, for people who hunt wrong numbers.
//
// Set AttendArgs::probe. attend() then visits the rows that the probe wants a second time, with the kernel's own code,
// after the results are written; results do not change. Without a probe nothing is paid.
//
// The numbers answer these gates: the scale is applied exactly once; the mask exactly once, after it; no exponential
// exceeds 1; weights are >= 0, finite and add up to 1 (a row without visible keys: to 0).
#pragma once

#include <cstdint>
#include <string>

#include "rowmax/attention.h"
#include "rowmax/mask.h"

namespace rowmax {

inline constexpr int kProbeEdge = 8;

// One row. "First" and "last" keys are those of the row's sequence in ascending order, hidden ones included.
struct ProbeRow {
  std::int64_t sequence = 0;
  std::int64_t query = 0;  // within the sequence
  std::int64_t head = 0;
  std::int64_t row = 0;       // of q and out
  std::int64_t position = 0;  // of the query
  std::int64_t n_kv = 0;
  std::int64_t n_visible = 0;
  RowStatus status = RowStatus::kOk;

  double scale = 0;  // as given
  double measured_scale =
      0;  // scaled score / raw dot product at the visible key of largest |dot|; 0 when there is none
  float softcap = 0;
  // Ranges of scores; empty (+inf, -inf) where no key counts. Before the mask: the keys that this row's sequence has
  // and some query of the call sees; after: visible keys alone.
  float raw_min = 0, raw_max = 0;                  // dot products of visible keys
  float before_mask_min = 0, before_mask_max = 0;  // after scale, soft cap and bias
  float after_mask_min = 0, after_mask_max = 0;
  float row_max = 0;       // the maximum the kernel ended with
  float largest_exp = 0;   // of all exponentials of the row; <= 1
  double sum = 0;          // of the exponentials, as the kernel has it (with the sink, where there is one)
  double weights_sum = 0;  // of the final weights, added in fp64
  float smallest_weight = 0;
  std::int64_t n_non_finite_weights = 0;
  std::int64_t first_non_finite_key = -1;
  float lse = 0;
  int n_edge = 0;  // numbers that follow: min(n_kv, kProbeEdge)
  std::int64_t first_keys[kProbeEdge] = {}, last_keys[kProbeEdge] = {};
  float first_scores[kProbeEdge] = {}, last_scores[kProbeEdge] = {};  // after everything; -inf: hidden
  float first_weights[kProbeEdge] = {}, last_weights[kProbeEdge] = {};
};

// The gates above as one verdict.
struct ProbeVerdict {
  bool scale_once = false;
  bool mask_applied = false;  // no hidden key has weight, no visible key is lost
  bool exp_in_range = false;
  bool weights_sum_to_one = false;  // within (n_kv / 64 + 64) * 2^-23, or 0 for an empty row; below 1 with a sink
  bool checked = false;             // false: nothing could be compared (no visible key): inconclusive, not passed
  bool ok() const noexcept { return checked && scale_once && mask_applied && exp_in_range && weights_sum_to_one; }
};
ProbeVerdict judge(const ProbeRow& row) noexcept;

class Probe {
 public:
  virtual ~Probe() = default;
  // Which rows to visit; query within the sequence.
  virtual bool wants(std::int64_t sequence, std::int64_t head, std::int64_t query) const noexcept = 0;
  // Called on the thread that called attend(), rows ascending by sequence, query, head.
  virtual void row(const ProbeRow& row) const noexcept = 0;
};

// A row as lines of text for people, and as one line of JSON (non-finite numbers as "inf", "-inf", "nan").
std::string probe_text(const ProbeRow& row);
std::string probe_json(const ProbeRow& row);

}  // namespace rowmax
