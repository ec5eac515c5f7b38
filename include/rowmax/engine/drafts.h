// Guesses at what follows, for speculation (Generation::propose): by what occurred before, or by a smaller model. What is
// generated is what it would be without them, bit for bit; good guesses save time, bad ones cost some.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "rowmax/engine/session.h"
#include "rowmax/result.h"

namespace rowmax::engine {

// Guesses at what follows `tokens` (the prompt and what was generated), at most so many. Called in the engine's thread;
// for requests with several choices with each one's tokens in turn, so that it had better be a function of its
// arguments. Wrong guesses cost time alone.
using DraftFunction = std::function<std::vector<TokenId>(std::span<const TokenId> tokens, std::int64_t at_most)>;

// Prompt lookup: what followed the last n_max to n_min tokens where they occurred before, the longest match first, of
// equal ones the last. kInvalidArgument unless 1 <= n_min <= n_max and 1 <= max_draft <= 64.
Result<DraftFunction> ngram_drafts(int n_min = 2, int n_max = 4, int max_draft = 8);

// The likeliest tokens as another model has it, `draft`'s, whose sequences are the function's own from then on: one for
// each text that grows, as many as are open at once (and one more in a model that cannot go back everywhere: recurrent
// layers, sliding windows); beyond that, who was asked longest ago is computed again. It reads at most 256 new tokens of
// a text in one call, and guesses nothing until it has read all of it, so that a long prompt keeps nobody waiting. The
// session must outlive the function and be used by nobody else; an error of it is no guess.
// kInvalidArgument unless 1 <= max_draft <= 64 and the session has a sequence (two) for it.
Result<DraftFunction> model_drafts(Session& draft, int max_draft = 8);

// Whether tokens of the one are tokens of the other: as many, each with the same text of the same kind. kInvalidArgument
// names the first that differs.
Status check_same_vocabulary(const Model& model, const Model& draft);

// How many guesses are worth their rows: by how many of the last ones were right, never by time.
class DraftLength {
 public:
  // How many guesses the next step is to have, of at most so many.
  std::int64_t next(std::int64_t at_most) const noexcept { return pause_left_ > 0 ? 0 : std::min(at_most, length_); }

  // A step came to its end; `right` of its `offered` guesses were what was sampled.
  void settle(std::int64_t offered, std::int64_t right) noexcept {
    if (offered == 0) {
      pause_left_ -= pause_left_ > 0;
      return;
    }
    length_ = right == offered ? std::min(2 * length_, kMost) : std::max<std::int64_t>(right + 1, 1);
    offered_ += offered;
    right_ += right;
    if (offered_ < kEnough) return;
    if (kOneIn * right_ < offered_) {  // not again for a while, and longer each time
      pause_left_ = pause_;
      pause_ = std::min(2 * pause_, kLongestPause);
      offered_ = right_ = 0;
      length_ = 1;
    } else if (offered_ >= 2 * kEnough) {
      pause_ = kFirstPause;
      offered_ /= 2;
      right_ /= 2;
    }
  }

  static constexpr std::int64_t kMost = 64;                             // that a sequence has a share of the budget for
  static constexpr std::int64_t kEnough = 16;                           // guesses to judge by
  static constexpr std::int64_t kOneIn = 4;                             // must be right
  static constexpr std::int64_t kFirstPause = 16, kLongestPause = 256;  // steps

 private:
  std::int64_t length_ = 4;
  std::int64_t offered_ = 0, right_ = 0;
  std::int64_t pause_ = kFirstPause, pause_left_ = 0;
};

}  // namespace rowmax::engine
