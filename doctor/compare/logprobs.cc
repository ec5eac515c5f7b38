// A server's log-probabilities beside ours.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <optional>
#include <utility>

#include "base/guarded.h"
#include "base/math/f64.h"
#include "doctor/compare/variants.h"
#include "rowmax/doctor/compare.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

constexpr double kTolerance = 0.25, kMostLeft = 0.25;
constexpr double kLeastLogprob = -20;  // servers write -9999 and the like for what they cut off

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2g", value);
  return text;
}

struct Measured {
  double worst = 0, mean = 0;
  std::int64_t first = -1;  // position beyond the tolerance
  std::int64_t n = 0;
};

Result<Measured> measure(const engine::Model& model, const ServedLogprobs& served, const Trial* variant,
                         double tolerance, Executor& executor) {
  std::optional<engine::Model> repacked;
  engine::SessionOptions options;
  if (variant != nullptr && variant->repacks) {
    ROWMAX_TRY(made, model.with_edits(variant->edits, executor));
    repacked = std::move(made);
  } else if (variant != nullptr) {
    options.edits = variant->edits;
  }
  options.context = std::ssize(served.tokens);
  options.activations = engine::Activations::kF32;
  options.kv_type = engine::KvType::kF32;
  options.checkpoint_bytes = 0;
  ROWMAX_TRY(session, engine::Session::create(repacked ? *repacked : model, options, executor));
  ROWMAX_TRY(sequence, session.open());
  const engine::BatchItem item{sequence, served.tokens, engine::LogitsFor::kAll};
  ROWMAX_RETURN_IF_ERROR(session.forward({&item, 1}));
  Measured out;
  std::int64_t summed = -1;
  double log_sum = 0;
  for (const ServedLogprob& value : served.values) {
    const auto logits = session.logits(value.position);
    if (value.position != summed) {
      const double largest = *std::ranges::max_element(logits);
      double sum = 0;
      for (const float logit : logits) sum += base::exp_f64(logit - largest);
      log_sum = largest + base::log_f64(sum);
      summed = value.position;
    }
    const double ours = logits[static_cast<std::size_t>(value.id)] - log_sum;
    if (std::max(ours, value.logprob) < kLeastLogprob) continue;
    const double difference = std::abs(ours - value.logprob);
    out.worst = std::max(out.worst, difference);
    out.mean += difference;
    ++out.n;
    if (!(difference <= tolerance) && (out.first < 0 || value.position < out.first)) out.first = value.position;
  }
  if (out.n > 0) out.mean /= static_cast<double>(out.n);
  return out;
}

Status check(const engine::Model& model, const ServedLogprobs& served) {
  const engine::ModelShape& shape = model.shape();
  for (const ServedLogprob& value : served.values) {
    const bool there =
        value.position >= 0 && value.position < std::ssize(served.tokens) && value.id >= 0 && value.id < shape.n_vocab;
    if (!there) {
      return Error{ErrorCode::kInvalidArgument, served.name + ": token " + std::to_string(value.id) + " at position " +
                                                    std::to_string(value.position) + " is none of this model's"};
    }
    if (std::isnan(value.logprob) || value.logprob > 1e-3) {
      return Error{ErrorCode::kNumericFault, served.name + ": the log-probability of token " +
                                                 std::to_string(value.id) + " at position " +
                                                 std::to_string(value.position) + " is " + number(value.logprob)};
    }
  }
  return {};
}

Result<Comparison> compare_unguarded(const engine::Model& model, const ServedLogprobs& served,
                                     const CompareOptions& options, Executor& executor) {
  ROWMAX_RETURN_IF_ERROR(check(model, served));
  const double tolerance = options.tolerance > 0 ? options.tolerance : kTolerance;
  Comparison out;
  if (served.values.empty()) {
    out.summary = "Nothing was compared: " + served.name + " gave no log-probabilities.";
    return out;
  }
  ROWMAX_TRY(base, measure(model, served, nullptr, tolerance, executor));
  StageDifference d;
  d.stage = engine::Stage::kLogits;
  d.max_abs = base.worst;
  d.tolerance = tolerance;
  d.token = base.first;
  d.n_compared = out.n_compared = base.n;
  out.stages.push_back(d);
  out.verdict = base.n == 0 ? Verdict::kInconclusive : base.first < 0 ? Verdict::kPass : Verdict::kFail;
  const std::string figures = "largest difference of " + std::to_string(base.n) + " log-probabilities " +
                              number(base.worst) + " nat, mean " + number(base.mean);
  out.summary = (out.verdict == Verdict::kPass ? "They agree: " : "They do not agree: ") + figures + ".";
  if (out.verdict != Verdict::kFail) return out;
  out.pattern = figures;
  if (!options.replay) return out;
  ROWMAX_TRY(variants, pass_trials(model, engine::Stage::kLogits, 0));
  const auto start = std::chrono::steady_clock::now();
  std::optional<Explanation> best;
  for (const Trial& variant : variants) {
    if (std::chrono::steady_clock::now() - start > std::chrono::duration<double>(options.budget_seconds)) break;
    if (!variant.changes.empty()) continue;  // need a look into the pass
    if (options.progress && !options.progress("replay: " + variant.name)) {
      return Error{ErrorCode::kCancelled, "cancelled"};
    }
    const auto found = measure(model, served, &variant, tolerance, executor);
    if (!found.ok() || found->worst > tolerance || found->worst > kMostLeft * base.worst) continue;
    if (best && best->residual <= found->worst) continue;
    best =
        Explanation{variant.name,
                    "theirs = ours with " + variant.name + ", largest difference left " + number(found->worst) + " nat",
                    found->worst,
                    {}};
  }
  if (best) out.explanations.push_back(*best);
  out.summary += best ? " " + best->text + "." : " No known variant gives their numbers.";
  return out;
}

}  // namespace

Result<Comparison> compare_logprobs(const engine::Model& model, const ServedLogprobs& served,
                                    const CompareOptions& options, Executor& executor) {
  return base::guarded([&] { return compare_unguarded(model, served, options, executor); });
}

}  // namespace rowmax::doctor
