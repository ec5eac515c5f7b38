// Whether a vocabulary can have come from a pre-tokenizer: merging happens inside words, so a token that is cut into two
// words can never be made, and nobody learns tokens that cannot be made.
#pragma once

#include <cstdint>
#include <string>

#include "rowmax/engine/tokenizer.h"
#include "rowmax/result.h"

namespace rowmax::doctor {

struct VocabularyFit {
  std::int64_t n_tokens = 0;  // normal ASCII tokens of two bytes or more
  std::int64_t n_impossible = 0, n_impossible_best = 0;
  std::string best;     // a pre-tokenizer that makes them, the strictest of those
  std::string example;  // one that is cut

  bool wrong() const noexcept;
};
// tokenizer: byte-level BPE.
Result<VocabularyFit> fit_vocabulary(const engine::Tokenizer& tokenizer);

}  // namespace rowmax::doctor
