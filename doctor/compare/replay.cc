#include "doctor/compare/replay.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "base/math/f64.h"
#include "doctor/compare/solve.h"
#include "doctor/compare/variants.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

// A variant explains a stage where it leaves no more than the tolerance, and no more than this part of the difference:
// noise beside the tolerance must not name a cause.
constexpr double kMostLeft = 0.25;
constexpr int kMostExplanations = 3;
constexpr double kNothingLeft = 2e-6;

std::optional<double> number_in(std::string_view text) {
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1e", value);
  return text;
}

// "attn_norm: weight + 1" -> "attn_norm: theirs = ours with weight + 1"
std::string text_of(const std::string& edit) {
  const std::size_t colon = edit.rfind(": ");
  const std::string place = colon == std::string::npos ? "" : edit.substr(0, colon + 2);
  const std::string what = edit.substr(place.size());
  return place + "theirs = ours " + (what.starts_with("without") ? "" : "with ") + what;
}

// Where a number is looked for; nothing for facts that are none. Factors that theirs is ours by are a hint.
std::optional<NumberSearch> number_search(const engine::EditableFact& fact, std::int64_t n_token,
                                          double pattern_scale) {
  const auto now = number_in(fact.value);
  if (!now) return std::nullopt;
  NumberSearch search;
  const auto around = [&](double factor) {
    if (!(*now > 0)) return false;
    search.low = *now / factor;
    search.high = *now * factor;
    search.n_grid = 33;
    return true;
  };
  const std::string_view name = fact.name;
  if (name == "rms_norm_eps") {
    search.low = 1e-12, search.high = 1, search.n_grid = 37;
  } else if (name == "attention_softcap" || name == "final_softcap") {
    search.low = 0.5, search.high = 2000, search.n_grid = 31;
  } else if (name == "rope_base") {
    // The later the tokens, the more turns between neighbours.
    search.low = 10, search.high = 1e9;
    search.n_grid = static_cast<int>(41 + std::min<std::int64_t>(n_token, 300));
  } else if (name == "attention_scale" || name == "embedding_scale" || name == "residual_scale" ||
             name == "logit_scale" || name == "rope_magnitude") {
    if (!around(256)) return std::nullopt;
    search.hint = *now * std::max(pattern_scale, 0.0);
  } else if (name == "rope_scale" || name == "expert_scale") {
    if (!around(64)) return std::nullopt;
  } else {
    return std::nullopt;
  }
  return search;
}

// What a variant makes of the stages that diverged.
struct Judgement {
  std::vector<std::size_t> fixed;  // indices of stages
  int gain = 0;                    // stages that agree now, less those of the same layers that no longer do
  double residual = 0;             // the worst of those like the first
  double left = 0;                 // mean of log(residual) of all that are fixed
};

class Replay {
 public:
  Replay(const engine::Model& model, const Reference& reference, const ForcedOptions& base,
         std::span<const StageDifference> differences, const CompareOptions& options, Executor& executor)
      : model_(model),
        reference_(reference),
        base_(base),
        differences_(differences),
        options_(options),
        executor_(executor),
        open_(differences.size()) {
    for (std::size_t i = 0; i < open_.size(); ++i) open_[i] = differences[i].diverges();
  }

  Result<std::vector<Explanation>> run(const StageValues& ours_at_first, double pattern_scale) {
    for (int n = 0; n < kMostExplanations; ++n) {
      const auto next = std::ranges::find(open_, true);
      if (next == open_.end()) break;
      const auto first = static_cast<std::size_t>(next - open_.begin());
      const StageValues* ours = n == 0 ? &ours_at_first : nullptr;
      if (explain_op(first, ours)) continue;
      ROWMAX_TRY(found, explain_pass(first, n == 0 ? pattern_scale : 0));
      if (!found) break;
    }
    return std::move(explanations_);
  }

 private:
  bool explains(std::size_t i, double residual) const {
    const StageDifference& d = differences_[i];
    return residual <= d.tolerance && residual <= kMostLeft * d.relative_l2;
  }

