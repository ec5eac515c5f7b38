// What a model makes of the fixed text, as it is configured or with edits: the measure of the convention search.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "doctor/patient.h"
#include "rowmax/engine/edits.h"
#include "rowmax/engine/model.h"

namespace rowmax::doctor {

// Nats a token, where tokens are those of the configured tokenizer: a variant that cuts the text otherwise is measured in the
// same unit, by the bytes it has to tell.
struct TextLoss {
  std::vector<double> parts;                // mean of each kind of text; infinite where a logit was not finite
  std::vector<double> hits;                 // share of tokens that the model finds the likeliest
  std::vector<std::vector<double>> tokens;  // each scored token's, empty where the text was cut otherwise or given up
  // The kind that the model knows best counts: a model of one kind of text alone must not be blamed for the others.
  std::size_t best_part() const noexcept;
  double best() const noexcept { return parts.empty() ? std::numeric_limits<double>::infinity() : parts[best_part()]; }
};

// How much less `other` loses than `base`, on the kind of text that other knows best, and how sure that is: the gain over its
// standard error, from the differences token by token; infinite where they cannot be paired.
struct Gain {
  double nats = 0;
  double sigmas = 0;
};
Gain gain_of(const TextLoss& base, const TextLoss& other) noexcept;

class LossMeter {
 public:
  // Takes at most max_tokens of each piece. Its first tokens, which have hardly any context, are not scored. step: asked some
  // times a second; its error is that of the measure.
  LossMeter(const engine::Model& model, std::span<const TextPiece> text, std::int64_t max_tokens, Executor& executor,
            std::function<Status()> step = {});
  // A kind of text that has lost more than to_beat allows for all of it, with tokens still to come, is given up: its mean is
  // that of the tokens until then, above to_beat.
  // Errors of edits that this model cannot have (kInvalidArgument, kUnsupported, kCorrupt), kOutOfMemory, kCancelled.
  Result<TextLoss> of(const engine::Edits& edits, double to_beat = std::numeric_limits<double>::infinity()) const;
  std::int64_t n_tokens() const noexcept;                  // of all pieces
  bool empty() const noexcept { return pieces_.empty(); }  // none is long enough

 private:
  const engine::Model& model_;
  std::vector<TextPiece> pieces_;        // shortened
  std::vector<std::size_t> n_unscored_;  // bytes at each one's beginning
  std::vector<std::int64_t> n_scored_;   // tokens behind them
  Executor& executor_;
  std::function<Status()> step_;
};

}  // namespace rowmax::doctor
