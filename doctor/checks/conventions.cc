// Check 1: the convention search. Loss on a fixed text as configured, and under each single change.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "doctor/check.h"
#include "doctor/numbers.h"
#include "doctor/search/last_states.h"
#include "doctor/search/search.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

// A factor below 1 on a tensor of a layer without whose mixer or FFN the model is nearly as well: the tensor is not too large,
// the block is of no use.
bool only_weakens_a_block(const Tried& win, const SearchResult& search) {
  if (win.variant.edits.size() != 1 || win.variant.edits.front().first != "tensor_factor") return false;
  const std::string& value = win.variant.edits.front().second;
  const std::size_t colon = value.rfind(':');
  const double factor = colon == std::string::npos ? 1 : std::atof(value.c_str() + colon + 1);
  if (std::fabs(factor) >= 1) return false;
  return std::ranges::any_of(search.tried, [&](const Tried& other) {
    const std::string& name = other.variant.edits.front().first;
    return (name == "skip_ffn" || name == "skip_mixer") && other.variant.place.layer == win.variant.place.layer &&
           other.gain.nats > 0.85 * win.gain.nats;
  });
}

// How much better than the others a win must be to be the only one.
constexpr double kDistinct = 0.15;

Cause cause_of(const Tried& win, const SearchResult& search, double best_gain, const engine::Model& model) {
  const std::string edits = edits_text(win.variant.edits);
  Cause cause;
  const bool useless = only_weakens_a_block(win, search);
  cause.id = useless ? std::string_view("weight_corrupt") : win.variant.cause;
  cause.place = win.variant.place;
  if (win.variant.edits.size() == 1 && cause.place.empty()) {
    const auto& name = win.variant.edits.front().first;
    const std::string key = key_of_fact(model.description().architecture, name);
    const bool asked = std::ranges::any_of(model.options().edits, [&](const auto& edit) { return edit.first == name; });
    if (!asked && !key.empty() && model.file().find(key) != nullptr) cause.place.key = key;
  }
  cause.text = "With " + edits + " the model loses " + four_digits(win.nll) + " nat a token on plain text, and " +
               four_digits(search.nll) + " as it is configured (chance is " + four_digits(search.chance) + ").";
  if (useless) {
    cause.text += " It is nearly as well without that part of layer " + std::to_string(win.variant.place.layer) +
                  ": what its tensors hold is of no use.";
    cause.place.tensor.clear();
  }
  cause.evidence = {{"edit", edits},
                    {"nll", four_digits(win.nll)},
                    {"configured_nll", four_digits(search.nll)},
                    {"chance", four_digits(search.chance)},
                    {"standard_errors", four_digits(win.gain.sigmas)}};
  cause.command = "rowmax run -m MODEL --greedy -p 'Once upon a time' -n 40";
  for (const auto& [name, value] : win.variant.edits) {
    if (value != "as_in_file") cause.command += " --convention " + name + "=" + value;
  }
  // Surer the more it wins, and the more the model then knows: one that is well keeps below half of chance. What damps helps
  // every broken model; it is the cause where the model is well with it.
  const double share = win.nll / search.chance;
  const double knows = std::clamp((only_damps(win.variant) && !useless ? 0.45 - share : 0.7 - share) / 0.25, 0.1, 1.0);
  const double sure = (0.8 + 0.15 * std::min(1.0, win.gain.nats)) * knows;
  const double lag = std::isfinite(best_gain) && best_gain > 0 ? (best_gain - win.gain.nats) / best_gain : 0;
  cause.confidence = sure * std::max(0.0, 1 - lag / (2 * kDistinct));
  return cause;
}

// The layers are well, and no matrix that the file holds makes their tokens of what they know.
Cause broken_head(const LastStates& states, const engine::Model& model) {
  const bool tied = model.file().find_tensor("output.weight") == nullptr;
  Cause cause;
  cause.id = tied ? "tied_head" : "weight_corrupt";
  cause.place.tensor = "output.weight";
  cause.text = "States behind the last layer are alike where one token comes next (mean cosine " +
               four_digits(states.alike) + ", where any two have 0), and the logits are worse than chance: " +
               (tied ? "the embedding is taken for the head, and is none; the file has lost its output.weight."
                     : "output.weight is not this model's head.");
  cause.evidence = {{"mean_cosine", four_digits(states.alike)}, {"pairs", std::to_string(states.n_pairs)}};
  cause.command = "rowmax inspect MODEL --all";
  cause.confidence = 0.85;
  return cause;
}