  void add(const std::string& edit, std::span<const std::size_t> fixed, std::size_t first, double residual) {
    Explanation out{edit, "", residual, {}};
    const StageDifference& at = differences_[first];
    for (const std::size_t i : fixed) {
      open_[i] = false;
      const std::int64_t layer = differences_[i].layer;
      if (layer >= 0 && std::ranges::find(out.layers, layer) == out.layers.end()) out.layers.push_back(layer);
    }
    std::ranges::sort(out.layers);
    out.text = text_of(edit) +
               (out.layers.empty()
                    ? " at " + stage_text(at.stage, at.layer)
                    : std::string(out.layers.size() > 1 ? " in layers " : " in layer ") + ranges_of(out.layers)) +
               ", residual " + number(residual);
    explanations_.push_back(std::move(out));
  }

  // One operation by itself.
  bool explain_op(std::size_t first, const StageValues* ours) {
    const auto tail = [](const std::string& name) { return name.substr(name.rfind(": ") + 1); };
    const std::vector<OpVariant> variants = op_variants(model_, reference_, reference_.stages[first], ours);
    if (variants.empty() || !explains(first, variants[0].residual)) return false;
    const OpVariant& best = variants[0];
    std::vector<std::size_t> fixed{first};
    double residual = best.residual;
    for (std::size_t i = first + 1; i < open_.size(); ++i) {
      if (!open_[i] || differences_[i].stage != differences_[first].stage) continue;
      if (options_.progress && !options_.progress("replay: " + best.name)) return false;  // the pass says so, too
      const auto others = op_variants(model_, reference_, reference_.stages[i], nullptr);
      const auto same = std::ranges::find_if(others, [&](const OpVariant& other) {
        return tail(other.name) == tail(best.name) && explains(i, other.residual);
      });
      if (same == others.end()) continue;
      fixed.push_back(i);
      residual = std::max(residual, same->residual);
    }
    const bool product = best.name.starts_with("product");
    add(product ? best.name : std::string(engine::stage_name(differences_[first].stage)) + ": " + best.name, fixed,
        first, residual);
    return true;
  }

  Judgement judge(const ForcedResult& after, std::size_t first) const {
    std::map<std::int64_t, int> gain;  // by layer
    const auto agrees = [&](std::size_t i) { return after.stages[i].worst() <= differences_[i].tolerance; };
    for (std::size_t i = 0; i < open_.size(); ++i) {
      if (differences_[i].n_compared == 0) continue;
      gain[differences_[i].layer] += open_[i] ? (explains(i, after.stages[i].worst()) ? 1 : 0) : agrees(i) ? 0 : -1;
    }
    Judgement out;
    double sum = 0;
    for (std::size_t i = 0; i < open_.size(); ++i) {
      const double worst = after.stages[i].worst();
      if (!open_[i] || gain[differences_[i].layer] <= 0 || !explains(i, worst)) continue;
      out.fixed.push_back(i);
      sum += base::log_f64(std::max(worst, 1e-9));
      if (differences_[i].stage == differences_[first].stage) out.residual = std::max(out.residual, worst);
    }
    for (const auto& [layer, more] : gain) out.gain += std::max(more, 0);
    if (!out.fixed.empty()) out.left = sum / static_cast<double>(out.fixed.size());
    if (std::ranges::find(out.fixed, first) == out.fixed.end()) out = Judgement{};
    return out;
  }

  bool out_of_time() const {
    return std::chrono::steady_clock::now() - start_ > std::chrono::duration<double>(options_.budget_seconds);
  }

  // A pass with a variant on top of those that were found before; nothing where this model cannot be computed so.
  Result<std::optional<ForcedResult>> pass_with(const Trial& variant) {
    if (options_.progress && !options_.progress("replay: " + variant.name)) {
      return Error{ErrorCode::kCancelled, "cancelled"};
    }
    Trial both = found_;
    both.edits.insert(both.edits.end(), variant.edits.begin(), variant.edits.end());
    both.changes.insert(both.changes.end(), variant.changes.begin(), variant.changes.end());
    both.repacks |= variant.repacks;
    ForcedOptions forced = base_;
    forced.keep.reset();
    forced.variant = &both;
    auto after = run_forced(model_, reference_, forced, executor_);
    if (after.ok()) return std::optional(std::move(*after));
    const ErrorCode code = after.error().code;
    if (code == ErrorCode::kOutOfMemory || code == ErrorCode::kCancelled) return std::move(after).error();
    return std::optional<ForcedResult>();
  }

