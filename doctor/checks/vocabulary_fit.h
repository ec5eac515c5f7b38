// Whether a vocabulary can have come from a pre-tokenizer: merging happens inside words, so a token that is cut into two
// words can never be made, and nobody learns tokens that cannot be made.
#pragma once

#include <cstdint>
#include <string>

#include "rowmax/engine/gguf.h"
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

// Merges are learned one after another, and each makes the next id: ids ascend with the merges that make them, and in
// SentencePiece vocabularies scores fall with ids. Where they do not, texts and ids are those of two vocabularies.
struct VocabularyOrder {
  std::int64_t n_steps = 0, n_ascending = 0;
  // Published vocabularies have 0.9995 to 1 (twelve looked at); ids in any other order 0.5.
  bool wrong() const noexcept { return n_steps >= 200 && n_ascending * 4 < n_steps * 3; }
};
// n_steps 0 where the file has neither merges nor scores that differ.
VocabularyOrder vocabulary_order(const engine::GgufFile& file, const engine::Tokenizer& tokenizer);

}  // namespace rowmax::doctor
