// Check 12: which K/V head a query head reads, and whether keys and values that were stored are those that later tokens
// read: weights and outputs are computed again in fp64 from q, k and v as they were shown, for every K/V head.
#include <algorithm>
#include <cmath>
#include <optional>

#include "base/half.h"
#include "base/math/f64.h"
#include "doctor/check.h"
#include "doctor/checks/forward.h"
#include "rowmax/probe.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::Stage;

constexpr std::string_view kId = "head_map";
constexpr std::int64_t kTokens = 40, kDecoded = 4;

// Beside the stages, what the attention call was given.
class Keeper final : public StageKeeper {
 public:
  Keeper(std::int64_t n_layer, std::int64_t n_head)
      : StageKeeper([](Stage stage, std::int64_t) {
          return stage == Stage::kQRaw || stage == Stage::kQ || stage == Stage::kK || stage == Stage::kV ||
                 stage == Stage::kScores || stage == Stage::kAttnOut;
        }),
        n_head_(n_head),
        given_(static_cast<std::size_t>(n_layer * n_head)) {}
  bool probes(std::int64_t) override { return true; }
  bool probes_row(std::int64_t, const engine::TraceRow& token, std::int64_t) noexcept override {
    return token.position == 0;
  }
  void see_row(std::int64_t layer, const ProbeRow& row) noexcept override {
    if (row.head < n_head_) given_[static_cast<std::size_t>(layer * n_head_ + row.head)] = row;
  }
  // Of the layer's first token; without keys where it was not seen.
  ProbeRow given(std::int64_t layer, std::int64_t head) const {
    return head < n_head_ ? given_[static_cast<std::size_t>(layer * n_head_ + head)] : ProbeRow{};
  }

 private:
  std::int64_t n_head_;
  std::vector<ProbeRow> given_;
};

// As the cache holds it.
double stored(float value) { return static_cast<double>(base::f16_to_f32(base::f32_to_f16(value))); }

struct Candidate {
  double error = 0, allowed = 0;
  bool fits() const { return error <= allowed; }
};

// Weights of a row if its head read K/V head `group` of the keys [first, rows.size()).
Candidate of_keys(const ProbeRow& given, std::span<const float> q, std::span<const KeptRow> keys, std::int64_t first,
                  std::int64_t last, std::int64_t group, std::span<const float> weights) {
  std::vector<double> scores;
  double largest = -INFINITY, size = 0;
  for (std::int64_t j = first; j <= last; ++j) {
    const std::span<const float> k = keys[static_cast<std::size_t>(j)].group(group);
    double dot = 0, length = 0;
    for (std::size_t d = 0; d < q.size(); ++d) {
      const double product = static_cast<double>(q[d]) * stored(k[d]);
      dot += product;
      length += std::fabs(product);
    }
    double score = dot * given.scale;
    if (given.softcap > 0) {
      const auto cap = static_cast<double>(given.softcap);
      score = cap - 2 * cap / (base::exp_f64(2 * score / cap) + 1);
    }
    scores.push_back(score);
    largest = std::max(largest, score);
    size = std::max(size, length * std::fabs(given.scale));
  }
  const auto sink = static_cast<double>(given.sink);
  largest = std::max(largest, sink);
  double sum = std::isinf(sink) ? 0 : base::exp_f64(sink - largest);
  for (const double score : scores) sum += base::exp_f64(score - largest);
  Candidate candidate{0, 2e-6 + 0x1p-23 * static_cast<double>(q.size() + 8) * size};
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const auto got = static_cast<double>(weights[static_cast<std::size_t>(first) + i]);
    candidate.error = std::max(candidate.error, std::fabs(base::exp_f64(scores[i] - largest) / sum - got));
  }
  return candidate;
}

// The head's output, if it read these values.
Candidate of_values(std::span<const float> out, std::span<const KeptRow> values, std::int64_t last, std::int64_t group,
                    std::span<const float> weights) {
  Candidate candidate;
  double size = 0;
  for (std::size_t d = 0; d < out.size(); ++d) {
    double sum = 0;
    for (std::int64_t j = 0; j <= last; ++j) {
      const double v = stored(values[static_cast<std::size_t>(j)].group(group)[d]);
      sum += static_cast<double>(weights[static_cast<std::size_t>(j)]) * v;
      size = std::max(size, std::fabs(v));
    }
    candidate.error = std::max(candidate.error, std::fabs(sum - static_cast<double>(out[d])));
  }
  candidate.allowed = 1e-5 * size;
  return candidate;
}

struct Progress {
  std::int64_t n_heads = 0, n_told_apart = 0;
  double worst = 0;
  std::optional<CheckResult> failed;
};

void fail(Patient& patient, Progress& progress, std::int64_t layer, std::int64_t head, std::int64_t position,
          std::int64_t expected, std::int64_t found, const char* what) {
  if (progress.failed) return;
  const std::string where =
      "layer " + std::to_string(layer) + ", head " + std::to_string(head) + ", token " + std::to_string(position);
  Cause cause;
  cause.id = found >= 0 ? "head_mapping" : "kv_cache";
  cause.place.layer = layer;
  cause.place.head = head;
  cause.text = found >= 0 ? "Query head " + std::to_string(head) + " reads the " + what + " of K/V head " +
                                std::to_string(found) + " in place of " + std::to_string(expected) + "."
                          : "The " + std::string(what) +
                                " that a token reads are not those that were computed for the tokens before it (" +
                                where + "): the wrong place of the cache, or the wrong layer.";
  cause.evidence = {{"expected_kv_head", std::to_string(expected)}, {"found_kv_head", std::to_string(found)}};
  cause.command = trace_command(
      patient, "--stages q,k,scores --layers " + std::to_string(layer) + " --head " + std::to_string(head));
  cause.confidence = found >= 0 ? 0.85 : 0.5;  // windows and scales look like that, too
  progress.failed = CheckResult::fail(kId, progress.n_heads, cause.text);
  progress.failed->place = cause.place;
  progress.failed->place.position = position;
  progress.failed->causes.push_back(std::move(cause));
}

