// Columns of all matrices that read one normed stream belong to the same channels, and so do rows of all that write
// it: their sizes rise and fall together. A square matrix whose rows do that in place of its columns is transposed.
// Profiles along the stream do not tell one layer's matrix from another's: in SmolLM2 many fit other layers better than
// their own. Those along an FFN's neurons do.
#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "base/math/f64.h"
#include "doctor/checks/robust.h"
#include "doctor/checks/weight_findings.h"
#include "engine/io/text.h"

namespace rowmax::doctor {
namespace {

using Profile = std::vector<double>;

// Logarithms of sizes, standardised; empty where a size is 0 or not known.
Profile profile(const std::vector<float>& sizes) {
  Profile out;
  for (const float size : sizes) {
    if (!(size > 0) || !std::isfinite(size)) return {};
    out.push_back(base::log_f64(static_cast<double>(size)));
  }
  standardise(out);
  return out;
}

struct Shown {
  const TensorStats* stats = nullptr;
  Profile rows, cols;
};
using Layers = std::map<std::int64_t, Shown>;

constexpr std::string_view kAttentionReaders[] = {"attn_q.weight", "attn_k.weight", "attn_v.weight"};
constexpr std::string_view kFfnReaders[] = {"ffn_gate.weight", "ffn_up.weight"};
constexpr std::string_view kWriters[] = {"attn_output.weight", "ffn_down.weight"};

struct Model {
  std::map<std::string, Layers, std::less<>> kinds;
  std::int64_t n_embd = 0;

