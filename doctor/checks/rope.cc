// Check 10: how queries and keys turn with their position: which dimensions pair, how fast each pair turns, and that
// nothing else becomes of them. Angles are computed here from what the architecture makes of the file's keys; nothing of the
// engine's table is used.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "base/math/f64.h"
#include "doctor/check.h"
#include "doctor/checks/forward.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::Stage;

constexpr std::string_view kId = "rope";
constexpr std::int64_t kTokens = 96;
constexpr double kAllowed = 1e-5;  // of a head's largest number
constexpr double kPi = 3.14159265358979323846;

struct Turns {
  bool adjacent = false;
  std::vector<double> frequencies;  // radians a position, of each pair
  double magnitude = 1;
  std::string words;
};

// Of attention over latents: the last dimensions of a head, before and behind its way into the latent's space. 0: whole
// heads.
std::int64_t turned_part(Patient& patient) {
  if (!key_number(patient, "attention.kv_lora_rank")) return 0;
  return static_cast<std::int64_t>(key_number(patient, "rope.dimension_count").value_or(0));
}

// YaRN (arXiv 2309.00071): pairs that turn less than beta_slow times in the original context are slowed down by the
// factor, those that turn more than beta_fast times are not, a ramp between them, whose ends may be rounded.
void apply_yarn(Patient& patient, double base, double n_rot, bool exact, Turns& turns) {
  const double factor = key_number(patient, "rope.scaling.factor").value_or(1);
  const double context = key_number(patient, "rope.scaling.original_context_length").value_or(1);
  const auto pair_that_turns = [&](double n) {
    return n_rot / 2 * base::log_f64(context / (2 * kPi * n)) / base::log_f64(base);
  };
  const double first = pair_that_turns(key_number(patient, "rope.scaling.yarn_beta_fast").value_or(32));
  const double last = pair_that_turns(key_number(patient, "rope.scaling.yarn_beta_slow").value_or(1));
  const double low = std::max(0.0, exact ? first : std::floor(first));
  const double high = std::max(std::min(n_rot - 1, exact ? last : std::ceil(last)), low + 0.001);
  for (std::size_t i = 0; i < turns.frequencies.size(); ++i) {
    const double slowed = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    turns.frequencies[i] *= slowed / factor + (1 - slowed);
  }
}

// What frequencies are divided by. LongRoPE: sessions of more positions than the model had at first divide by the long set.
// None where an edit says another thing than which of the file's.
std::optional<std::vector<float>> divisors_of(Patient& patient, std::int64_t layer, std::int64_t context) {
  std::string which = convention_of(patient, "rope_factors", layer);
  if (which == "none" || which.empty()) return std::vector<float>();
  if (which == "file") return vector_of(patient, "rope_freqs.weight");
  if (which == "by_context") {
    const double original = key_number(patient, "rope.scaling.original_context_length")
                                .value_or(key_number(patient, "context_length").value_or(0));
    which = static_cast<double>(context) > original ? "long" : "short";
  }
  if (which != "long" && which != "short") return {};
  return vector_of(patient, "rope_factors_" + which + ".weight");
}

// By what the layer's architecture has it that heads turn; none where this cannot be computed here.
std::optional<Turns> turns_of(Patient& patient, std::int64_t layer, std::int64_t head_dim, std::int64_t context) {
  Turns turns;
  const std::string pairing = convention_of(patient, "rope_pairing", layer);
  if (pairing.empty()) {
    turns.words = "not at all";
    return turns;
  }
  turns.adjacent = pairing == "adjacent";
  const double n_rot = convention_number(patient, "rope_dimensions", layer, 0);
  const double base = convention_number(patient, "rope_base", layer, 0);
  const double scale = convention_number(patient, "rope_scale", layer, 1);
  const bool of_head = convention_of(patient, "rope_denominator", layer) == "head";
  const double denominator = of_head ? static_cast<double>(head_dim) : n_rot;
  const auto divisors = divisors_of(patient, layer, context);
  if (!divisors) return {};
  const auto n_pair = static_cast<std::size_t>(n_rot / 2);
  for (std::size_t i = 0; i < n_pair; ++i) {
    double frequency = scale * base::pow_f64(base, -2 * static_cast<double>(i) / denominator);
    if (i < divisors->size()) frequency /= static_cast<double>((*divisors)[i]);
    turns.frequencies.push_back(frequency);
  }
  const std::string ramp = convention_of(patient, "yarn_ramp", layer);
  if (!ramp.empty()) apply_yarn(patient, base, n_rot, ramp == "exact", turns);
  turns.magnitude = convention_number(patient, "rope_magnitude", layer, 1);
  const std::string type = convention_of(patient, "rope_scaling", layer);
  turns.words = pairing + " pairs, " + std::to_string(2 * n_pair) + " of " + std::to_string(head_dim) +
                " dimensions, base " + engine::number_text(base) + (type == "none" ? "" : ", " + type);
  return turns;
}