// The candidates of a head, one for each K/V head. What fits nothing but the expected head, or all, is well.
void judge(Patient& patient, Progress& progress, std::int64_t layer, std::int64_t head, std::int64_t position,
           std::int64_t expected, std::span<const Candidate> candidates, const char* what) {
  ++progress.n_heads;
  const auto found = std::ranges::find_if(candidates, &Candidate::fits);
  const Candidate& wanted = candidates[static_cast<std::size_t>(expected)];
  if (!wanted.fits()) {
    fail(patient, progress, layer, head, position, expected,
         found == candidates.end() ? -1 : found - candidates.begin(), what);
    return;
  }
  progress.worst = std::max(progress.worst, wanted.error / wanted.allowed);
  progress.n_told_apart += std::ranges::count_if(candidates, &Candidate::fits) == 1;
}

void judge_row(Patient& patient, const Keeper& keeper, std::int64_t layer, std::int64_t position, bool values_shown,
               Progress& progress) {
  const auto at = static_cast<std::size_t>(position);
  const auto qs = keeper.rows(Stage::kQ, layer), ks = keeper.rows(Stage::kK, layer);
  const auto vs = keeper.rows(Stage::kV, layer), outs = keeper.rows(Stage::kAttnOut, layer);
  const KeptRow& weights = keeper.rows(Stage::kScores, layer)[at];
  const std::int64_t n_head = qs[at].n_group, n_kv = ks[at].n_group;
  const std::int64_t window = window_of_layer(patient, layer);
  const std::int64_t first = window > 0 ? std::max<std::int64_t>(0, position - window + 1) : 0;
  for (std::int64_t head = 0; head < n_head; ++head) {
    const ProbeRow given = keeper.given(layer, head);
    if (given.n_kv == 0) return;
    std::vector<Candidate> keys, values;
    for (std::int64_t g = 0; g < n_kv; ++g) {
      keys.push_back(of_keys(given, qs[at].group(head), ks, first, position, g, weights.group(head)));
      if (values_shown) values.push_back(of_values(outs[at].group(head), vs, position, g, weights.group(head)));
    }
    const std::int64_t expected = head / (n_head / n_kv);
    judge(patient, progress, layer, head, position, expected, keys, "keys");
    if (values_shown) judge(patient, progress, layer, head, position, expected, values, "values");
  }
}

Result<CheckResult> run(Patient& patient) {
  ROWMAX_TRY(tokens, text_tokens(patient, kTokens));
  const std::span<const engine::TokenId> all(tokens);
  const std::size_t n_decode = std::min<std::size_t>(kDecoded, all.size() / 2);
  ROWMAX_TRY(session, open_session(patient, std::ssize(tokens)));
  ROWMAX_TRY(model, patient.model());
  Keeper keeper(model->shape().n_layer, model->shape().n_head);
  session.set_observer(&keeper);
  ROWMAX_TRY(sequence, session.open());
  for (std::size_t i = 0; i < all.size();) {
    const std::size_t n = i < all.size() - n_decode ? all.size() - n_decode : 1;
    const engine::BatchItem item{sequence, all.subspan(i, n), engine::LogitsFor::kNone};
    ROWMAX_RETURN_IF_ERROR(session.forward({&item, 1}));
    i += n;
  }
  ROWMAX_TRY(file, patient.file());
  Progress progress;
  for (const std::int64_t layer : keeper.layers(Stage::kScores)) {
    // A layer may read keys of an earlier one: nothing of its own is shown then.
    if (keeper.rows(Stage::kK, layer).size() != all.size()) continue;
    const KeptRow& q = keeper.rows(Stage::kQ, layer)[0];
    const bool gated = keeper.rows(Stage::kQRaw, layer)[0].width != q.width;
    const auto has = [&](std::string_view name) { return file->find_tensor(layer_tensor(layer, name)) != nullptr; };
    const bool normed = has("attn_sub_norm.weight") || has("attn_output_norm_in.weight");
    const auto n = static_cast<std::int64_t>(all.size()), decoded = static_cast<std::int64_t>(n_decode);
    for (const std::int64_t position : {n - decoded - 1, n - 1}) {
      judge_row(patient, keeper, layer, position, !gated && !normed, progress);
    }
  }
  if (progress.failed) return std::move(*progress.failed);
  if (progress.n_heads == 0) return CheckResult::inconclusive(kId, "no layer shows queries and keys of its own");
  CheckResult result =
      CheckResult::pass(kId, progress.n_heads,
                        "weights and outputs of " + std::to_string(progress.n_heads) +
                            " heads come from the K/V head that is theirs, from the prompt and from the cache; for " +
                            std::to_string(progress.n_told_apart) + " no other K/V head would do");
  result.measured = progress.worst;
  result.threshold = 1;
  result.unit = "of the allowed error";
  return result;
}

}  // namespace

Result<CheckResult> check_head_map(Patient& patient) { return concluded(kId, run(patient)); }

}  // namespace rowmax::doctor