void list_tried(const SearchResult& search, CheckResult& result) {
  result.columns = {"edit", "nat a token", "gain", "standard errors"};
  std::vector<Tried> tried = search.tried;
  std::ranges::stable_sort(tried, [](const Tried& a, const Tried& b) { return a.nll < b.nll; });
  result.rows.push_back({"(as configured)", four_digits(search.nll), "0", ""});
  for (const Tried& one : tried) {
    result.rows.push_back({edits_text(one.variant.edits), four_digits(one.nll), four_digits(one.gain.nats),
                           four_digits(one.gain.sigmas)});
  }
}

// A model that knows nothing, in a file that says its matrices are stored turned: random signs, where they are wrong, make
// just that, and no search finds them.
void suspect_rotation(const engine::GgufFile& file, CheckResult& result) {
  if (file.find("prism.hadamard.block_size") == nullptr) return;
  const engine::GgufArray* signs = file.find_int_array("prism.hadamard.sign_values");
  bool lost = signs != nullptr && signs->size > 16;
  for (std::size_t i = 0; lost && i < signs->size; ++i) lost = signs->as_int(i) == 1;
  Cause cause;
  cause.id = "rotation";
  cause.place.key = lost ? "prism.hadamard.sign_values" : "prism.hadamard.block_size";
  cause.text =
      "The file says that its matrices are stored turned (prism.hadamard keys), and the model knows nothing of the "
      "text";
  cause.text += lost ? "; all of its explicit signs are +1, which random signs never are: they were lost."
                     : ": with another block or other signs than they were turned by it would.";
  cause.confidence = lost ? 0.6 : 0.3;
  cause.command = "rowmax inspect MODEL";
  result.causes.push_back(std::move(cause));
}

}  // namespace

Result<CheckResult> check_conventions(Patient& patient) {
  constexpr std::string_view kId = "conventions";
  const auto model = patient.model();
  if (!model.ok()) return CheckResult::inconclusive(kId, "the model cannot be loaded");
  SearchOptions options;
  options.budget_seconds = patient.options().budget_seconds;
  options.step = [&](double fraction) { return patient.step(fraction); };
  ROWMAX_TRY(search, search_conventions(patient, options));
  CheckResult result;
  result.id = kId;
  result.n_compared = static_cast<std::int64_t>(search.tried.size());
  result.threshold = options.least_gain;
  result.unit = "nat a token";
  list_tried(search, result);
  const std::string scope =
      std::to_string(search.tried.size()) + " variants on " + std::to_string(search.n_tokens) + " tokens" +
      (search.n_left_out == 0 ? ""
                              : ", " + std::to_string(search.n_left_out) + " left out for want of time (--budget)");
  result.measured = search.nearest * options.least_gain;
  if (search.tried.empty()) {
    result.reason = "no variant could be tried";
    return result;
  }
  if (!search.wins.empty()) {
    const Tried& win = search.wins.front();
    result.verdict = Verdict::kFail;
    result.measured = win.gain.nats;
    result.place = win.variant.place;
    result.reason = edits_text(win.variant.edits) + " loses " + four_digits(win.nll) +
                    " nat a token, the configured model " + four_digits(search.nll) + "; " + scope;
    for (const Tried& one : search.wins) {
      Cause cause = cause_of(one, search, win.gain.nats, **model);
      const bool known = std::ranges::any_of(result.causes, [&](const Cause& other) {
        return other.id == cause.id && other.place.layer == cause.place.layer &&
               other.place.tensor == cause.place.tensor;
      });
      if (!known && cause.confidence > 0.02 && result.causes.size() < 8) result.causes.push_back(std::move(cause));
    }
    std::ranges::stable_sort(result.causes, [](const Cause& a, const Cause& b) { return a.confidence > b.confidence; });
    return result;
  }
  const std::string losses = "the text costs " + four_digits(search.nll) + " nat a token (" + search.part +
                             "; chance is " + four_digits(search.chance) + ")";
  if (!(search.nll < 0.9 * search.chance)) {
    const auto states = look_at_last_states(patient);
    if (!states.ok() &&
        (states.error().code == ErrorCode::kOutOfMemory || states.error().code == ErrorCode::kCancelled)) {
      return Error(states.error());
    }
    if (states.ok() && states->know_the_next()) {
      result.verdict = Verdict::kFail;
      result.causes.push_back(broken_head(*states, **model));
      result.place = result.causes.front().place;
      result.reason = losses + ", and the last states know the next token: the head is not theirs; " + scope;
      return result;
    }
    result.reason =
        losses + ", and no variant knows it better: the model is untrained, or wrong in a way not tried; " + scope;
    suspect_rotation((*model)->file(), result);
    return result;
  }
  result.verdict = Verdict::kPass;
  result.reason = losses + ", and no variant is better by " + four_digits(options.least_gain) + "; " + scope;
  return result;
}

}  // namespace rowmax::doctor