std::pair<std::size_t, std::size_t> pair_at(const Turns& turns, std::size_t i) {
  if (turns.adjacent) return {2 * i, 2 * i + 1};
  return {i, i + turns.frequencies.size()};
}

// A head before it turns (from the raw product, bias and norm) and as it is used.
struct Head {
  std::int64_t position = 0;
  std::vector<double> before;
  std::vector<float> after;
  double largest = 0;
};

// Queries or keys of a layer.
struct Kind {
  Stage raw, used;
  const char *bias, *norm, *name;
};
constexpr std::array<Kind, 2> kKinds{{{Stage::kQRaw, Stage::kQ, "attn_q.bias", "attn_q_norm.weight", "queries"},
                                      {Stage::kKRaw, Stage::kK, "attn_k.bias", "attn_k_norm.weight", "keys"}}};

// What later queries are multiplied by.
double temperature_at(Patient& patient, std::int64_t layer, std::int64_t position) {
  const double scale = convention_number(patient, "attention_temperature", layer, 0);
  if (scale == 0) return 1;
  const auto original = key_number(patient, "rope.scaling.original_context_length");
  const double length = original ? *original : key_number(patient, "context_length").value_or(1);
  return 1 + scale * base::log_f64(1 + std::floor(static_cast<double>(position) / length));
}

// The norm of x, over runs of its weights' length.
void norm_runs(std::span<double> x, const std::vector<float>& weight, double eps) {
  for (std::size_t at = 0; !weight.empty() && at + weight.size() <= x.size(); at += weight.size()) {
    double sum = 0;
    for (std::size_t i = 0; i < weight.size(); ++i) sum += x[at + i] * x[at + i];
    const double factor = 1 / std::sqrt(sum / static_cast<double>(weight.size()) + eps);
    for (std::size_t i = 0; i < weight.size(); ++i) x[at + i] *= factor * static_cast<double>(weight[i]);
  }
}

// Of a norm behind RoPE: the head as it was before it, from one of the same length before RoPE.
void undo_norm(std::span<const double> before, const std::vector<float>& weight, double eps, double magnitude,
               std::vector<float>& after) {
  double sum = 0;
  for (const double value : before) sum += magnitude * value * magnitude * value;
  const double factor = std::sqrt(sum / static_cast<double>(before.size()) + eps);
  for (std::size_t i = 0; i < after.size(); ++i) {
    after[i] = static_cast<float>(static_cast<double>(after[i]) * factor / static_cast<double>(weight[i]));
  }
}

