#include "doctor/checks/weight_findings.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "base/math/f64.h"
#include "doctor/checks/robust.h"
#include "engine/io/text.h"

namespace rowmax::doctor {
namespace {

using engine::number_text;

std::string short_number(double x) { return number_text(static_cast<double>(static_cast<float>(x))); }

Cause& add(WeightFindings& findings, std::string_view id, const TensorStats& stats, std::string text,
           double confidence) {
  Cause cause;
  cause.id = id;
  cause.place.tensor = stats.name;
  cause.place.layer = stats.layer;
  cause.text = std::move(text);
  cause.command = "rowmax inspect MODEL --all";
  cause.confidence = confidence;
  findings.causes.push_back(std::move(cause));
  return findings.causes.back();
}

// Rows of these belong to tokens, and tokens that were never seen have rows of any kind.
bool rows_are_tokens(const TensorStats& stats) {
  return stats.kind == "token_embd.weight" || stats.kind == "output.weight";
}

void judge_invalid(const TensorStats& stats, WeightFindings& findings) {
  const std::string row = std::to_string(stats.invalid.row);
  if (stats.invalid_col >= 0) {
    const std::string col = std::to_string(stats.invalid_col);
    Cause& cause =
        add(findings, "weight_nonfinite", stats,
            stats.name + " has NaN or infinity in row " + row + ", column " + col + ": the file is damaged.", 0.95);
    cause.evidence = {{"row", row}, {"column", col}};
    return;
  }
  Cause& cause =
      add(findings, "ternary_scale", stats,
          stats.name + ", row " + row + ": expected " + stats.invalid.expected + ", found " + stats.invalid.found +
              ": another type with this number, a quantiser that ran with several threads, or a damaged file.",
          0.9);
  cause.evidence = {{"row", row}, {"expected", stats.invalid.expected}, {"found", stats.invalid.found}};
}

// No weight of a published model comes near: the largest are norm weights of a thousand.
constexpr float kMostOfAnyWeight = 1e6F;
void judge_magnitude(const TensorStats& stats, WeightFindings& findings) {
  const float most = std::max(-stats.low, stats.high);
  // By which converters say of a pair of dimensions that it does not turn (Gemma 4).
  constexpr float kStands = 1e30F;
  if (!(most > kMostOfAnyWeight) || (stats.name == "rope_freqs.weight" && most == kStands && stats.low > 0)) return;
  Cause& cause = add(findings, "weight_corrupt", stats,
                     stats.name + " has a number of " + short_number(most) + ", and no model has one above " +
                         short_number(kMostOfAnyWeight) + ": the tensor is damaged, or of another type.",
                     0.9);
  cause.evidence = {{"largest", short_number(most)}, {"bound", short_number(kMostOfAnyWeight)}};
}

struct ZeroRows {
  std::int64_t n = 0, longest = 0, longest_at = 0, at_end = 0;
};
ZeroRows zero_rows(const TensorStats& stats) {
  ZeroRows out;
  std::int64_t here = 0;
  for (std::int64_t i = 0; i < stats.n_rows(); ++i) {
    here = stats.row_most[static_cast<std::size_t>(i)] == 0 ? here + 1 : 0;
    out.n += here > 0 ? 1 : 0;
    if (here > out.longest) out.longest = here, out.longest_at = i + 1 - here;
  }
  out.at_end = here;
  return out;
}

// Zeros: whole tensors and runs of rows. Padding at the end of a matrix is common (FFNs padded to a multiple of 256:
// 0.4 % of Qwen2.5-72B's), single dead rows occur, unused tokens have no weights.
void judge_zeros(const TensorStats& stats, WeightFindings& findings) {
  if (!stats.is_matrix()) return;
  if (stats.low == stats.high) {
    const bool zero = stats.low == 0;
    add(findings, zero ? "weight_zero" : "weight_corrupt", stats,
        "All numbers of " + stats.name + " are " + short_number(stats.low) +
            (zero ? ": it was not loaded or not converted." : "."),
        0.95);
    return;
  }
  const ZeroRows zeros = zero_rows(stats);
  const std::int64_t n = stats.n_rows();
  const bool padding = zeros.longest == zeros.at_end && zeros.at_end * 20 <= n;
  const bool many = rows_are_tokens(stats) ? zeros.n * 2 > n : (zeros.longest >= 4 || zeros.n * 10 > n) && zeros.n > 1;
  if (!many || (padding && zeros.n * 20 <= n)) return;
  const std::string from = std::to_string(zeros.longest_at * stats.stride);
  Cause& cause = add(findings, "weight_zero", stats,
                     std::to_string(zeros.n) + " of " + std::to_string(n) + " rows of " + stats.name +
                         " that were looked at are zero, " + std::to_string(zeros.longest) + " in a row from row " +
                         from + " on: it was not converted or copied whole.",
                     0.85);
  cause.evidence = {{"zero_rows", std::to_string(zeros.n)}, {"rows", std::to_string(n)}, {"first_row", from}};
}

// Damage: numbers far outside those of the tensor's other rows. Sound models have rows of twenty times the median and
// single weights of a hundred times ("super weights").
void judge_rows(const TensorStats& stats, WeightFindings& findings) {
  if (!stats.is_matrix() || stats.n_rows() < 8) return;
  std::vector<double> sizes;
  for (const float rms : stats.row_rms) {
    if (rms > 0) sizes.push_back(static_cast<double>(rms));
  }
  if (sizes.size() < 8) return;
  const double middle = median(sizes), wide = quantile(sizes, 0.75);
  std::int64_t n = 0, first = -1;
  double worst = 0;
  for (std::size_t i = 0; i < stats.row_rms.size(); ++i) {
    const auto rms = static_cast<double>(stats.row_rms[i]), most = static_cast<double>(stats.row_most[i]);
    const bool row_is_out = rms > 50 * middle && (rms > 8 * wide || (wide > 50 * middle && !rows_are_tokens(stats)));
    const bool number_is_out = most > 1000 * middle && most > 50 * wide;
    if (!row_is_out && !number_is_out) continue;
    if (n++ == 0) first = static_cast<std::int64_t>(i) * stats.stride;
    worst = std::max(worst, most / middle);
  }
  findings.n_compared += stats.n_rows();
  if (n == 0) return;
  Cause& cause = add(findings, "weight_corrupt", stats,
                     std::to_string(n) + " rows of " + stats.name + ", from row " + std::to_string(first) +
                         " on, hold numbers of up to " + short_number(worst) +
                         " times the size of a usual row: its bytes are damaged.",
                     0.9);
  cause.evidence = {
      {"rows", std::to_string(n)}, {"first_row", std::to_string(first)}, {"times_usual", short_number(worst)}};
}

// Long runs of one byte: a hole in the file. Not where rows are tokens, nor padding at a tensor's end.
void judge_runs(const TensorStats& stats, WeightFindings& findings) {
  if (stats.run.begin < 0 || !stats.is_matrix() || rows_are_tokens(stats) || stats.low == stats.high) return;
  const std::int64_t row_bytes = engine::format_row_bytes(*stats.format, stats.cols);
  const std::int64_t n_bytes = row_bytes * stats.rows;
  const bool padding = stats.run.begin + stats.run.size == n_bytes && stats.run.size * 20 <= n_bytes;
  if (padding) return;
  const std::int64_t row = stats.run.begin / row_bytes;
  Cause& cause = add(findings, "weight_corrupt", stats,
                     std::to_string(stats.run.size) + " bytes of " + stats.name + ", from row " + std::to_string(row) +
                         " on, are all " + std::to_string(std::to_integer<int>(stats.run.byte)) +
                         ": a part of the file was not written or not downloaded.",
                     0.8);
  cause.evidence = {{"bytes", std::to_string(stats.run.size)}, {"row", std::to_string(row)}};
}

}  // namespace

void judge_alone(const TensorStats& stats, WeightFindings& findings) {
  findings.n_compared += 5;
  if (stats.invalid.row >= 0) judge_invalid(stats, findings);
  judge_magnitude(stats, findings);
  judge_zeros(stats, findings);
  judge_rows(stats, findings);
  const bool zeros_told = !findings.causes.empty() && findings.causes.back().place.tensor == stats.name &&
                          findings.causes.back().id == "weight_zero";
  if (!zeros_told) judge_runs(stats, findings);
}

void judge_ternary(std::span<const TensorStats> all, WeightFindings& findings) {
  // BitNet's matrices are a quarter to two thirds zeros. A quantiser that takes the sign of weights that were never
  // ternary leaves none.
  std::int64_t n_matrices = 0, n_without = 0;
  const TensorStats* first = nullptr;
  for (const TensorStats& stats : all) {
    if (!stats.is_ternary() || stats.format->tail_bytes == 0 || stats.rms == 0) continue;
    ++n_matrices;
    const bool without = stats.n_zero * 200 < stats.n();
    n_without += without ? 1 : 0;
    if (without && first == nullptr) first = &stats;
  }
  findings.n_compared += n_matrices;
  if (n_matrices == 0 || n_without * 2 < n_matrices) return;
  add(findings, "ternary_scale", *first,
      std::to_string(n_without) + " of " + std::to_string(n_matrices) + " ternary matrices hold hardly a zero (" +
          first->name +
          " and others): they "
          "were quantised from weights that were not ternary, by their signs alone.",
      0.6);
}

namespace {

struct SizeAt {
  const TensorStats* stats;
  double log_rms, predicted = 0, surprise = 0;
  bool edge = false;
};

// How large a surprise must be to be told, in ln of the factor, given how the kind's layers scatter. Measured (scatter,
// largest surprise inside, at the ends):
//   SmolLM2 135M  matrices 0.014 to 0.074, 0.26, 0.98;   norms 0.03 to 0.12, 0.20, 1.8
//   Gemma 3 270M  matrices 0.000 to 0.24, 0.41, 0.49;    norms 0.15 to 0.30, 0.98, 1.6
// Of few layers a small scatter may be chance.
double told_from(const SizeAt& at, double scatter, std::size_t n_layers) {
  if (!at.stats->is_matrix()) return std::max(at.edge ? 4.6 : 1.6, 10 * scatter);
  return std::max(at.edge ? 2.3 : n_layers < 12 ? 0.8 : 0.5, (at.edge ? 14 : 12) * scatter);
}

void judge_kind(std::vector<SizeAt>& layers) {
  const std::size_t n = layers.size();
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<double> near;
    for (std::size_t j = i < 3 ? 0 : i - 3; j < std::min(n, i + 4); ++j) {
      if (j != i) near.push_back(layers[j].log_rms);
    }
    layers[i].predicted = median(near);
    layers[i].surprise = layers[i].log_rms - layers[i].predicted;
    const std::size_t n_edge = 2 + n / 16;
    layers[i].edge = i < n_edge || i + n_edge >= n;
  }
}

}  // namespace

