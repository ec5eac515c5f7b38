#include "attention/probe.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/fp_env.h"
#include "base/math/f64.h"
#include "rowmax/probe.h"

namespace rowmax {
namespace attention {
namespace {

ProbeRow show_row(const CallArgs& call, const MaskPlan& plan, const AttendKernel& kernel, const PlanSequence& s,
                  std::int64_t query, std::int64_t head, const Scratch& scratch, int n_rows) {
  const base::ScopedFpEnv fp_env;
  ProbeRow row;
  row.sequence = s.source;
  row.query = s.q_first + query;
  row.head = head;
  row.row = s.q_begin + query;
  row.position = query_position(s, query);
  row.n_kv = s.n_kv;
  row.n_edge = static_cast<int>(min_i64(s.n_kv, kProbeEdge));
  BlockArgs block{};
  block.sequence = &s;
  block.kv = &call.args->sequences[static_cast<std::size_t>(s.source)];
  block.kv_head = head / call.group;
  block.row_begin = query * call.group + head % call.group;
  block.n_rows = 1;
  block.split_end = s.kv_begin < s.kv_end ? (s.kv_end - s.anchor + kSplitKeys - 1) / kSplitKeys : 0;
  kernel.probe_row(call, block, plan, n_rows, scratch, &row);
  return row;
}

}  // namespace

void show_rows(const CallArgs& call, const MaskPlan& plan, const AttendKernel& kernel, const Scratch& scratch,
               int n_rows) {
  const MaskPlan::Impl& impl = *plan.impl();
  const Probe& probe = *call.args->probe;
  for (std::int64_t k = 0; k < impl.n_sequences; ++k) {
    const PlanSequence& s = impl.sequences[k];
    for (std::int64_t i = 0; i < s.n_q; ++i) {
      for (std::int64_t h = 0; h < impl.n_head; ++h) {
        if (!probe.wants(s.source, h, s.q_first + i)) continue;
        probe.row(show_row(call, plan, kernel, s, i, h, scratch, n_rows));
      }
    }
  }
}

namespace {

Gate gate(bool pass) noexcept { return pass ? Gate::kPass : Gate::kFail; }

// Rounding hides a factor of 1.25 or more: nothing can be said.
constexpr double kMostScaleError = 0.25;

Gate judge_scale(const ProbeRow& row) noexcept {
  if (row.n_visible == 0 || row.scale_error == 0.0 || !std::isfinite(row.measured_scale)) return Gate::kInconclusive;
  if (row.scale_error > kMostScaleError * std::fabs(row.scale)) return Gate::kInconclusive;
  return gate(std::fabs(row.measured_scale - row.scale) <= row.scale_error);
}

Gate judge_sum(const ProbeRow& row) noexcept {
  if (row.n_visible == 0) return gate(row.weights_sum == 0.0);
  const double share = std::isinf(row.sink)
                           ? 0.0
                           : base::exp_f64(static_cast<double>(row.sink) - static_cast<double>(row.row_max)) / row.sum;
  const double tolerance = (static_cast<double>(row.n_kv) / 16 + 64) * 0x1p-23;
  return gate(row.n_non_finite_weights == 0 && std::fabs(row.weights_sum - (1.0 - share)) <= tolerance);
}

Gate judge_parity(const ProbeRow& row) noexcept {
  if (row.n_compared == 0 || row.status == RowStatus::kOverflow) return Gate::kInconclusive;
  return gate(row.out_error <= row.out_bound && row.lse_error <= row.lse_bound);
}

const char* word(Gate gate) noexcept {
  return gate == Gate::kPass ? "PASS" : gate == Gate::kFail ? "FAIL" : "INCONCLUSIVE";
}

const char* word(RowStatus status) noexcept {
  switch (status) {
    case RowStatus::kOk: return "ok";
    case RowStatus::kEmpty: return "empty";
    case RowStatus::kNonFinite: return "non_finite";
    case RowStatus::kOverflow: return "overflow";
  }
  return "unknown";
}

// The shortest text that reads back as the same number, whatever the locale.
template <class Float>
std::string number(Float x) {
  if (std::isnan(x)) return "nan";
  if (std::isinf(x)) return x > 0 ? "inf" : "-inf";
  char text[64];
  const std::to_chars_result end = std::to_chars(text, text + sizeof text, x);
  return {text, end.ptr};
}

// For people: six digits.
std::string shown(double x) {
  if (!std::isfinite(x)) return number(x);
  char text[64];
  const std::to_chars_result end = std::to_chars(text, text + sizeof text, x, std::chars_format::general, 6);
  return {text, end.ptr};
}

std::string padded(std::string text, std::size_t width) {
  if (text.size() < width) text.insert(0, width - text.size(), ' ');
  return text;
}

std::string range(float low, float high) {
  if (low > high) return "none";
  return shown(static_cast<double>(low)) + " .. " + shown(static_cast<double>(high));
}

// One line of eight numbers.
template <class Numbers>
std::string edge(const char* name, const Numbers& numbers, int n) {
  std::string line = name;
  for (int i = 0; i < n; ++i) line += " " + padded(shown(static_cast<double>(numbers[i])), 12);
  return line + "\n";
}

// Members of one JSON object.
class Json {
 public:
  void text(const char* name, const std::string& value) { add(name, "\"" + value + "\""); }
  void integer(const char* name, std::int64_t value) { add(name, std::to_string(value)); }
  template <class Float>
  void real(const char* name, Float value) {
    add(name, quoted(value));
  }
  template <class Numbers>
  void reals(const char* name, const Numbers& numbers, int n) {
    std::string list = "[";
    for (int i = 0; i < n; ++i) list += (i == 0 ? "" : ",") + quoted(numbers[i]);
    add(name, list + "]");
  }
  void integers(const char* name, const std::int64_t* numbers, int n) {
    std::string list = "[";
    for (int i = 0; i < n; ++i) list += (i == 0 ? "" : ",") + std::to_string(numbers[i]);
    add(name, list + "]");
  }
  std::string close() { return body_ + "}"; }