std::vector<Head> heads_of(Patient& patient, const StageKeeper& keeper, std::int64_t layer, const Kind& kind) {
  const auto raw_rows = keeper.rows(kind.raw, layer), used_rows = keeper.rows(kind.used, layer);
  const auto vector_if = [&](std::string_view convention, const char* tensor) {
    const bool there = convention_of(patient, convention, layer) == "yes";
    return there ? vector_of(patient, layer_tensor(layer, tensor)) : std::vector<float>();
  };
  const std::vector<float> bias = vector_if("biases", kind.bias), norm = vector_if("qk_norm", kind.norm);
  const double eps = convention_number(patient, "rms_norm_eps", layer, 0);
  const bool behind = !norm.empty() && convention_of(patient, "qk_norm_place", layer) == "after_rope";
  const std::int64_t part = turned_part(patient);
  std::vector<Head> heads;
  for (std::size_t r = 0; r < used_rows.size() && r < raw_rows.size(); ++r) {
    const KeptRow &raw = raw_rows[r], &used = used_rows[r];
    // Behind each query head may lie its gate.
    std::vector<double> row;
    const std::int64_t width = part > 0 ? std::min(part, used.width) : used.width;
    const std::int64_t first = part > 0 ? raw.width - width : 0;
    for (std::int64_t h = 0; h < used.n_group; ++h) {
      for (std::int64_t d = 0; d < width; ++d) {
        const auto at = static_cast<std::size_t>(h * raw.width + first + d);
        row.push_back(static_cast<double>(raw.values[at]) + (at < bias.size() ? static_cast<double>(bias[at]) : 0.0));
      }
    }
    if (!behind) norm_runs(row, norm, eps);
    if (kind.used == Stage::kQ) {
      for (double& value : row) value *= temperature_at(patient, layer, used.position);
    }
    for (std::int64_t h = 0; h < used.n_group; ++h) {
      const auto begin = row.begin() + h * width;
      const auto after = used.group(h);
      Head head{used.position, {begin, begin + width}, {after.end() - width, after.end()}, 0};
      if (behind && std::ssize(norm) == used.width) {
        undo_norm(head.before, norm, eps, convention_number(patient, "rope_magnitude", layer, 1), head.after);
      }
      for (const double value : head.before) head.largest = std::max(head.largest, std::fabs(value));
      heads.push_back(std::move(head));
    }
  }
  return heads;
}

// Largest difference of a head from what it should be, of its largest number.
double error_of(const Head& head, const Turns& turns) {
  std::vector<double> want = head.before;
  for (std::size_t i = 0; i < turns.frequencies.size(); ++i) {
    double s = 0, c = 0;
    base::sincos_f64(static_cast<double>(head.position) * turns.frequencies[i], &s, &c);
    const auto [a, b] = pair_at(turns, i);
    want[a] = turns.magnitude * (head.before[a] * c - head.before[b] * s);
    want[b] = turns.magnitude * (head.before[a] * s + head.before[b] * c);
  }
  double largest = 0;
  for (std::size_t d = 0; d < want.size(); ++d) {
    largest = std::max(largest, std::fabs(want[d] - static_cast<double>(head.after[d])));
  }
  return head.largest > 0 ? largest / head.largest : largest;
}

double worst_of(const std::vector<Head>& heads, const Turns& turns, std::int64_t last_position = INT64_MAX) {
  double worst = 0;
  for (const Head& head : heads) {
    if (head.position <= last_position) worst = std::max(worst, error_of(head, turns));
  }
  return worst;
}

// Whether every pair keeps its length.
bool lengths_kept(const std::vector<Head>& heads, const Turns& turns) {
  for (const Head& head : heads) {
    for (std::size_t i = 0; i < turns.frequencies.size(); ++i) {
      const auto [a, b] = pair_at(turns, i);
      const double before = turns.magnitude * std::hypot(head.before[a], head.before[b]);
      const double after = std::hypot(static_cast<double>(head.after[a]), static_cast<double>(head.after[b]));
      if (std::fabs(before - after) > 4 * kAllowed * head.largest) return false;
    }
  }
  return true;
}

// The angle in (-pi, pi] with this cosine and the sine's sign.
double angle_of(double c, double s) {
  double low = 0, high = kPi;
  for (int i = 0; i < 50; ++i) {
    const double middle = (low + high) / 2;
    double sine = 0, cosine = 0;
    base::sincos_f64(middle, &sine, &cosine);
    (cosine > c ? low : high) = middle;
  }
  return s < 0 ? -low : low;
}

