#include "doctor/search/text_loss.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "rowmax/engine/chat.h"
#include "rowmax/engine/sampler.h"
#include "rowmax/engine/session.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

constexpr std::size_t kFirst = 8;  // tokens of a piece that are not scored
// Logits of a whole part would take hundreds of megabytes, and a text that is given up is computed to the next such row.
constexpr std::int64_t kRowsAtATime = 64;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

bool is_session_edit(const std::string& name) {
  const auto table = engine::edit_table();
  const auto row = std::ranges::find(table, name, &engine::EditInfo::name);
  return row == table.end() || row->scope == engine::EditScope::kSession;
}
bool cuts_text(const engine::Edits& edits) {
  return std::ranges::any_of(edits, [](const auto& edit) {
    const auto table = engine::edit_table();
    const auto row = std::ranges::find(table, edit.first, &engine::EditInfo::name);
    return row != table.end() && row->scope == engine::EditScope::kTokens;
  });
}

// Where each token begins in the text, in bytes.
Result<std::vector<std::size_t>> starts_of(const engine::Tokenizer& tokenizer,
                                           std::span<const engine::TokenId> tokens) {
  std::vector<std::size_t> starts;
  std::size_t at = 0;
  for (const engine::TokenId token : tokens) {
    starts.push_back(at);
    ROWMAX_TRY(piece, tokenizer.piece(token, false));
    at += piece.size();
  }
  return starts;
}

}  // namespace

std::size_t TextLoss::best_part() const noexcept {
  return static_cast<std::size_t>(std::ranges::min_element(parts) - parts.begin());
}

Gain gain_of(const TextLoss& base, const TextLoss& other) noexcept {
  if (other.parts.empty() || base.parts.size() != other.parts.size() || !std::isfinite(other.best()))
    return {-kInfinity, 0};
  const std::size_t part = other.best_part();
  // Against what the base knows best: else a variant would win that is merely less bad in one part.
  Gain gain{base.best() - other.best(), kInfinity};
  if (!std::isfinite(gain.nats)) return gain;
  const auto& ours = base.tokens[part];
  const auto& theirs = other.tokens[part];
  if (ours.size() != theirs.size() || ours.size() < 2) return gain;
  double mean = 0, square = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) mean += ours[i] - theirs[i];
  const auto n = static_cast<double>(ours.size());
  mean /= n;
  for (std::size_t i = 0; i < ours.size(); ++i) square += (ours[i] - theirs[i] - mean) * (ours[i] - theirs[i] - mean);
  const double error = std::sqrt(square / (n - 1) / n);
  gain.sigmas = error > 0 ? mean / error : mean > 0 ? kInfinity : 0;
  return gain;
}

LossMeter::LossMeter(const engine::Model& model, std::span<const TextPiece> text, std::int64_t max_tokens,
                     Executor& executor, std::function<Status()> step)
    : model_(model), executor_(executor), step_(std::move(step)) {
  // One less than the context, so that BOS can be put before it.
  max_tokens = std::min(max_tokens, model.shape().context_length - 1);
  for (const TextPiece& piece : text) {
    TextPiece shortened = piece;
    if (std::ssize(shortened.tokens) > max_tokens) shortened.tokens.resize(static_cast<std::size_t>(max_tokens));
    const auto starts = starts_of(model.tokenizer(), shortened.tokens);
    const std::size_t n = shortened.tokens.size();
    if (!starts.ok() || n < kFirst + 2) continue;
    const auto last = model.tokenizer().piece(shortened.tokens.back(), false);
    shortened.text = piece.text.substr(0, std::min(piece.text.size(), starts->back() + (last.ok() ? last->size() : 0)));
    n_unscored_.push_back((*starts)[kFirst]);
    n_scored_.push_back(static_cast<std::int64_t>(n - kFirst));
    pieces_.push_back(std::move(shortened));
  }
}

std::int64_t LossMeter::n_tokens() const noexcept {
  std::int64_t n = 0;
  for (const TextPiece& piece : pieces_) n += std::ssize(piece.tokens);
  return n;
}

