#include <algorithm>
#include <string>

#include "base/guarded.h"
#include "rowmax/engine/generate.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

// Logits of a whole half window of a large vocabulary would take hundreds of megabytes: a few rows at a time instead.
constexpr std::int64_t kScoreRows = 64;

// Computes one window of tokens and appends the scores of predictions [first, window - 1).
Status score_window(Session& session, SequenceId sequence, std::span<const TokenId> window, std::int64_t first,
                    Score& score) {
  const auto emptied = session.truncate(sequence, 0);
  if (!emptied.ok()) return emptied.error();
  const std::int64_t end =
      static_cast<std::int64_t>(window.size()) - 1;  // the last token predicts nothing of this window
  if (first > 0) {
    const BatchItem head{sequence, window.first(static_cast<std::size_t>(first)), LogitsFor::kNone};
    ROWMAX_RETURN_IF_ERROR(session.forward({&head, 1}));
  }
  for (std::int64_t begin = first; begin < end; begin += kScoreRows) {
    const std::int64_t n = std::min(kScoreRows, end - begin);
    const BatchItem item{sequence, window.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(n)),
                         LogitsFor::kAll};
    ROWMAX_RETURN_IF_ERROR(session.forward({&item, 1}));
    for (std::int64_t row = 0; row < n; ++row) {
      const TokenId next = window[static_cast<std::size_t>(begin + row + 1)];
      const double log_prob = log_probability(session.logits(row), next);
      score.tokens.push_back(next);
      score.log_probs.push_back(log_prob);
      score.nll -= log_prob;
    }
  }
  return {};
}

// A sequence that is closed again however the work ends.
class OwnSequence {
 public:
  OwnSequence(Session& session, SequenceId id) noexcept : session_(session), id_(id) {}
  OwnSequence(const OwnSequence&) = delete;
  OwnSequence& operator=(const OwnSequence&) = delete;
  ~OwnSequence() { session_.close(id_); }
  SequenceId id() const noexcept { return id_; }

 private:
  Session& session_;
  SequenceId id_;
};

Result<Score> score_windows(Session& session, std::span<const TokenId> tokens, const ScoreOptions& options) {
  if (options.window < 4 || options.window > session.context()) {
    return Error{ErrorCode::kInvalidArgument, "window: expected 4 to the context of " +
                                                  std::to_string(session.context()) + " tokens, found " +
                                                  std::to_string(options.window)};
  }
  const std::int64_t n_windows = static_cast<std::int64_t>(tokens.size()) / options.window;
  if (n_windows == 0) {
    return Error{ErrorCode::kInvalidArgument, "text of " + std::to_string(tokens.size()) +
                                                  " tokens: expected at least one window of " +
                                                  std::to_string(options.window)};
  }
  const Tokenizer& tokenizer = session.model().tokenizer();
  ROWMAX_TRY(opened, session.open());
  const OwnSequence sequence(session, opened);
  Score result;
  result.n_tokens = static_cast<std::int64_t>(tokens.size());
  for (std::int64_t w = 0; w < n_windows; ++w) {
    const auto whole =
        tokens.subspan(static_cast<std::size_t>(w * options.window), static_cast<std::size_t>(options.window));
    std::vector<TokenId> window(whole.begin(), whole.end());
    if (tokenizer.add_bos() && tokenizer.bos() >= 0) window[0] = tokenizer.bos();
    ROWMAX_RETURN_IF_ERROR(score_window(session, sequence.id(), window, options.window / 2, result));
    if (options.progress && !options.progress(w + 1, n_windows)) {
      return Error{ErrorCode::kCancelled, "scoring was cancelled after " + std::to_string(w + 1) + " windows"};
    }
  }
  result.n_scored = static_cast<std::int64_t>(result.log_probs.size());
  result.nll /= static_cast<double>(result.n_scored);
  return result;
}

}  // namespace

Result<Score> score(Session& session, std::span<const TokenId> tokens, const ScoreOptions& options) {
  return base::guarded([&] { return score_windows(session, tokens, options); });
}

}  // namespace rowmax::engine