// Radians that each pair turns from the row before to the row at `position`, from what heads show (of that pair the one
// that is longest).
std::vector<double> measured(const std::vector<Head>& heads, const Turns& turns, std::int64_t position) {
  std::vector<double> angles;
  for (std::size_t i = 0; i < turns.frequencies.size(); ++i) {
    const auto [a, b] = pair_at(turns, i);
    double longest = -1, angle = 0;
    for (const Head& head : heads) {
      const double length = std::hypot(head.before[a], head.before[b]);
      if (head.position != position || !(length > longest)) continue;
      longest = length;
      const double x = static_cast<double>(head.after[a]), y = static_cast<double>(head.after[b]);
      const double square = length * length * turns.magnitude;
      angle = angle_of((head.before[a] * x + head.before[b] * y) / square,
                       (head.before[a] * y - head.before[b] * x) / square);
    }
    angles.push_back(angle);
  }
  return angles;
}

// Why heads do not turn as they should: id and words; none where the numbers before cannot be reproduced.
std::optional<std::pair<const char*, std::string>> explain(const std::vector<Head>& heads, const Turns& turns) {
  if (turns.frequencies.empty()) {
    if (worst_of(heads, turns, 0) > kAllowed) return {};
    return {{"rope_dimension", "they turn"}};
  }
  if (worst_of(heads, Turns{}) <= kAllowed) return {{"rope_dimension", "they do not turn"}};
  Turns other = turns;
  other.adjacent = !turns.adjacent;
  if (worst_of(heads, other) <= kAllowed) {
    return {{"rope_pairing", std::string("dimensions pair as ") + (other.adjacent ? "2i, 2i + 1" : "i, i + n/2") +
                                 ", and should as " + (turns.adjacent ? "2i, 2i + 1" : "i, i + n/2")}};
  }
  if (!lengths_kept(heads, turns)) {
    if (worst_of(heads, turns, 0) <= kAllowed && lengths_kept(heads, other)) {
      return {{"rope_pairing", "dimensions pair in another way than the architecture's"}};
    }
    if (worst_of(heads, turns, 0) > kAllowed) return {};
    return {{"rope_scaling", "pairs of dimensions do not keep their length as they turn"}};
  }
  const std::vector<double> at_zero = measured(heads, turns, 0), angles = measured(heads, turns, 1);
  if (worst_of(heads, turns, 0) > kAllowed) {
    return {{"rope_scaling", "the first token's heads are turned by " + engine::number_text(at_zero[0]) +
                                 " radians: positions do not begin at 0"}};
  }
  std::size_t n_still = 0;
  double low = INFINITY, high = 0;
  for (std::size_t i = 0; i < angles.size(); ++i) {
    const bool visible = turns.frequencies[i] > 0.01 && turns.frequencies[i] < 3;
    if (!visible) continue;
    n_still += std::fabs(angles[i]) < 1e-5;
    low = std::min(low, angles[i] / turns.frequencies[i]);
    high = std::max(high, angles[i] / turns.frequencies[i]);
  }
  if (n_still > 0) return {{"rope_dimension", std::to_string(n_still) + " pairs that should turn stand still"}};
  const std::string found = "pair 0 turns " + engine::number_text(angles[0]) + " radians a position, not " +
                            engine::number_text(turns.frequencies[0]) + "; the others " + engine::number_text(low) +
                            " to " + engine::number_text(high) + " times as fast as they should";
  if (high - low < 0.01 * high) return {{"rope_scaling", found}};
  return {{std::fabs(angles[0] / turns.frequencies[0] - 1) < 0.01 ? "rope_base" : "rope_scaling", found}};
}

// The first layer that attends, the last, and the first whose window is of the other kind.
std::vector<std::int64_t> chosen_layers(Patient& patient, std::int64_t n_layer) {
  std::vector<std::int64_t> attending, chosen;
  for (std::int64_t i = 0; i < n_layer; ++i) {
    if (!convention_of(patient, "attention_scale", i).empty()) attending.push_back(i);
  }
  if (attending.empty()) return {};
  chosen = {attending.front()};
  const bool windowed = window_of_layer(patient, attending.front()) > 0;
  const auto other =
      std::ranges::find_if(attending, [&](std::int64_t i) { return (window_of_layer(patient, i) > 0) != windowed; });
  if (other != attending.end()) chosen.push_back(*other);
  if (std::ranges::find(chosen, attending.back()) == chosen.end()) chosen.push_back(attending.back());
  return chosen;
}

