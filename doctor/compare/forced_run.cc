#include "doctor/compare/forced_run.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/math/f64.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::Stage;

class ForcedRun final : public engine::TraceObserver {
 public:
  ForcedRun(const Reference& reference, const ForcedOptions& options) : reference_(reference), options_(options) {
    result.stages.resize(reference.stages.size());
    for (const StageValues& stage : reference.stages) floors_.push_back(length_floor(stage));
  }

  bool wants(Stage stage, std::int64_t layer) override { return reference_.find(stage, layer) != nullptr; }

  void see(const engine::TraceView& view) override {
    const StageValues& theirs = *reference_.find(view.stage, view.layer);
    const auto index = static_cast<std::size_t>(&theirs - reference_.stages.data());
    StageMeasure& measure = result.stages[index];
    const bool keeps = options_.keep == std::pair{view.stage, view.layer};
    for (std::size_t i = 0; i < view.rows.size(); ++i) {
      const auto row = row_of(theirs, view.rows[i].position);
      const std::vector<float>& ours = gather(view, i, theirs.width);
      measure.width = std::ssize(ours);
      if (!row || measure.width != theirs.width) continue;
      measure_row(view.rows[i].position, ours, theirs.row(*row), floors_[index], measure);
      if (view.stage == Stage::kLogits) add_logits(ours, theirs.row(*row));
      if (!keeps) continue;
      result.kept.positions.push_back(view.rows[i].position);
      result.kept.values.insert(result.kept.values.end(), ours.begin(), ours.end());
      result.kept.width = measure.width;
      result.kept.stage = view.stage;
      result.kept.layer = view.layer;
    }
  }

  bool replaces(Stage stage, std::int64_t layer) override {
    return (options_.force && reference_.find(stage, layer) != nullptr) || change_of(stage) != nullptr;
  }

  void replace(const engine::TraceEdit& edit) override {
    const StageValues* theirs = options_.force ? reference_.find(edit.stage, edit.layer) : nullptr;
    const StageChange* change = change_of(edit.stage);
    const std::int64_t width = edit.n_group * edit.width;
    for (std::size_t i = 0; i < edit.rows.size(); ++i) {
      float* to = edit.data + static_cast<std::int64_t>(i) * edit.row_stride;
      if (theirs != nullptr && theirs->width == width) {
        if (const auto row = row_of(*theirs, edit.rows[i].position)) std::ranges::copy(theirs->row(*row), to);
      }
      if (change != nullptr) change->apply(edit.layer, {to, static_cast<std::size_t>(width)});
    }
  }

  ForcedResult result;

 private:
  static std::optional<std::size_t> row_of(const StageValues& stage, std::int64_t position) {
    const auto found = std::ranges::lower_bound(stage.positions, position);
    if (found == stage.positions.end() || *found != position) return std::nullopt;
    return static_cast<std::size_t>(found - stage.positions.begin());
  }
  const StageChange* change_of(Stage stage) const {
    if (options_.variant == nullptr) return nullptr;
    const auto found = std::ranges::find(options_.variant->changes, stage, &StageChange::stage);
    return found == options_.variant->changes.end() ? nullptr : &*found;
  }
  // Scores are as wide as there are keys when they are computed; a reference has all keys of the prompt.
  const std::vector<float>& gather(const engine::TraceView& view, std::size_t i, std::int64_t width) {
    const float* from = view.data + static_cast<std::int64_t>(i) * view.row_stride;
    row_.assign(from, from + view.n_group * view.width);
    if (view.stage != Stage::kScores || width % view.n_group != 0 || width / view.n_group < view.width) return row_;
    const std::int64_t n_kv = width / view.n_group;
    row_.assign(static_cast<std::size_t>(width), 0.0f);
    for (std::int64_t h = 0; h < view.n_group; ++h) {
      std::copy_n(from + h * view.width, view.width, row_.begin() + h * n_kv);
    }
    return row_;
  }
  void add_logits(std::span<const float> ours, std::span<const float> theirs);

  const Reference& reference_;
  const ForcedOptions& options_;
  std::vector<double> floors_;
  std::vector<float> row_;
};

