// Check 13: the norms before attention, FFN and head, and those behind them, against fp64 from what went in, and the eps
// that was added in effect.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "doctor/check.h"
#include "doctor/checks/forward.h"
#include "doctor/numbers.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::Stage;
using Vector = std::vector<double>;

constexpr std::string_view kId = "norms";
constexpr std::int64_t kTokens = 32;
constexpr double kAllowed = 1e-5;  // of the largest number of a row

// One row that went through a norm.
struct Case {
  std::string tensor;
  std::int64_t layer = -1, position = -1;
  Stage stage = Stage::kCount;
  Vector in, out, weights;
};

Vector in_f64(std::span<const float> values) { return {values.begin(), values.end()}; }

double mean_square(const Vector& x) {
  double sum = 0;
  for (const double value : x) sum += value * value;
  return sum / static_cast<double>(x.size());
}

Vector rms_norm(const Vector& x, const Vector& weights, double eps) {
  const double factor = 1 / std::sqrt(mean_square(x) + eps);
  Vector out(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) out[i] = x[i] * factor * weights[i];
  return out;
}

// Largest difference, of the largest number that was wanted.
double difference(const Vector& want, const Vector& got) {
  double largest = 0, size = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double off = std::fabs(want[i] - got[i]);
    largest = off <= largest ? largest : off;  // a NaN stays
    size = std::max(size, std::fabs(want[i]));
  }
  return size > 0 ? largest / size : largest;
}

// The eps that explains a row best: out = x w / sqrt(ms + eps).
double eps_in_effect(const Case& c) {
  double up = 0, down = 0;
  for (std::size_t i = 0; i < c.in.size(); ++i) {
    const double x = c.in[i] * c.weights[i];
    up += c.out[i] * x;
    down += x * x;
  }
  return down > 0 && up != 0 ? (down / up) * (down / up) - mean_square(c.in) : NAN;
}

// What a wrong row is instead: id and words.
std::pair<const char*, std::string> explain(const Case& c, double eps) {
  Vector centred = c.in;
  double mean = 0;
  for (const double value : c.in) mean += value;
  for (double& value : centred) value -= mean / static_cast<double>(c.in.size());
  if (difference(rms_norm(centred, c.weights, eps), c.out) <= 10 * kAllowed) {
    return {"norm_kind", "a layer norm (the mean is subtracted) in place of an RMS norm"};
  }
  Vector raised = c.weights;
  for (double& weight : raised) weight += 1;
  if (difference(rms_norm(c.in, raised, eps), c.out) <= 10 * kAllowed) {
    return {"norm_weight", "1 is added to the weights, which have it already"};
  }
  const Vector none(c.weights.size(), 1.0);
  if (difference(rms_norm(c.in, none, eps), c.out) <= 10 * kAllowed) {
    return {"norm_weight", "the weights are not applied"};
  }
  const double found = eps_in_effect(c);
  if (difference(rms_norm(c.in, c.weights, found), c.out) <= 10 * kAllowed) {
    return {"norm_eps", "eps is " + four_digits(found) + " in effect and should be " + four_digits(eps)};
  }
  return {"norm_weight", "not the RMS norm of what goes in with these weights"};
}

class Norms {
 public:
  // residual: what mixer and FFN are multiplied by.
  Norms(Patient& patient, const StageKeeper& keeper, double eps, double residual)
      : patient_(patient), keeper_(keeper), eps_(eps), residual_(residual) {}