CheckResult failed(Patient& patient, const std::pair<const char*, std::string>& why, std::int64_t layer,
                   const Kind& kind, const Turns& turns, std::int64_t n_compared, double worst) {
  CheckResult result = CheckResult::fail(kId, n_compared,
                                         std::string(kind.name) + " of layer " + std::to_string(layer) +
                                             " do not turn as the file says (" + turns.words + "): " + why.second);
  result.measured = worst;
  result.place.layer = layer;
  result.place.stage = engine::stage_name(kind.used);
  Cause cause;
  cause.id = why.first;
  cause.place.layer = layer;
  cause.text = "RoPE: " + why.second + ".";
  cause.evidence = {{"expected", turns.words}, {"largest_difference", engine::number_text(worst)}};
  cause.command = trace_command(patient, "--stages q_raw,q,k_raw,k --layers " + std::to_string(layer));
  cause.confidence = 0.9;
  result.causes.push_back(std::move(cause));
  return result;
}

Result<CheckResult> run(Patient& patient) {
  ROWMAX_TRY(model, patient.model());
  ROWMAX_RETURN_IF_ERROR(patient.conventions());
  ROWMAX_TRY(tokens, text_tokens(patient, kTokens));
  const std::vector<std::int64_t> layers = chosen_layers(patient, model->shape().n_layer);
  StageKeeper keeper([&](Stage stage, std::int64_t layer) {
    const bool kind = std::ranges::any_of(kKinds, [&](const Kind& k) { return stage == k.raw || stage == k.used; });
    return kind && std::ranges::find(layers, layer) != layers.end();
  });
  ROWMAX_TRY(session, open_session(patient, std::ssize(tokens)));
  session.set_observer(&keeper);
  ROWMAX_TRY(sequence, session.open());
  const engine::BatchItem item{sequence, tokens, engine::LogitsFor::kNone};
  ROWMAX_RETURN_IF_ERROR(session.forward({&item, 1}));
  std::int64_t n_compared = 0;
  double worst = 0;
  std::string words, unknown;
  for (const std::int64_t layer : layers) {
    for (const Kind& kind : kKinds) {
      const std::vector<Head> heads = heads_of(patient, keeper, layer, kind);
      if (heads.empty()) continue;
      const auto found = turns_of(patient, layer, std::ssize(heads[0].before), session.context());
      if (!found) return CheckResult::inconclusive(kId, "--convention rope_factors: its angles are not computed here");
      const Turns& turns = *found;
      if (2 * turns.frequencies.size() > heads[0].before.size()) continue;
      const double error = worst_of(heads, turns);
      n_compared += std::ssize(heads) * std::max<std::int64_t>(std::ssize(turns.frequencies), 1);
      if (!(error <= kAllowed)) {
        if (const auto why = explain(heads, turns)) {
          return failed(patient, *why, layer, kind, turns, n_compared, error);
        }
        unknown = std::string(kind.name) + " of layer " + std::to_string(layer) +
                  " cannot be reproduced before they turn (bias and norm of q and k)";
        continue;
      }
      worst = std::max(worst, error);
      words = turns.words;
    }
  }
  if (!unknown.empty()) return CheckResult::inconclusive(kId, unknown);
  CheckResult result = CheckResult::pass(kId, n_compared,
                                         "queries and keys of " + std::to_string(layers.size()) +
                                             " layers turn as the file says (" + words + ") at " +
                                             std::to_string(tokens.size()) + " positions, and not at all at the first");
  result.measured = worst;
  result.threshold = kAllowed;
  result.unit = "of a head's largest number";
  return result;
}

}  // namespace

Result<CheckResult> check_rope(Patient& patient) {
  Result<CheckResult> result = concluded(kId, run(patient));
  if (result.ok() && result->verdict == Verdict::kFail) {
    result->threshold = kAllowed;
    result->unit = "of a head's largest number";
  }
  return result;
}

}  // namespace rowmax::doctor
