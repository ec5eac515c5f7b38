#include "doctor/checks/vocabulary_fit.h"

#include <algorithm>
#include <vector>

#include "engine/io/text.h"
#include "engine/tokenizer/pre_tokenizer.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::PreTokenizer;

bool is_one_word(const PreTokenizer& pre, std::string_view text) {
  std::int64_t n = 0;
  engine::split_words(pre.passes, text, [&](std::string_view) { ++n; });
  return n == 1;
}

bool same_expressions(const PreTokenizer& a, const PreTokenizer& b) { return std::ranges::equal(a.passes, b.passes); }

}  // namespace

// Vocabularies under their own pre-tokenizer: none to 0.3 % of the tokens are impossible; under another one that differs
// in digits alone, 0.7 % and more (VocabularyFit.* has the numbers of published ones).
bool VocabularyFit::wrong() const noexcept {
  return n_impossible > 50 && n_impossible * 200 > n_tokens && n_impossible > 8 * n_impossible_best;
}

Result<VocabularyFit> fit_vocabulary(const engine::Tokenizer& tokenizer) {
  VocabularyFit fit;
  const PreTokenizer* own = engine::find_pre_tokenizer(tokenizer.pre());
  if (own == nullptr) return fit;
  std::vector<const PreTokenizer*> candidates = {own};
  for (const PreTokenizer& pre : engine::pre_tokenizers()) {
    if (std::ranges::none_of(candidates, [&](const PreTokenizer* known) { return same_expressions(*known, pre); })) {
      candidates.push_back(&pre);
    }
  }
  std::vector<std::int64_t> n_impossible(candidates.size());
  for (engine::TokenId id = 0; id < tokenizer.size(); ++id) {
    if (tokenizer.kind(id) != engine::TokenKind::kNormal) continue;
    ROWMAX_TRY(text, tokenizer.piece(id, false));
    if (text.size() < 2 || !engine::is_utf8(text)) continue;  // a piece of a character has no words
    ++fit.n_tokens;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (is_one_word(*candidates[i], text)) continue;
      if (i == 0 && n_impossible[0] == 0) fit.example = text;
      ++n_impossible[i];
    }
  }
  const auto best = std::ranges::min_element(n_impossible) - n_impossible.begin();
  fit.n_impossible = n_impossible[0];
  fit.n_impossible_best = n_impossible[static_cast<std::size_t>(best)];
  fit.best = candidates[static_cast<std::size_t>(best)]->name;
  return fit;
}

}  // namespace rowmax::doctor