  const Shown* find(std::string_view kind, std::int64_t layer) const {
    const auto layers = kinds.find(kind);
    if (layers == kinds.end()) return nullptr;
    const auto at = layers->second.find(layer);
    return at == layers->second.end() ? nullptr : &at->second;
  }
};

Model shown(std::span<const TensorStats> all) {
  Model model;
  for (const TensorStats& stats : all) {
    if (stats.kind == "token_embd.weight") model.n_embd = stats.cols;
    if (stats.layer < 0 || !stats.is_matrix() || stats.invalid.row >= 0) continue;
    // Sizes of rows are those of the channels only where all were looked at.
    model.kinds[stats.kind][stats.layer] = {&stats, stats.stride == 1 ? profile(stats.row_rms) : Profile(),
                                            profile(stats.col_rms)};
  }
  return model;
}

// The mean profile along the stream of others near by: columns of readers, rows of writers. Empty: of none.
Profile stream_near(const Model& model, std::int64_t layer, bool readers, const TensorStats* but) {
  Profile sum(static_cast<std::size_t>(model.n_embd));
  std::int64_t n = 0;
  const auto take = [&](std::string_view kind, std::int64_t at) {
    const Shown* found = model.find(kind, at);
    if (found == nullptr || found->stats == but) return;
    const Profile& one = readers ? found->cols : found->rows;
    if (std::ssize(one) != model.n_embd) return;
    for (std::size_t k = 0; k < one.size(); ++k) sum[k] += one[k];
    ++n;
  };
  for (std::int64_t at = layer - 1; at <= layer + 1; ++at) {
    if (readers) {
      for (const std::string_view kind : kAttentionReaders) take(kind, at);
      for (const std::string_view kind : kFfnReaders) take(kind, at);
    } else {
      for (const std::string_view kind : kWriters) take(kind, at);
    }
  }
  if (n < 3) return {};
  standardise(sum);
  return sum;
}

struct Fit {
  double as_is = 0, transposed = 0;
};

// Square matrices alone: others would have the wrong shape.
void judge_transposed(const Model& model, WeightFindings& findings) {
  // The correlation of n independent pairs scatters by 1/sqrt(n). SmolLM2 135M (n 576): along the stream -0.4 to 0.97 (of
  // outputs most above 0.7), across it within 0.08 everywhere.
  const double least = std::max(0.3, 6.5 / std::sqrt(static_cast<double>(model.n_embd)));
  std::map<std::int64_t, std::vector<std::pair<const TensorStats*, Fit>>> found;
  for (const auto& [kind, readers] : {std::pair{"attn_q.weight", true}, std::pair{"attn_k.weight", true},
                                      std::pair{"attn_v.weight", true}, std::pair{"attn_output.weight", false}}) {
    const auto layers = model.kinds.find(std::string_view(kind));
    if (layers == model.kinds.end()) continue;
    for (const auto& [layer, one] : layers->second) {
      if (std::ssize(one.rows) != model.n_embd || std::ssize(one.cols) != model.n_embd) continue;
      const Profile stream = stream_near(model, layer, readers, one.stats);
      if (stream.empty()) continue;
      const Fit fit{correlation(readers ? one.cols : one.rows, stream),
                    correlation(readers ? one.rows : one.cols, stream)};
      ++findings.n_compared;
      if (fit.transposed > least && fit.transposed - fit.as_is > 0.25) found[layer].emplace_back(one.stats, fit);
    }
  }
  for (const auto& [layer, matrices] : found) {
    const bool pair = matrices.size() == 2 && (matrices[1].first->kind == "attn_output.weight");
    for (const auto& [stats, fit] : matrices) {
      Cause cause;
      cause.id = "weight_transposed";
      cause.place.tensor = stats->name;
      cause.place.layer = layer;
      cause.text = "The " + std::string(stats->kind == "attn_output.weight" ? "columns" : "rows") + " of " +
                   stats->name + " follow the channels that its " +
                   (stats->kind == "attn_output.weight" ? "rows" : "columns") +
                   " should follow: it is stored transposed.";
      if (pair) {
        cause.id = "weight_swapped";
        cause.text = matrices[0].first->name + " and " + matrices[1].first->name + " stand in each other's place.";
      }
      cause.evidence = {{"correlation", engine::number_text(static_cast<float>(fit.as_is))},
                        {"correlation_transposed", engine::number_text(static_cast<float>(fit.transposed))}};
      cause.command = "rowmax inspect MODEL --all";
      cause.confidence = 0.8;
      findings.causes.push_back(std::move(cause));
    }
  }
}

// Two kinds of one shape exchanged in one layer: the ratio of their sizes is turned over there.
void judge_exchanged_kinds(const Model& model, std::string_view one, std::string_view other, WeightFindings& findings) {
  struct Ratio {
    std::int64_t layer;
    double found, around = 0;
  };
  std::vector<Ratio> ratios;
  const auto layers = model.kinds.find(one);
  if (layers == model.kinds.end()) return;
  for (const auto& [layer, a] : layers->second) {
    const Shown* b = model.find(other, layer);
    if (b == nullptr || a.stats->rows != b->stats->rows || a.stats->cols != b->stats->cols || !(a.stats->rms > 0) ||
        !(b->stats->rms > 0))
      continue;
    ratios.push_back({layer, base::log_f64(a.stats->rms / b->stats->rms)});
  }
  if (ratios.size() < 8) return;
  std::vector<double> surprises;
  for (std::size_t i = 0; i < ratios.size(); ++i) {
    std::vector<double> near;
    for (std::size_t j = i < 3 ? 0 : i - 3; j < std::min(ratios.size(), i + 4); ++j) {
      if (j != i) near.push_back(ratios[j].found);
    }
    ratios[i].around = median(near);
    surprises.push_back(ratios[i].found - ratios[i].around);
  }
  const double scatter = std::max(0.02, median_deviation(surprises));
  findings.n_compared += std::ssize(ratios);
  for (std::size_t i = 2; i + 2 < ratios.size(); ++i) {  // the ends differ by nature
    const Ratio& at = ratios[i];
    const bool told =
        std::fabs(2 * at.around) > std::max(10 * scatter, 0.5) && std::fabs(at.found + at.around) < 3 * scatter;
    if (!told) continue;
    const TensorStats* a = model.find(one, at.layer)->stats;
    const TensorStats* b = model.find(other, at.layer)->stats;
    Cause cause;
    cause.id = "weight_swapped";
    cause.place.tensor = a->name;
    cause.place.layer = at.layer;
    cause.text = a->name + " and " + b->name +
                 " stand in each other's place: the ratio of their sizes is turned over in this layer alone.";
    cause.evidence = {{"other", b->name},
                      {"ratio", engine::number_text(static_cast<float>(base::exp_f64(at.found)))},
                      {"ratio_around", engine::number_text(static_cast<float>(base::exp_f64(at.around)))}};
    cause.command = "rowmax inspect MODEL --all";
    cause.confidence = 0.6;
    findings.causes.push_back(std::move(cause));
  }
}

// Sizes of a layer's neurons: rows of what makes them, columns of what reads them. They are that layer's own, in an order
// that nothing gives but training: matrices of two layers never agree. SmolLM2 135M (n 1536): up and down of one layer 0.43
// to 0.95, gate with either -0.36 to 0.32, any two layers within 0.11; small trained models 0.6 to 0.98 and within 0.2.
struct Neurons {
  const TensorStats* stats = nullptr;
  Profile sizes;
};
std::map<std::int64_t, Neurons> neurons_of(const Model& model, std::string_view kind, std::int64_t stride) {
  std::map<std::int64_t, Neurons> out;
  const auto layers = model.kinds.find(kind);
  if (layers == model.kinds.end()) return out;
  for (const auto& [layer, one] : layers->second) {
    const bool reads = kind == "ffn_down.weight";
    if (!reads && one.stats->stride != stride) continue;
    std::vector<float> sizes = one.stats->row_rms;
    if (reads) {
      sizes.clear();
      for (std::int64_t k = 0; k < one.stats->cols; k += stride) {
        sizes.push_back(one.stats->col_rms[static_cast<std::size_t>(k)]);
      }
    }
    Profile found = profile(sizes);
    if (!found.empty()) out[layer] = {one.stats, std::move(found)};
  }
  return out;
}

void judge_neurons(const Model& model, WeightFindings& findings) {
  constexpr std::string_view kKinds[] = {"ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"};
  const auto first = model.kinds.find("ffn_up.weight");
  if (first == model.kinds.end()) return;
  const std::int64_t stride = first->second.begin()->second.stats->stride;
  std::vector<std::map<std::int64_t, Neurons>> kinds;
  for (const std::string_view kind : kKinds) kinds.push_back(neurons_of(model, kind, stride));
  // How well a matrix goes with the two others of a layer.
  const auto fit = [&](std::size_t kind, const Profile& sizes, std::int64_t layer) {
    double most = 0;
    for (std::size_t other = 0; other < kinds.size(); ++other) {
      const auto at = kinds[other].find(layer);
      if (other == kind || at == kinds[other].end() || at->second.sizes.size() != sizes.size()) continue;
      most = std::max(most, correlation(sizes, at->second.sizes));
    }
    return most;
  };
  for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
    for (const auto& [layer, one] : kinds[kind]) {
      const double own = fit(kind, one.sizes, layer);
      double best = 0;
      std::int64_t best_layer = layer;
      for (const auto& [other, unused] : kinds[kind]) {
        const double found = other == layer ? 0 : fit(kind, one.sizes, other);
        if (found > best) best = found, best_layer = other;
      }
      ++findings.n_compared;
      const double least = std::max(0.35, 8 / std::sqrt(static_cast<double>(one.sizes.size())));
      if (best < least || own > best / 2) continue;
      Cause cause;
      cause.id = "weight_swapped";
      cause.place.tensor = one.stats->name;
      cause.place.layer = layer;
      cause.text = "The neurons of " + one.stats->name + " have the sizes of those of layer " +
                   std::to_string(best_layer) + ", and not those of their own: it is that layer's tensor.";
      cause.evidence = {{"correlation", engine::number_text(static_cast<float>(own))},
                        {"of_layer", std::to_string(best_layer)},
                        {"correlation_there", engine::number_text(static_cast<float>(best))}};
      cause.command = "rowmax inspect MODEL --all";
      cause.confidence = 0.8;
      findings.causes.push_back(std::move(cause));
    }
  }
}

}  // namespace

void judge_profiles(std::span<const TensorStats> all, WeightFindings& findings) {
  const Model model = shown(all);
  if (model.n_embd == 0) return;
  judge_transposed(model, findings);
  judge_exchanged_kinds(model, "attn_k.weight", "attn_v.weight", findings);
  judge_exchanged_kinds(model, "ffn_gate.weight", "ffn_up.weight", findings);
  judge_neurons(model, findings);
}

}  // namespace rowmax::doctor