  void add_layer(std::int64_t layer) {
    const auto before = layer == 0 ? keeper_.rows(Stage::kEmbedding, -1) : keeper_.rows(Stage::kResidual, layer - 1);
    const auto mixed = keeper_.rows(Stage::kMixerOut, layer), block = keeper_.rows(Stage::kBlockOut, layer);
    const auto after = keeper_.rows(Stage::kResidual, layer);
    const Vector post_mixer = weights(layer, "post_attention_norm.weight"), ffn = weights(layer, "ffn_norm.weight");
    const Vector post_block = weights(layer, "post_ffw_norm.weight");
    const Vector mixer = weights(layer, "attn_norm.weight");
    // Where blocks have no norm behind them, that of this name stands before the FFN.
    const bool sandwich = convention_of(patient_, "post_norms", layer) == "yes";
    for (std::size_t i = 0; i < before.size() && i < mixed.size() && i < after.size() && i < block.size(); ++i) {
      const Vector x = in_f64(before[i].values);
      compare("attn_norm.weight", layer, Stage::kAttnNorm, i, x, mixer);
      const Vector middle = added(x, in_f64(mixed[i].values), sandwich ? post_mixer : Vector());
      compare(ffn.empty() ? "post_attention_norm.weight" : "ffn_norm.weight", layer, Stage::kFfnNorm, i, middle,
              ffn.empty() && !sandwich ? post_mixer : ffn);
      Vector end = added(middle, in_f64(block[i].values), post_block);
      // What tokens bring for each layer comes in between, and is not shown.
      if (!weights(layer, "post_norm.weight").empty()) continue;
      if (const Vector scale = weights(layer, "layer_output_scale.weight"); scale.size() == 1) {
        for (double& value : end) value *= scale[0];
      }
      ++n_compared;
      if (const double off = difference(end, in_f64(after[i].values)); !(off <= kAllowed) && !wrong) {
        wrong = Case{layer_tensor(layer, post_block.empty() ? "" : "post_ffw_norm.weight"),
                     layer,
                     after[i].position,
                     Stage::kResidual,
                     end,
                     in_f64(after[i].values),
                     {}};
        wrong_by = off;
      }
    }
  }

  void add_last(std::int64_t n_layer) {
    const auto before = keeper_.rows(Stage::kResidual, n_layer - 1);
    Vector last;
    std::string name;
    for (const char* each : {"token_embd_norm.weight", "output_norm.weight"}) {  // the first is LFM2's
      if (last.empty()) last = in_f64(vector_of(patient_, name = each));
    }
    const std::size_t n = keeper_.rows(Stage::kOutputNorm, -1).size();
    for (std::size_t i = 0; i < before.size() && i < n; ++i) {
      compare(name.c_str(), -1, Stage::kOutputNorm, i, in_f64(before[i].values), last);
    }
  }

  std::int64_t n_compared = 0;
  double worst = 0, wrong_by = 0;
  std::optional<Case> wrong, smallest;  // smallest: of the row whose eps shows best

 private:
  Vector weights(std::int64_t layer, std::string_view name) const {
    return in_f64(vector_of(patient_, layer_tensor(layer, name)));
  }
  Vector added(const Vector& x, const Vector& y, const Vector& norm) const {
    const Vector more = norm.empty() ? y : rms_norm(y, norm, eps_);
    Vector out = x;
    for (std::size_t i = 0; i < out.size(); ++i) out[i] += residual_ * more[i];
    return out;
  }
  void compare(const char* name, std::int64_t layer, Stage stage, std::size_t i, const Vector& in, const Vector& norm) {
    const auto rows = keeper_.rows(stage, layer);
    if (i >= rows.size() || norm.size() != in.size() || rows[i].values.size() != in.size()) return;
    Case c{
        layer < 0 ? name : layer_tensor(layer, name), layer, rows[i].position, stage, in, in_f64(rows[i].values), norm};
    ++n_compared;
    const double off = difference(rms_norm(in, norm, eps_), c.out);
    if (!(off <= kAllowed) && !wrong) {
      wrong = c;
      wrong_by = off;
    }
    worst = std::max(worst, off);
    if (!smallest || mean_square(in) < mean_square(smallest->in)) smallest = std::move(c);
  }

  Patient& patient_;
  const StageKeeper& keeper_;
  double eps_, residual_;
};