namespace {

// What was found of one kind of text.
struct Sum {
  std::vector<double> scored;
  double nll = 0, hits = 0;
  double most = kInfinity;  // nothing is added once nll is more
  bool given_up() const { return nll > most; }
};

// A sequence of its own for each piece.
Status add_piece(engine::Session& session, engine::SequenceId sequence, std::span<const engine::TokenId> tokens,
                 std::span<const std::size_t> starts, std::size_t n_unscored, const std::function<Status()>& step,
                 Sum& sum) {
  const auto emptied = session.truncate(sequence, 0);
  if (!emptied.ok()) return Error(emptied.error());
  for (std::size_t begin = 0; begin + 1 < tokens.size() && !sum.given_up();) {
    if (step) ROWMAX_RETURN_IF_ERROR(step());
    const std::size_t n = std::min<std::size_t>(kRowsAtATime, tokens.size() - 1 - begin);
    const engine::BatchItem item{sequence, tokens.subspan(begin, n), engine::LogitsFor::kAll};
    const Status status = session.forward({&item, 1});
    if (!status.ok() && status.error().code == ErrorCode::kNumericFault) {
      sum.nll = kInfinity;
      return {};
    }
    if (!status.ok()) return Error(status.error());
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t next = begin + i + 1;
      if (starts[next] < n_unscored) continue;
      const std::span<const float> logits = session.logits(static_cast<std::int64_t>(i));
      sum.scored.push_back(-engine::log_probability(logits, tokens[next]));
      sum.nll += sum.scored.back();
      const auto likeliest = engine::argmax(logits);
      if (likeliest.ok() && *likeliest == tokens[next]) ++sum.hits;
    }
    begin += n;
  }
  return {};
}

}  // namespace

Result<TextLoss> LossMeter::of(const engine::Edits& edits, double to_beat) const {
  const bool of_session = std::ranges::all_of(edits, [](const auto& edit) { return is_session_edit(edit.first); });
  std::optional<engine::Model> changed;
  if (!of_session) {
    ROWMAX_TRY(other, model_.with_edits(edits, executor_, [&] { return !step_ || step_().ok(); }));
    changed.emplace(std::move(other));
  }
  const engine::Model& model = changed ? *changed : model_;
  const bool other_text = cuts_text(edits);
  std::vector<std::vector<engine::TokenId>> texts;
  std::size_t longest = 1;
  for (const TextPiece& piece : pieces_) {
    if (other_text) {
      ROWMAX_TRY(tokens, engine::encode_prompt(model, piece.text, false));
      tokens.resize(std::min(tokens.size(), static_cast<std::size_t>(model.shape().context_length)));
      texts.push_back(std::move(tokens));
    } else {
      texts.push_back(piece.tokens);
    }
    longest = std::max(longest, texts.back().size());
  }
  engine::SessionOptions options;
  options.context = static_cast<std::int64_t>(longest);
  options.reuse_prefixes = false;
  if (of_session) options.edits = edits;
  ROWMAX_TRY(session, engine::Session::create(model, options, executor_));
  ROWMAX_TRY(sequence, session.open());
  TextLoss loss;
  for (std::size_t first = 0; first < pieces_.size();) {
    std::size_t p = first;
    double n_scored = 0;  // tokens of the configured tokenizer
    while (p < pieces_.size() && pieces_[p].kind == pieces_[first].kind)
      n_scored += static_cast<double>(n_scored_[p++]);
    Sum sum;
    sum.most = to_beat * n_scored;
    std::int64_t n_to_score = 0;  // tokens of this model's
    for (; first < p; ++first) {
      ROWMAX_TRY(starts, starts_of(model.tokenizer(), texts[first]));
      n_to_score += std::ranges::count_if(std::span(starts).subspan(std::min<std::size_t>(1, starts.size())),
                                          [&](std::size_t start) { return start >= n_unscored_[first]; });
      ROWMAX_RETURN_IF_ERROR(add_piece(session, sequence, texts[first], starts, n_unscored_[first], step_, sum));
    }
    const auto n_until_now = static_cast<std::int64_t>(sum.scored.size());
    const bool whole = n_until_now == n_to_score;
    if (!whole && n_until_now > 0) sum.nll *= static_cast<double>(n_to_score) / static_cast<double>(n_until_now);
    loss.parts.push_back(sum.nll / n_scored);
    loss.hits.push_back(sum.scored.empty() ? 0 : sum.hits / static_cast<double>(sum.scored.size()));
    loss.tokens.push_back(other_text || !whole || !std::isfinite(sum.nll) ? std::vector<double>()
                                                                          : std::move(sum.scored));
  }
  return loss;
}

}  // namespace rowmax::doctor
