#include "rowmax/doctor/compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "base/guarded.h"
#include "doctor/compare/forced_run.h"
#include "doctor/compare/origin.h"
#include "doctor/compare/patterns.h"
#include "doctor/compare/replay.h"
#include "doctor/compare/variants.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::Stage;

// Of relative L2: what a stage in f32 may be off; the most that any other kind of arithmetic may be; and how many times the
// measured noise, between the two.
constexpr double kExact = 1e-4, kCoarse = 1e-2, kTimesNoise = 20;
// Keys and values in f16, which a reference need not tell.
constexpr double kHalves = 2e-3;
constexpr double kMostKl = 1e-3, kMostRoundedKl = 5e-2;
// A product is theirs with a rounded input where no more than this part of the difference is left.
constexpr double kRoundedLeft = 0.5;

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2g", value);
  return text;
}

enum class Kind : std::uint8_t { kProduct, kAttention, kRest };

// What a stage's noise comes from, the stages between being those that the reference lacks.
Kind kind_of(const Reference& reference, const StageDifference& d) {
  const auto has = [&](Stage stage) { return reference.find(stage, d.layer) != nullptr; };
  switch (d.stage) {
    case Stage::kQRaw:
    case Stage::kKRaw:
    case Stage::kV:
    case Stage::kMixerOut:
    case Stage::kGate:
    case Stage::kUp:
    case Stage::kRouter:
    case Stage::kExperts:
    case Stage::kSharedGate:
    case Stage::kSharedUp:
    case Stage::kBlockOut:
    case Stage::kLogits: return Kind::kProduct;
    case Stage::kScores:
    case Stage::kState:
    case Stage::kAttnOut: return Kind::kAttention;
    case Stage::kQ: return has(Stage::kQRaw) ? Kind::kRest : Kind::kProduct;
    case Stage::kK: return has(Stage::kKRaw) ? Kind::kRest : Kind::kProduct;
    case Stage::kAct: return has(Stage::kGate) && has(Stage::kUp) ? Kind::kRest : Kind::kProduct;
    case Stage::kSharedAct: return has(Stage::kSharedGate) && has(Stage::kSharedUp) ? Kind::kRest : Kind::kProduct;
    case Stage::kResidual: return has(Stage::kBlockOut) ? Kind::kRest : Kind::kProduct;
    default: return Kind::kRest;
  }
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// What the reference says of its own arithmetic. Without a word: unknown.
bool is_exact(const Reference& reference) {
  const auto says = [&](const char* key, const char* value) {
    const auto found = reference.metadata.find(key);
    return found != reference.metadata.end() && found->second == value;
  };
  return says("activations", "f32") && says("kv_type", "f32");
}

ForcedOptions computed_as(const Reference& reference) {
  ForcedOptions out;
  const auto is = [&](const char* key, const char* value) {
    const auto found = reference.metadata.find(key);
    return found != reference.metadata.end() && found->second == value;
  };
  // A dump of rowmax's own: as it was made.
  if (is("activations", "int8")) out.activations = engine::Activations::kInt8;
  for (const engine::KvType type : engine::kKvTypes) {
    if (is("kv_type", dtype_name(engine::dtype_of(type)))) out.kv_type = type;
  }
  return out;
}

void set_tolerances(Comparison& out, const Reference& reference, const CompareOptions& options) {
  std::vector<double> by_kind[3];
  for (const StageDifference& d : out.stages) {
    if (d.n_compared > 0) by_kind[static_cast<std::size_t>(kind_of(reference, d))].push_back(d.relative_l2);
  }
  double noise[3];
  for (std::size_t k = 0; k < 3; ++k) noise[k] = median(by_kind[k]);
  out.noise_products = noise[0];
  out.noise_attention = noise[1];
  out.noise_rest = noise[2];
  for (StageDifference& d : out.stages) {
    const Kind kind = kind_of(reference, d);
    const double least = kind == Kind::kAttention ? kHalves : kExact;
    const double measured = kTimesNoise * noise[static_cast<std::size_t>(kind)];
    d.tolerance = options.tolerance > 0 ? options.tolerance
                  : is_exact(reference) ? kExact
                                        : std::clamp(measured, least, kCoarse);
  }
}

// Fills in everything but the tolerance and the token.
StageDifference difference_of(const StageValues& stage, const StageMeasure& measure) {
  StageDifference d;
  d.stage = stage.stage;
  d.layer = stage.layer;
  d.n_compared = measure.n_compared;
  d.max_abs = measure.max_abs;
  if (measure.relative_l2.empty()) return d;
  const auto worst = std::ranges::max_element(measure.relative_l2);
  d.relative_l2 = *worst;
  d.cosine = measure.cosine[static_cast<std::size_t>(worst - measure.relative_l2.begin())];
  return d;
}

void find_token(StageDifference& d, const StageMeasure& measure) {
  for (std::size_t row = 0; row < measure.relative_l2.size(); ++row) {
    if (measure.relative_l2[row] <= d.tolerance) continue;
    d.token = measure.positions[row];
    return;
  }
}

// As they stand, number by number; with tolerance 0 other bits of equal numbers count.
StageMeasure measure_directly(const StageValues& ours, const StageValues& theirs, double tolerance) {
  StageMeasure measure;
  const double floor = tolerance > 0 ? length_floor(theirs) : 0;
  for (std::size_t i = 0; i < theirs.positions.size(); ++i) {
    const auto found = std::ranges::find(ours.positions, theirs.positions[i]);
    if (found == ours.positions.end()) continue;
    const auto row = ours.row(static_cast<std::size_t>(found - ours.positions.begin()));
    measure_row(theirs.positions[i], row, theirs.row(i), floor, measure);
    const bool same = std::memcmp(row.data(), theirs.row(i).data(), row.size_bytes()) == 0;
    double& relative = measure.relative_l2.back();
    if (same) relative = 0;
    if (tolerance == 0 && !same) relative = std::max(relative, std::numeric_limits<double>::min());
  }
  return measure;
}

std::int64_t heads_of(const engine::ModelShape& shape, Stage stage) {
  switch (stage) {
    case Stage::kQRaw:
    case Stage::kQ:
    case Stage::kScores:
    case Stage::kAttnOut: return shape.n_head;
    case Stage::kKRaw:
    case Stage::kK:
    case Stage::kV: return shape.n_kv_head;
    default: return 1;
  }
}

Status check_tokens(const engine::Model& model, const Reference& reference) {
  const engine::ModelShape& shape = model.shape();
  const std::int64_t n = std::ssize(reference.tokens);
  for (std::size_t i = 0; i < reference.tokens.size(); ++i) {
    const engine::TokenId id = reference.tokens[i];
    if (id >= 0 && id < shape.n_vocab) continue;
    return Error{ErrorCode::kInvalidArgument, reference.name + ": token " + std::to_string(i) + " has the id " +
                                                  std::to_string(id) + ", and the model's vocabulary ends at " +
                                                  std::to_string(shape.n_vocab - 1)};
  }
  if (n <= shape.context_length) return {};
  return Error{ErrorCode::kLimit, reference.name + ": its " + std::to_string(n) + " tokens do not fit the " +
                                      std::to_string(shape.context_length) + " of the model"};
}

std::string place_of(const StageDifference& d) {
  return stage_text(d.stage, d.layer) + ", token " + std::to_string(d.token);
}

std::string rounded_text(const Comparison& c) {
  if (c.n_rounded_input == 0) return "";
  return " In " + std::to_string(c.n_rounded_input) + " products their input is rounded to 8 bits.";
}

std::string summary_of(const Comparison& c) {
  const StageDifference* first = c.first();
  if (c.verdict == Verdict::kInconclusive) return "Nothing was compared: the reference has no stage of this model.";
  if (c.verdict == Verdict::kPass) {
    return "They agree: " + std::to_string(c.n_compared) + " numbers of " + std::to_string(c.stages.size()) +
           " stages, each from the reference's own inputs." + rounded_text(c);
  }
  if (first == nullptr) {
    return "Each stage by itself agrees, and the whole does not (KL " + number(c.logits.kl) +
           "): small differences add up.";
  }
  const auto n = std::ranges::count_if(c.stages, &StageDifference::diverges);
  std::string out = "First divergence: " + place_of(*first) + " (relative L2 " + number(first->relative_l2) +
                    ", tolerance " + number(first->tolerance) + "; " + std::to_string(n) + " of " +
                    std::to_string(c.stages.size()) + " stages diverge by themselves). " + c.pattern + ".";
  for (const Explanation& each : c.explanations) out += " " + each.text + ".";
  if (c.explanations.empty()) out += " No known variant gives their numbers.";
  out += rounded_text(c);
  return out;
}

Result<Comparison> compare_unguarded(const engine::Model& model, const Reference& reference,
                                     const CompareOptions& options, Executor& executor) {
  const auto going = [&](std::string_view doing) -> Status {
    if (!options.progress || options.progress(doing)) return {};
    return Error{ErrorCode::kCancelled, "cancelled"};
  };
  ROWMAX_RETURN_IF_ERROR(check_tokens(model, reference));
  ForcedOptions forced = computed_as(reference);
  if (options.progress) forced.going = [&] { return options.progress("a pass"); };
  ROWMAX_RETURN_IF_ERROR(going("the whole pass"));
  forced.force = false;
  ROWMAX_TRY(whole, run_forced(model, reference, forced, executor));
  ROWMAX_RETURN_IF_ERROR(going("stage by stage"));
  forced.force = true;
  ROWMAX_TRY(by_stage, run_forced(model, reference, forced, executor));

  Comparison out;
  ROWMAX_TRY(origin, origin_of(model, reference));
  out.origin = std::move(origin);
  out.logits = whole.logits;
  for (std::size_t i = 0; i < reference.stages.size(); ++i) {
    const StageValues& stage = reference.stages[i];
    out.stages.push_back(difference_of(stage, by_stage.stages[i]));
    out.n_compared += out.stages.back().n_compared;
    if (whole.stages[i].n_compared > 0) out.whole_relative_l2 = whole.stages[i].worst();
    if (out.stages.back().n_compared > 0) continue;
    const std::int64_t width = by_stage.stages[i].width;
    out.not_compared.push_back(
        stage_text(stage.stage, stage.layer) +
        (width == 0 ? ": this model has no such stage"
                    : ": has " + std::to_string(stage.width) + " numbers a token, ours " + std::to_string(width)));
  }
  set_tolerances(out, reference, options);
  for (std::size_t i = 0; i < out.stages.size(); ++i) {
    StageDifference& d = out.stages[i];
    find_token(d, by_stage.stages[i]);
    if (!d.diverges() || is_exact(reference)) continue;
    ROWMAX_RETURN_IF_ERROR(going("inputs rounded to 8 bits"));
    const OpVariant rounded = with_rounded_input(model, reference, reference.stages[i]);
    d.rounded_input = rounded.residual <= std::min(d.tolerance, kRoundedLeft * d.relative_l2);
    if (!d.rounded_input) continue;
    d.token = -1;
    ++out.n_rounded_input;
  }

  const StageDifference* first = out.first();
  const bool whole_agrees =
      out.logits.n_row == 0 || out.logits.kl <= (out.n_rounded_input > 0 ? kMostRoundedKl : kMostKl);
  out.verdict = out.n_compared == 0                ? Verdict::kInconclusive
                : first == nullptr && whole_agrees ? Verdict::kPass
                                                   : Verdict::kFail;
  if (first != nullptr) {
    forced.keep = std::pair{first->stage, first->layer};
    ROWMAX_TRY(again, run_forced(model, reference, forced, executor));
    const StageValues& theirs = *reference.find(first->stage, first->layer);
    const Pattern pattern = find_pattern(again.kept, theirs, heads_of(model.shape(), first->stage), first->tolerance);
    out.pattern = pattern.text;
    if (options.replay) {
      ROWMAX_TRY(found, replay(model, reference, forced, out.stages, again.kept, pattern.scale, options, executor));
      out.explanations = std::move(found);
    }
  } else if (out.verdict == Verdict::kFail) {
    out.pattern = "adds up";
  }
  out.summary = summary_of(out);
  return out;
}

}  // namespace