// log of the sum of exponentials.
double log_sum(std::span<const float> logits, double largest) {
  double sum = 0;
  for (const float logit : logits) sum += base::exp_f64(logit - largest);
  return largest + base::log_f64(sum);
}

void ForcedRun::add_logits(std::span<const float> ours, std::span<const float> theirs) {
  const auto our_first = std::ranges::max_element(ours), their_first = std::ranges::max_element(theirs);
  const double our_sum = log_sum(ours, *our_first), their_sum = log_sum(theirs, *their_first);
  double kl = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const double log_p = theirs[i] - their_sum;
    kl += base::exp_f64(log_p) * (log_p - (ours[i] - our_sum));
  }
  LogitsDifference& logits = result.logits;
  logits.kl = (logits.kl * static_cast<double>(logits.n_row) + kl) / static_cast<double>(logits.n_row + 1);
  ++logits.n_row;
  logits.n_same_first += our_first - ours.begin() == their_first - theirs.begin();
}

}  // namespace

double StageMeasure::worst() const {
  return relative_l2.empty() ? std::numeric_limits<double>::infinity() : std::ranges::max(relative_l2);
}

double length_floor(const StageValues& stage) {
  double sum = 0;
  for (const float value : stage.values) sum += static_cast<double>(value) * value;
  const auto n_row = static_cast<double>(std::max<std::size_t>(stage.positions.size(), 1));
  return 0.01 * std::sqrt(sum / n_row);
}

void measure_row(std::int64_t position, std::span<const float> a, std::span<const float> b, double floor,
                 StageMeasure& measure) {
  measure.positions.push_back(position);
  double difference = 0, aa = 0, bb = 0, ab = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = a[i], y = b[i], d = x - y;
    difference += d * d;
    aa += x * x;
    bb += y * y;
    ab += x * y;
    measure.max_abs = std::max(measure.max_abs, std::abs(d));
  }
  const double length = std::max(std::sqrt(bb), floor);
  const double relative = length > 0 ? std::sqrt(difference) / length : difference == 0 ? 0 : 1;
  // What is not finite in ours is as far off as can be.
  measure.relative_l2.push_back(std::isfinite(relative) ? relative : std::numeric_limits<double>::infinity());
  measure.cosine.push_back(aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : aa == bb ? 1 : 0);
  measure.n_compared += std::ssize(a);
}

Result<ForcedResult> run_forced(const engine::Model& model, const Reference& reference, const ForcedOptions& options,
                                Executor& executor) {
  const engine::Model* used = &model;
  std::optional<engine::Model> repacked;
  engine::SessionOptions session_options;
  if (options.variant != nullptr && options.variant->repacks) {
    ROWMAX_TRY(made, model.with_edits(options.variant->edits, executor, options.going));
    repacked = std::move(made);
    used = &*repacked;
  } else if (options.variant != nullptr) {
    session_options.edits = options.variant->edits;
  }
  session_options.context = std::ssize(reference.tokens);
  session_options.kv_type = options.kv_type;
  session_options.activations = options.activations;
  session_options.checkpoint_bytes = 0;
  session_options.reuse_prefixes = false;
  ROWMAX_TRY(session, engine::Session::create(*used, session_options, executor));
  ForcedRun run(reference, options);
  session.set_observer(&run);
  ROWMAX_TRY(sequence, session.open());
  constexpr std::size_t kPiece = 64;  // a long reference can be interrupted
  const std::span<const engine::TokenId> tokens(reference.tokens);
  for (std::size_t at = 0; at < tokens.size(); at += kPiece) {
    if (options.going && !options.going()) return Error{ErrorCode::kCancelled, "cancelled"};
    const engine::BatchItem item{sequence, tokens.subspan(at, std::min(kPiece, tokens.size() - at)),
                                 engine::LogitsFor::kAll};
    Status computed = session.forward({&item, 1});
    if (computed.ok()) continue;
    // Numbers that are not finite differ from the reference's, which is what is asked here.
    if (computed.error().code != ErrorCode::kNumericFault) return std::move(computed).error();
    break;
  }
  return std::move(run.result);
}

}  // namespace rowmax::doctor
