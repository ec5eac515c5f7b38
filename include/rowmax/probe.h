// A look inside attention: what became of single rows between q kᵀ and the result, for people who hunt wrong numbers.
//
// Set AttendArgs::probe. attend() then visits the rows that the probe wants a second time, with the kernel's own code,
// after the results are written; results do not change. Without a probe nothing is paid. f32 arithmetic alone.
//
// The numbers answer these gates: the scale is applied exactly once; the mask exactly once, after it, by taking hidden
// scores for -inf; no exponential exceeds 1; weights are >= 0, finite and add up to 1 (a row without visible keys: to
// 0); the row's result is that of fp64. What the kernel has is held against what it did not compute: dot products and
// the whole row in fp64 from q, K, V and bias as they lie in memory, and MaskPlan::visible().
#pragma once

#include <cstdint>
#include <limits>
#include <span>
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
  // The kernel's scaled score / the dot product in fp64, at the visible key of largest |dot product|; 0 where there is
  // none. scale_error bounds |measured_scale - scale| by the rounding of f32 (larger where products cancel).
  double measured_scale = 0;
  double scale_error = 0;
  double after_mask_mean_square = 0;  // of the finite scores after the mask, in fp64; of the C++ interface alone
  float softcap = 0;
  float sink = 0;  // -inf: none
  // Ranges of scores, NaN left out; empty (+inf, -inf) where no key counts. Before the mask: the keys that some query
  // of the sequence sees through this kv head, hidden from this row or not (for hidden ones without dense bias); after:
  // visible keys alone.
  float raw_min = 0, raw_max = 0;                  // dot products of visible keys, fp64 rounded
  float before_mask_min = 0, before_mask_max = 0;  // after scale, soft cap and bias
  float after_mask_min = 0, after_mask_max = 0;
  // The largest score after the mask of a key that it hides: -inf, or the mask is a finite number or none.
  float hidden_max = -std::numeric_limits<float>::infinity();
  std::int64_t n_hidden_weighted = 0;  // hidden keys whose exponential is not 0
  std::int64_t n_visible_lost = 0;     // visible keys whose score is -inf
  float row_max = 0;                   // the maximum the kernel ended with (with the sink, where there is one)
  float largest_exp = 0;               // of all exponentials of the row's keys; <= 1
  double sum = 0;                      // of the exponentials, as the kernel has it (with the sink, where there is one)
  double weights_sum =
      0;  // of the weights of visible keys, added in fp64; 0 for an empty row, whatever EmptyRows gives
  float smallest_weight = 0;
  std::int64_t n_non_finite_weights = 0;
  std::int64_t first_non_finite_key = -1;
  float lse = 0;
  // What was written against the row in fp64, computed from the definition: of the dimension that is worst in relation
  // to its bound, and of lse. The bounds are those of docs/numerics.md. 0 compared: no finite numbers, or nothing that
  // has one right answer (EmptyRows).
  std::int64_t n_compared = 0;
  std::int64_t out_dim = -1;
  double out_error = 0, out_bound = 0;
  double lse_error = 0, lse_bound = 0;
  int n_edge = 0;  // numbers that follow: min(n_kv, kProbeEdge)
  std::int64_t first_keys[kProbeEdge] = {}, last_keys[kProbeEdge] = {};
  float first_dots[kProbeEdge] = {}, last_dots[kProbeEdge] = {};      // fp64 rounded; NaN: hidden, not read
  float first_scores[kProbeEdge] = {}, last_scores[kProbeEdge] = {};  // after mask; -inf: hidden
  float first_weights[kProbeEdge] = {}, last_weights[kProbeEdge] = {};
};

enum class Gate : std::uint8_t {
  kInconclusive,  // nothing could be compared: not passed
  kPass,
  kFail,
};

// The gates above.
struct ProbeVerdict {
  Gate scale_once = Gate::kInconclusive;  // measured_scale within scale_error of scale
  // Hidden keys' scores are -inf and have no weight, no visible key is lost.
  Gate mask_applied = Gate::kInconclusive;
  Gate exp_in_range = Gate::kInconclusive;  // largest_exp <= 1, no weight below 0
  // All finite, and within (n_kv / 16 + 64) * 2^-23 of 1 (of 1 - the sink's share; 0 for an empty row).
  Gate weights_sum_to_one = Gate::kInconclusive;
  // The result and lse lie within their bounds of fp64. What the gates before cannot see fails here: the scale or a bias
  // applied twice where both agree with each other, a bias before the scale, wrong values, heads or addresses.
  Gate parity = Gate::kInconclusive;

  bool ok() const noexcept;      // all passed
  bool failed() const noexcept;  // one has
};
ProbeVerdict judge(const ProbeRow& row) noexcept;

// The gates in their order.
struct GateInfo {
  const char* name;  // "scale", "mask", "row_max", "sum", "parity"
  Gate ProbeVerdict::*gate;
  const char* asks;     // what must hold
  const char* failing;  // where to look when it does not, given that those before it hold
};
std::span<const GateInfo> gate_table() noexcept;

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