const StageDifference* Comparison::first() const {
  const auto found = std::ranges::find_if(stages, &StageDifference::diverges);
  return found == stages.end() ? nullptr : &*found;
}

Result<Comparison> compare(const engine::Model& model, const Reference& reference, const CompareOptions& options,
                           Executor& executor) {
  return base::guarded([&] { return compare_unguarded(model, reference, options, executor); });
}

Result<Comparison> compare_references(const Reference& ours, const Reference& theirs, double tolerance) {
  return base::guarded([&]() -> Result<Comparison> {
    if (ours.tokens != theirs.tokens) {
      return Error{ErrorCode::kInvalidArgument, ours.name + " and " + theirs.name + " are of different token ids"};
    }
    Comparison out;
    for (const StageValues& stage : theirs.stages) {
      const StageValues* own = ours.find(stage.stage, stage.layer);
      StageMeasure measure;
      if (own == nullptr || own->width != stage.width) {
        out.not_compared.push_back(stage_text(stage.stage, stage.layer));
      } else {
        measure = measure_directly(*own, stage, tolerance);
      }
      StageDifference d = difference_of(stage, measure);
      d.tolerance = tolerance;
      find_token(d, measure);
      out.n_compared += d.n_compared;
      if (d.diverges() && out.first() == nullptr) {
        out.pattern = find_pattern(*own, stage, 1, std::max(tolerance, kExact)).text;
      }
      out.stages.push_back(d);
    }
    out.verdict = out.n_compared == 0      ? Verdict::kInconclusive
                  : out.first() == nullptr ? Verdict::kPass
                                           : Verdict::kFail;
    const StageDifference* first = out.first();
    out.summary = out.verdict == Verdict::kInconclusive ? "Nothing was compared: they have no stage in common."
                  : first == nullptr ? "They agree" + std::string(tolerance > 0 ? "" : " bit for bit") + ": " +
                                           std::to_string(out.n_compared) + " numbers of " +
                                           std::to_string(out.stages.size()) + " stages."
                                     : "First difference: " + place_of(*first) + " (relative L2 " +
                                           number(first->relative_l2) + "). " + out.pattern + ".";
    return out;
  });
}

}  // namespace rowmax::doctor