 private:
  template <class Float>
  static std::string quoted(Float x) {
    return std::isfinite(x) ? number(x) : "\"" + number(x) + "\"";
  }
  void add(const char* name, const std::string& value) {
    body_ += body_.empty() ? "{" : ",";
    body_ += "\"" + std::string(name) + "\":" + value;
  }

  std::string body_;
};

}  // namespace
}  // namespace attention

ProbeVerdict judge(const ProbeRow& row) noexcept {
  using namespace attention;
  ProbeVerdict verdict;
  if (row.n_kv == 0) return verdict;
  verdict.scale_once = judge_scale(row);
  verdict.mask_applied =
      gate(row.n_hidden_weighted == 0 && row.n_visible_lost == 0 && std::isinf(row.hidden_max) && row.hidden_max < 0);
  if (row.n_visible > 0) verdict.exp_in_range = gate(row.largest_exp <= 1.0f && row.smallest_weight >= 0.0f);
  verdict.weights_sum_to_one = judge_sum(row);
  verdict.parity = judge_parity(row);
  return verdict;
}

std::span<const GateInfo> gate_table() noexcept {
  static constexpr GateInfo kGates[] = {
      {.name = "scale",
       .gate = &ProbeVerdict::scale_once,
       .asks = "scores are q k times the scale, once",
       .failing = "one scaling: look for a second factor in q, K or the kernel, none at all, or a scale of another "
                  "head_dim"},
      {.name = "mask",
       .gate = &ProbeVerdict::mask_applied,
       .asks = "hidden keys' scores are -inf after the scale, visible ones are untouched",
       .failing = "mask after the scale, one sentinel (-inf), once: look for the offset of the query's position, for "
                  "the window's edge, for a mask that is added or multiplied"},
      {.name = "row_max",
       .gate = &ProbeVerdict::exp_in_range,
       .asks = "the maximum is subtracted before the exponential: none exceeds 1",
       .failing = "the row's maximum before exp: of all visible keys, from -inf on, in f32 or wider"},
      {.name = "sum",
       .gate = &ProbeVerdict::weights_sum_to_one,
       .asks = "weights are finite and add up to 1",
       .failing = "exp, sum, division in this order and in f32 or wider; the query's own key belongs to the sum"},
      {.name = "parity",
       .gate = &ProbeVerdict::parity,
       .asks = "the result is that of fp64 from q, K and V as they lie in memory",
       .failing = "scores and weights hold, so the fault is behind them: values, their addresses and heads, the sum "
                  "over them; where this passes, too, go on to the output product"},
  };
  return kGates;
}

bool ProbeVerdict::ok() const noexcept {
  return std::ranges::all_of(gate_table(), [this](const GateInfo& info) { return this->*info.gate == Gate::kPass; });
}

bool ProbeVerdict::failed() const noexcept {
  return std::ranges::any_of(gate_table(), [this](const GateInfo& info) { return this->*info.gate == Gate::kFail; });
}

std::string probe_text(const ProbeRow& row) {
  using namespace attention;
  const ProbeVerdict verdict = judge(row);
  std::string text = "sequence " + std::to_string(row.sequence) + ", head " + std::to_string(row.head) + ", query " +
                     std::to_string(row.query) + " (row " + std::to_string(row.row) + ", position " +
                     std::to_string(row.position) + "): " + word(row.status) + ", " + std::to_string(row.n_visible) +
                     " of " + std::to_string(row.n_kv) + " keys visible\n";
  const auto line = [&text](const char* name, const std::string& value, const char* verdict_word) {
    std::string padded_value = value;
    if (padded_value.size() < 60) padded_value.append(60 - padded_value.size(), ' ');
    text += std::string("  ") + name + (verdict_word != nullptr ? padded_value + " " + verdict_word : value) + "\n";
  };
  line("scale        ", shown(row.scale) + ", measured " + shown(row.measured_scale) + " +- " + shown(row.scale_error),
       word(verdict.scale_once));
  line("mask         ",
       "hidden keys " + shown(static_cast<double>(row.hidden_max)) + ", " + std::to_string(row.n_hidden_weighted) +
           " with weight; " + std::to_string(row.n_visible_lost) + " visible ones lost",
       word(verdict.mask_applied));
  line("row max      ",
       shown(static_cast<double>(row.row_max)) + ", largest exp " + shown(static_cast<double>(row.largest_exp)) +
           ", smallest weight " + shown(static_cast<double>(row.smallest_weight)),
       word(verdict.exp_in_range));
  line("sum          ",
       "of weights " + number(row.weights_sum) + ", " + std::to_string(row.n_non_finite_weights) + " not finite" +
           (row.first_non_finite_key < 0 ? "" : ", first at key " + std::to_string(row.first_non_finite_key)),
       word(verdict.weights_sum_to_one));
  line("parity       ",
       row.n_compared == 0 ? "nothing to compare"
                           : "off by " + shown(row.out_error) + " of " + shown(row.out_bound) + " (lse " +
                                 shown(row.lse_error) + " of " + shown(row.lse_bound) + ")",
       word(verdict.parity));
  line("dot products ", range(row.raw_min, row.raw_max), nullptr);
  line("before mask  ", range(row.before_mask_min, row.before_mask_max), nullptr);
  line("after mask   ", range(row.after_mask_min, row.after_mask_max), nullptr);
  line("softmax      ",
       "sum of exps " + shown(row.sum) + ", lse " + shown(static_cast<double>(row.lse)) + ", soft cap " +
           shown(static_cast<double>(row.softcap)) + ", sink " + shown(static_cast<double>(row.sink)),
       nullptr);
  text += edge("  first keys   ", row.first_keys, row.n_edge) + edge("    dots       ", row.first_dots, row.n_edge) +
          edge("    scores     ", row.first_scores, row.n_edge) +
          edge("    weights    ", row.first_weights, row.n_edge);
  text += edge("  last keys    ", row.last_keys, row.n_edge) + edge("    dots       ", row.last_dots, row.n_edge) +
          edge("    scores     ", row.last_scores, row.n_edge) + edge("    weights    ", row.last_weights, row.n_edge);
  return text;
}

std::string probe_json(const ProbeRow& row) {
  using namespace attention;
  const ProbeVerdict verdict = judge(row);
  Json json;
  json.integer("sequence", row.sequence);
  json.integer("query", row.query);
  json.integer("head", row.head);
  json.integer("row", row.row);
  json.integer("position", row.position);
  json.integer("n_kv", row.n_kv);
  json.integer("n_visible", row.n_visible);
  json.text("status", word(row.status));
  json.text("scale_once", word(verdict.scale_once));
  json.text("mask_applied", word(verdict.mask_applied));
  json.text("exp_in_range", word(verdict.exp_in_range));
  json.text("weights_sum_to_one", word(verdict.weights_sum_to_one));
  json.text("parity", word(verdict.parity));
  json.real("scale", row.scale);
  json.real("measured_scale", row.measured_scale);
  json.real("scale_error", row.scale_error);
  json.real("softcap", row.softcap);
  json.real("sink", row.sink);
  json.real("raw_min", row.raw_min);
  json.real("raw_max", row.raw_max);
  json.real("before_mask_min", row.before_mask_min);
  json.real("before_mask_max", row.before_mask_max);
  json.real("after_mask_min", row.after_mask_min);
  json.real("after_mask_max", row.after_mask_max);
  json.real("hidden_max", row.hidden_max);
  json.integer("n_hidden_weighted", row.n_hidden_weighted);
  json.integer("n_visible_lost", row.n_visible_lost);
  json.real("row_max", row.row_max);
  json.real("largest_exp", row.largest_exp);
  json.real("sum", row.sum);
  json.real("weights_sum", row.weights_sum);
  json.real("smallest_weight", row.smallest_weight);
  json.integer("n_non_finite_weights", row.n_non_finite_weights);
  json.integer("first_non_finite_key", row.first_non_finite_key);
  json.real("lse", row.lse);
  json.integer("n_compared", row.n_compared);
  json.integer("out_dim", row.out_dim);
  json.real("out_error", row.out_error);
  json.real("out_bound", row.out_bound);
  json.real("lse_error", row.lse_error);
  json.real("lse_bound", row.lse_bound);
  json.integers("first_keys", row.first_keys, row.n_edge);
  json.reals("first_dots", row.first_dots, row.n_edge);
  json.reals("first_scores", row.first_scores, row.n_edge);
  json.reals("first_weights", row.first_weights, row.n_edge);
  json.integers("last_keys", row.last_keys, row.n_edge);
  json.reals("last_dots", row.last_dots, row.n_edge);
  json.reals("last_scores", row.last_scores, row.n_edge);
  json.reals("last_weights", row.last_weights, row.n_edge);
  return json.close();
}

}  // namespace rowmax
