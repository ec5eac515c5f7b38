// Check 7: what a token sees. Later tokens and other sequences of a batch change no bit of its logits, and a sliding
// window ends where the file says.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "doctor/check.h"
#include "doctor/checks/forward.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::TokenId;
using Tokens = std::vector<TokenId>;
using Logits = std::vector<std::vector<float>>;

constexpr std::string_view kId = "masks";
constexpr std::int64_t kTokens = 68;      // more than one tile of keys
constexpr std::int64_t kSmallWindow = 9;  // in place of one that is too wide for a short text

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

struct Finding {
  std::string what, cause;
  Place place;
};

struct Progress {
  std::int64_t n_compared = 0;
  std::optional<Finding> finding;  // the first
  void compare(const Logits& want, const Logits& got, std::size_t n, const std::string& what) {
    for (std::size_t i = 0; i < n && i < want.size() && i < got.size(); ++i) {
      ++n_compared;
      if (finding || same_bits(want[i], got[i])) continue;
      finding = {what, "mask", {}};
      finding->place.position = static_cast<std::int64_t>(i);
      finding->place.stage = "logits";
    }
  }
};

// The text backwards, for what must not be seen.
Tokens others_of(const Tokens& tokens) { return {tokens.rbegin(), tokens.rend()}; }

// Tokens from `cut` on are others: rows before it keep their bits.
Status future(engine::Session& session, const Tokens& tokens, const Logits& base, Progress& progress) {
  const Tokens others = others_of(tokens);
  for (const std::size_t cut : {std::size_t{1}, tokens.size() / 2, tokens.size() - 1}) {
    Tokens changed = tokens;
    for (std::size_t i = cut; i < changed.size(); ++i) changed[i] = others[i] == tokens[i] ? others[0] : others[i];
    ROWMAX_TRY(sequence, session.open());
    Logits rows;
    ROWMAX_RETURN_IF_ERROR(forward_logits(session, sequence, changed, rows));
    progress.compare(base, rows, cut, "later tokens change the logits of earlier ones");
    session.close(sequence);
  }
  return {};
}

// The text between a shorter and a longer sequence of one batch, in all places.
Status ragged(engine::Session& session, const Tokens& tokens, const Logits& base, Progress& progress) {
  const Tokens others = others_of(tokens);
  for (std::size_t place = 0; place < 3; ++place) {
    std::vector<engine::BatchItem> items;
    std::vector<engine::SequenceId> opened;
    const std::span<const TokenId> short_one = std::span(others).first(tokens.size() / 3);
    std::size_t n_before = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      ROWMAX_TRY(sequence, session.open());
      opened.push_back(sequence);
      const std::span<const TokenId> item = i == place ? std::span(tokens) : i == (place + 1) % 3 ? short_one : others;
      items.push_back({sequence, item, engine::LogitsFor::kAll});
      if (i < place) n_before += item.size();
    }
    ROWMAX_RETURN_IF_ERROR(session.forward(items));
    Logits rows;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const auto row = session.logits(static_cast<std::int64_t>(n_before + i));
      rows.emplace_back(row.begin(), row.end());
    }
    progress.compare(base, rows, tokens.size(), "other sequences of a batch change the logits of one");
    for (const engine::SequenceId sequence : opened) session.close(sequence);
  }
  return {};
}

// What windows show in the weights of all layers: which keys have any.
struct Windows {
  std::int64_t small = 0;  // set for all layers in place of the file's; 0: none
  std::int64_t of(Patient& patient, std::int64_t layer) const {
    return small != 0 ? small : window_of_layer(patient, layer);
  }
};