  void take(const Trial& variant, const Judgement& judgement, std::size_t first) {
    add(variant.name, judgement.fixed, first, judgement.residual);
    found_.edits.insert(found_.edits.end(), variant.edits.begin(), variant.edits.end());
    found_.changes.insert(found_.changes.end(), variant.changes.begin(), variant.changes.end());
    found_.repacks |= variant.repacks;
  }

  // Whole passes.
  Result<bool> explain_pass(std::size_t first, double pattern_scale) {
    ROWMAX_TRY(variants, pass_trials(model_, differences_[first].stage, pattern_scale));
    std::optional<Judgement> best;
    const Trial* best_variant = nullptr;
    const auto n_open = std::ranges::count(open_, true);
    for (const Trial& variant : variants) {
      if (out_of_time()) break;
      ROWMAX_TRY(after, pass_with(variant));
      if (!after) continue;
      Judgement judgement = judge(*after, first);
      if (judgement.fixed.empty()) continue;
      if (best && std::pair(-judgement.gain, judgement.left) >= std::pair(-best->gain, best->left)) continue;
      best = std::move(judgement);
      best_variant = &variant;
      if (std::ssize(best->fixed) == n_open && best->gain == n_open && best->left < base::log_f64(kNothingLeft)) break;
    }
    if (!best) return explain_number(first, pattern_scale);
    take(*best_variant, *best, first);
    return true;
  }

  // No value that is known: the one that gives theirs, of each number that has a say in this stage.
  Result<bool> explain_number(std::size_t first, double pattern_scale) {
    ROWMAX_TRY(facts, engine::editable_facts(model_.file(), model_.options(), nullptr));
    std::vector<const engine::EditableFact*> order;
    for (const bool near : {true, false}) {
      for (const engine::EditableFact& fact : facts) {
        if (changes_stage(fact.name, differences_[first].stage) == near) order.push_back(&fact);
      }
    }
    for (const engine::EditableFact* fact : order) {
      auto search = number_search(*fact, std::ssize(reference_.tokens), pattern_scale);
      if (!search || fact->scope != engine::EditScope::kSession) continue;
      const std::string name(fact->name);
      const auto trial = [&](const std::string& value) {
        return Trial{name + "=" + value, {{name, value}}, false, {}};
      };
      search->baseline = differences_[first].relative_l2;
      search->left = [&](const std::string& value) -> Result<double> {
        if (out_of_time()) return std::numeric_limits<double>::infinity();
        ROWMAX_TRY(after, pass_with(trial(value)));
        return after ? after->stages[first].worst() : std::numeric_limits<double>::infinity();
      };
      ROWMAX_TRY(value, solve_number(*search));
      if (!value || out_of_time()) continue;
      ROWMAX_TRY(after, pass_with(trial(*value)));
      const Judgement judgement = after ? judge(*after, first) : Judgement{};
      if (judgement.fixed.empty()) continue;
      take(trial(*value), judgement, first);
      return true;
    }
    return false;
  }

  const engine::Model& model_;
  const Reference& reference_;
  const ForcedOptions& base_;
  std::span<const StageDifference> differences_;
  const CompareOptions& options_;
  Executor& executor_;
  std::vector<bool> open_;  // diverges, and is not explained
  Trial found_;
  std::vector<Explanation> explanations_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

std::string ranges_of(std::span<const std::int64_t> layers) {
  std::string out;
  for (std::size_t i = 0; i < layers.size();) {
    std::size_t end = i;
    while (end + 1 < layers.size() && layers[end + 1] == layers[end] + 1) ++end;
    out += (out.empty() ? "" : ", ") + std::to_string(layers[i]);
    if (end > i) out += "-" + std::to_string(layers[end]);
    i = end + 1;
  }
  return out;
}

Result<std::vector<Explanation>> replay(const engine::Model& model, const Reference& reference,
                                        const ForcedOptions& base, std::span<const StageDifference> differences,
                                        const StageValues& ours_at_first, double pattern_scale,
                                        const CompareOptions& options, Executor& executor) {
  return Replay(model, reference, base, differences, options, executor).run(ours_at_first, pattern_scale);
}

}  // namespace rowmax::doctor