CheckResult failed(Patient& patient, const Norms& norms, double eps) {
  const Case& c = *norms.wrong;
  const bool a_norm = !c.weights.empty();
  const auto [id, words] = a_norm ? explain(c, eps)
                                  : std::pair<const char*, std::string>{
                                        "norm_place", "the stream is not what it was plus what mixer and FFN give"};
  CheckResult result = CheckResult::fail(kId, norms.n_compared,
                                         std::string(engine::stage_name(c.stage)) + " of token " +
                                             std::to_string(c.position) + " (" + c.tensor + "): " + words);
  result.measured = norms.wrong_by;
  result.place = {c.layer, -1, c.position, c.tensor, "", std::string(engine::stage_name(c.stage))};
  Cause cause;
  cause.id = id;
  cause.place.layer = c.layer;
  cause.place.tensor = c.tensor;
  cause.text = "The norm " + c.tensor + ": " + words + ".";
  cause.evidence = {{"difference", four_digits(norms.wrong_by)}, {"eps", four_digits(eps)}};
  cause.command = trace_command(patient, "--stages " + std::string(engine::stage_name(c.stage)) +
                                             (c.layer < 0 ? "" : " --layers " + std::to_string(c.layer)));
  cause.confidence = 0.85;
  result.causes.push_back(std::move(cause));
  return result;
}

// What the row with the smallest numbers says of eps: f32 hides it behind a mean square of 10^6 times its size.
std::string eps_words(const Case& c, double eps, bool* wrong) {
  const double found = eps_in_effect(c), hidden = mean_square(c.in) * 0x1p-21;
  char text[128];
  if (hidden > 0.2 * eps) {
    std::snprintf(text, sizeof text, "; eps is %.3g give or take %.1g (file %.3g)", found, hidden, eps);
    *wrong = std::fabs(found - eps) > 4 * hidden + 0.2 * eps;
    return text;
  }
  std::snprintf(text, sizeof text, "; eps in effect %.3g (file %.3g)", found, eps);
  *wrong = std::fabs(found - eps) > 0.2 * eps + hidden;
  return text;
}

Result<CheckResult> run(Patient& patient) {
  ROWMAX_TRY(model, patient.model());
  ROWMAX_RETURN_IF_ERROR(patient.conventions());
  const double eps = convention_number(patient, "rms_norm_eps", 0, 0);
  ROWMAX_TRY(tokens, text_tokens(patient, kTokens));
  StageKeeper keeper([](Stage stage, std::int64_t) {
    return stage == Stage::kEmbedding || stage == Stage::kAttnNorm || stage == Stage::kMixerOut ||
           stage == Stage::kFfnNorm || stage == Stage::kBlockOut || stage == Stage::kResidual ||
           stage == Stage::kOutputNorm;
  });
  ROWMAX_TRY(session, open_session(patient, std::ssize(tokens)));
  session.set_observer(&keeper);
  ROWMAX_TRY(sequence, session.open());
  const engine::BatchItem item{sequence, tokens, engine::LogitsFor::kAll};
  ROWMAX_RETURN_IF_ERROR(session.forward({&item, 1}));
  ROWMAX_TRY(residual, engine::edit_value(*model, "residual_scale"));
  Norms norms(patient, keeper, eps, std::strtod(residual.c_str(), nullptr));
  const std::int64_t n_layer = model->shape().n_layer;
  for (std::int64_t layer = 0; layer < n_layer; ++layer) norms.add_layer(layer);
  norms.add_last(n_layer);
  if (norms.wrong) return failed(patient, norms, eps);
  if (!norms.smallest) return CheckResult::inconclusive(kId, "no norm of this model could be computed again");
  bool wrong = false;
  const std::string words = eps_words(*norms.smallest, eps, &wrong);
  if (wrong) {
    norms.wrong = norms.smallest;
    CheckResult result = failed(patient, norms, eps);
    result.causes.front().id = "norm_eps";
    result.causes.front().text = "The eps of the norms is not the file's" + words + ".";
    result.reason = result.causes.front().text;
    return result;
  }
  CheckResult result = CheckResult::pass(
      kId, norms.n_compared, std::to_string(norms.n_compared) + " rows are the RMS norm of what goes in" + words);
  result.measured = norms.worst;
  return result;
}

}  // namespace

Result<CheckResult> check_norms(Patient& patient) {
  Result<CheckResult> result = concluded(kId, run(patient));
  if (result.ok() && result->n_compared > 0) {
    result->threshold = kAllowed;
    result->unit = "of a row's largest number";
  }
  return result;
}

}  // namespace rowmax::doctor