void judge_sizes(std::span<const TensorStats> all, WeightFindings& findings) {
  std::map<std::string, std::vector<SizeAt>> kinds;
  for (const TensorStats& stats : all) {
    // Biases have no size of their own, and constants of recurrent layers no common one.
    const bool told =
        std::ranges::any_of(findings.causes, [&](const Cause& cause) { return cause.place.tensor == stats.name; });
    const bool plain =
        !told && stats.layer >= 0 && stats.rms > 0 && std::isfinite(stats.rms) && stats.kind.ends_with(".weight");
    if (plain) kinds[stats.kind].push_back({&stats, base::log_f64(stats.rms)});
  }
  std::map<std::int64_t, std::vector<double>> by_layer;
  for (auto& [kind, layers] : kinds) {
    std::ranges::sort(layers, {}, [](const SizeAt& at) { return at.stats->layer; });
    if (layers.size() < 5) continue;
    judge_kind(layers);
    for (const SizeAt& at : layers) by_layer[at.stats->layer].push_back(at.surprise);
  }
  for (const auto& [kind, layers] : kinds) {
    if (layers.size() < 5) continue;
    std::vector<double> surprises;
    for (const SizeAt& at : layers) surprises.push_back(at.surprise);
    const double scatter = std::max(median_deviation(surprises), 0.02);
    findings.n_compared += std::ssize(layers);
    for (const SizeAt& at : layers) {
      // A layer that differs as a whole is another layer, no fault of a tensor.
      const double own = at.surprise - median(by_layer[at.stats->layer]);
      const double limit = told_from(at, scatter, layers.size());
      if (std::fabs(at.surprise) < limit || std::fabs(own) < limit) continue;
      const bool ternary = at.stats->is_ternary();
      const double factor = base::exp_f64(at.surprise);
      Cause& cause = add(findings, ternary ? "ternary_scale" : "weight_scaled", *at.stats,
                         at.stats->name + " is " + short_number(factor) +
                             " times as large as the same matrix of the layers around it" +
                             (ternary ? ": its scale is wrong." : ": it was scaled."),
                         0.7);
      cause.evidence = {{"factor", short_number(factor)},
                        {"rms", short_number(at.stats->rms)},
                        {"rms_around", short_number(base::exp_f64(at.predicted))}};
    }
  }
}

}  // namespace rowmax::doctor
