// A smaller model's guesses (rowmax/engine/drafts.h).
#include <algorithm>
#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <utility>

#include "base/guarded.h"
#include "rowmax/engine/drafts.h"
#include "rowmax/engine/sampler.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::int64_t kReadAtOnce = 256;

class DraftModel {
 public:
  DraftModel(Session& session, int max_draft)
      : session_(&session), max_draft_(max_draft), forks_(cannot_go_back(session)) {}

  static bool cannot_go_back(const Session& session) {
    const MemoryShape& memory = session.model().description().memory;
    return memory.state_floats > 0 ||
           std::ranges::any_of(memory.groups, [](const auto& group) { return group.window > 0; });
  }

  std::vector<TokenId> guess(std::span<const TokenId> tokens, std::int64_t at_most) {
    const std::int64_t n = std::min({at_most, max_draft_, session_->context() - std::ssize(tokens)});
    if (n < 1 || tokens.empty()) return {};
    std::vector<TokenId> guesses;
    const Status status = base::guarded([&] { return guess_unguarded(tokens, n, guesses); });
    // Its sequence may hold anything now.
    if (!status.ok() && !used_.empty()) close(used_.begin());
    return guesses;
  }

 private:
  Session* session_;
  const std::int64_t max_draft_;
  const bool forks_;
  std::list<SequenceId> used_;  // the one that was asked last comes first

  void close(std::list<SequenceId>::iterator sequence) {
    session_->close(*sequence);
    used_.erase(sequence);
  }

  std::int64_t common(SequenceId sequence, std::span<const TokenId> tokens) const {
    const std::span<const TokenId> held = session_->tokens(sequence);
    return std::ranges::mismatch(held, tokens).in1 - held.begin();
  }

  // The sequence that has most of the tokens and no more besides than guesses, which is the text's own; else another one.
  Result<SequenceId> take_sequence(std::span<const TokenId> tokens) {
    auto best = used_.end();
    std::int64_t most = 0;
    for (auto it = used_.begin(); it != used_.end(); ++it) {
      const std::int64_t n = common(*it, tokens);
      const std::int64_t beside = std::ssize(session_->tokens(*it)) - n;
      if (n <= most || beside > max_draft_) continue;
      most = n;
      best = it;
    }
    if (best != used_.end()) {
      used_.splice(used_.begin(), used_, best);
      return used_.front();
    }
    while (true) {
      auto opened = session_->open();
      if (opened.ok() && forks_) {  // one is for the fork
        auto spare = session_->open();
        if (spare.ok()) session_->close(*spare);
        if (!spare.ok()) {
          session_->close(*opened);
          opened = std::move(spare).error();
        }
      }
      if (opened.ok()) {
        used_.push_front(*opened);
        ROWMAX_TRY(reused, session_->reuse(*opened, tokens));
        (void)reused;
        return *opened;
      }
      if (used_.empty()) return opened.error();
      close(std::prev(used_.end()));
    }
  }

  Result<TokenId> next(SequenceId sequence, std::span<const TokenId> tokens) {
    const BatchItem item{sequence, tokens, LogitsFor::kLast};
    ROWMAX_RETURN_IF_ERROR(session_->forward({&item, 1}));
    return argmax(session_->logits(0));
  }

  Status guess_unguarded(std::span<const TokenId> tokens, std::int64_t n, std::vector<TokenId>& guesses) {
    ROWMAX_TRY(sequence, take_sequence(tokens));
    const std::int64_t keep = std::min(common(sequence, tokens), std::ssize(tokens) - 1);
    std::int64_t held = std::ssize(session_->tokens(sequence));
    if (held > keep) {
      ROWMAX_TRY(left, session_->truncate(sequence, keep));
      held = left;
    }
    std::span<const TokenId> missing = tokens.subspan(static_cast<std::size_t>(held));
    if (std::ssize(missing) > kReadAtOnce) {
      missing = missing.first(kReadAtOnce);
      const BatchItem item{sequence, missing, LogitsFor::kNone};
      return session_->forward({&item, 1});
    }
    ROWMAX_TRY(first, next(sequence, missing));
    if (!forks_ || n == 1) return go_on(sequence, first, n, guesses);
    // The guesses are computed on a fork, so that nothing has to be taken back.
    ROWMAX_TRY(fork, session_->fork(sequence));
    const Status status = base::guarded([&] { return go_on(fork, first, n, guesses); });
    session_->close(fork);
    return status;
  }

  Status go_on(SequenceId sequence, TokenId guess, std::int64_t n, std::vector<TokenId>& guesses) {
    const Tokenizer& tokenizer = session_->model().tokenizer();
    while (guess < tokenizer.size()) {  // behind them are rows without a meaning
      guesses.push_back(guess);
      if (std::ssize(guesses) == n || tokenizer.is_end_of_generation(guess)) break;
      ROWMAX_TRY(following, next(sequence, {&guess, 1}));
      guess = following;
    }
    return {};
  }
};

}  // namespace

Result<DraftFunction> model_drafts(Session& draft, int max_draft) {
  return base::guarded([&]() -> Result<DraftFunction> {
    if (max_draft < 1 || max_draft > DraftLength::kMost) {
      return Error::invalid_argument("max_draft: expected 1 to " + std::to_string(DraftLength::kMost) + ", found " +
                                     std::to_string(max_draft));
    }
    std::vector<SequenceId> opened;
    Status status;
    for (int i = 0; i < (DraftModel::cannot_go_back(draft) ? 2 : 1) && status.ok(); ++i) {
      const auto sequence = draft.open();
      if (sequence.ok()) {
        opened.push_back(*sequence);
      } else {
        status = Error::invalid_argument(
            "draft: expected a session with a free sequence for texts, and one for guesses "
            "where layers are recurrent or have a window: " +
            sequence.error().message);
      }
    }
    for (const SequenceId sequence : opened) draft.close(sequence);
    ROWMAX_RETURN_IF_ERROR(status);
    const auto model = std::make_shared<DraftModel>(draft, max_draft);
    return DraftFunction(
        [model](std::span<const TokenId> tokens, std::int64_t at_most) { return model->guess(tokens, at_most); });
  });
}

Status check_same_vocabulary(const Model& model, const Model& draft) {
  return base::guarded([&]() -> Status {
    const Tokenizer &a = model.tokenizer(), &b = draft.tokenizer();
    const std::string expected = "expected the vocabulary of " + model.file().name() + ", ";
    if (a.size() != b.size()) {
      return Error::invalid_argument(draft.file().name() + ": " + expected + std::to_string(a.size()) +
                                     " tokens, found " + std::to_string(b.size()));
    }
    for (TokenId id = 0; id < a.size(); ++id) {
      if (a.text(id) == b.text(id) && a.kind(id) == b.kind(id)) continue;
      const bool text = a.text(id) != b.text(id);
      return Error::invalid_argument(
          draft.file().name() + ": " + expected + "whose token " + std::to_string(id) + " is \"" +
          std::string(a.text(id).substr(0, 60)) + "\", found " +
          (text ? "\"" + std::string(b.text(id).substr(0, 60)) + "\"" : "another kind of it"));
    }
    return {};
  });
}

}  // namespace rowmax::engine