void look_at_scores(Patient& patient, const Windows& windows, const StageKeeper& keeper, Progress& progress) {
  for (const std::int64_t layer : keeper.layers(engine::Stage::kScores)) {
    const std::int64_t window = windows.of(patient, layer);
    std::int64_t n_edge = 0, n_edge_seen = 0;
    for (const KeptRow& row : keeper.rows(engine::Stage::kScores, layer)) {
      const std::int64_t p = row.position, first = window > 0 ? std::max<std::int64_t>(0, p - window + 1) : 0;
      for (std::int64_t head = 0; head < row.n_group; ++head) {
        const std::span<const float> weights = row.group(head);
        for (std::int64_t j = 0; j < row.width; ++j) {
          ++progress.n_compared;
          if ((j >= first && j <= p) || weights[static_cast<std::size_t>(j)] == 0 || progress.finding) continue;
          progress.finding = {j > p ? "a token has weight for a key behind it" : "a key outside the window has weight",
                              j > p ? "mask" : "window",
                              {}};
          progress.finding->place = {layer, head, p, "", "", "scores"};
        }
        if (window > 0 && first == 0) continue;  // the window does not end here
        ++n_edge;
        n_edge_seen += weights[static_cast<std::size_t>(first)] != 0;
      }
    }
    // The edge is there: weights are so small only now and then.
    if (n_edge > 0 && n_edge_seen == 0 && !progress.finding) {
      progress.finding = {
          "no token has weight for the first key that it should see", window > 0 ? "window" : "mask", {}};
      progress.finding->place.layer = layer;
      progress.finding->place.stage = "scores";
    }
  }
}

Status scores(Patient& patient, const Tokens& tokens, Progress& progress) {
  const auto n = static_cast<std::int64_t>(tokens.size());
  ROWMAX_TRY(model, patient.model());
  bool windowed = false, too_wide = false;
  for (std::int64_t layer = 0; layer < model->shape().n_layer; ++layer) {
    const std::int64_t window = window_of_layer(patient, layer);
    windowed = windowed || window > 0;
    too_wide = too_wide || window >= n;
  }
  std::vector<Windows> all{{}};
  if (too_wide) all.push_back({kSmallWindow});
  for (const Windows& windows : all) {
    engine::Edits edits;
    if (windows.small != 0) edits = {{"sliding_window", std::to_string(windows.small)}};
    ROWMAX_TRY(session, open_session(patient, n, 1, edits));
    StageKeeper keeper([](engine::Stage stage, std::int64_t) { return stage == engine::Stage::kScores; });
    session.set_observer(&keeper);
    ROWMAX_TRY(sequence, session.open());
    const engine::BatchItem item{sequence, tokens, engine::LogitsFor::kLast};
    ROWMAX_RETURN_IF_ERROR(session.forward({&item, 1}));
    look_at_scores(patient, windows, keeper, progress);
  }
  return {};
}

Result<CheckResult> run(Patient& patient) {
  ROWMAX_TRY(tokens, text_tokens(patient, kTokens));
  ROWMAX_TRY(session, open_session(patient, std::ssize(tokens), 3));
  Progress progress;
  Logits base;
  ROWMAX_TRY(alone, session.open());
  ROWMAX_RETURN_IF_ERROR(forward_logits(session, alone, tokens, base));
  session.close(alone);
  ROWMAX_RETURN_IF_ERROR(future(session, tokens, base, progress));
  ROWMAX_RETURN_IF_ERROR(patient.step(0.4));
  ROWMAX_RETURN_IF_ERROR(ragged(session, tokens, base, progress));
  ROWMAX_RETURN_IF_ERROR(patient.step(0.8));
  ROWMAX_RETURN_IF_ERROR(scores(patient, tokens, progress));
  if (!progress.finding) {
    CheckResult result = CheckResult::pass(
        kId, progress.n_compared,
        "logits keep their bits with other tokens behind them and beside other sequences; every weight "
        "belongs to a key that its token sees");
    result.measured = result.threshold = 0;
    result.unit = "differences";
    return result;
  }
  const Finding& finding = *progress.finding;
  CheckResult result = CheckResult::fail(kId, progress.n_compared, finding.what);
  result.place = finding.place;
  Cause cause;
  cause.id = finding.cause;
  cause.place = finding.place;
  cause.text = "The mask of attention is wrong: " + finding.what + ".";
  cause.command = trace_command(
      patient, "--stages scores --layers " + std::to_string(std::max<std::int64_t>(finding.place.layer, 0)));
  cause.confidence = 0.9;
  result.causes.push_back(std::move(cause));
  return result;
}

}  // namespace

Result<CheckResult> check_masks(Patient& patient) { return concluded(kId, run(patient)); }

}  // namespace rowmax::doctor
