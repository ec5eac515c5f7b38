#include "doctor/checks/vocabulary_fit.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

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

// How many words a text of digits, marks and blanks is cut into. Of several that make all tokens, the one that cuts most
// is the vocabulary's: the others would have let it learn more.
std::int64_t strictness(const PreTokenizer& pre) {
  constexpr std::string_view kText =
      "def f(x1):\n    return 12345 + 3.14  # it's (word) don't\n\n  foo.bar 2024 'quoted'";
  std::int64_t n = 0;
  engine::split_words(pre.passes, kText, [&](std::string_view) { ++n; });
  return n;
}

bool same_expressions(const PreTokenizer& a, const PreTokenizer& b) { return std::ranges::equal(a.passes, b.passes); }

}  // namespace

// Of eleven published vocabularies (GPT-2, GPT-NeoX, Llama 3, Qwen 2 and 3.5, SmolLM2, StarCoder, Command R, Falcon, both
// DeepSeek) none has more than 4 impossible ASCII tokens under its own pre-tokenizer; under another one they have 57 to
// 22,000, unless that one is more permissive everywhere (then it shows nothing, and is not told).
bool VocabularyFit::wrong() const noexcept { return n_impossible > 40 && n_impossible > 10 * (n_impossible_best + 1); }

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
    // Pieces of characters have no words; and scripts are cut differently by versions of one expression: Qwen 2's own
    // makes two words of 1,700 of its tokens.
    if (text.size() < 2 || !std::ranges::all_of(text, [](char c) { return c > 0; })) continue;
    ++fit.n_tokens;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (is_one_word(*candidates[i], text)) continue;
      if (i == 0 && n_impossible[0] == 0) fit.example = text;
      ++n_impossible[i];
    }
  }
  const std::int64_t least = *std::ranges::min_element(n_impossible);
  fit.n_impossible = n_impossible[0];
  fit.n_impossible_best = least;
  std::int64_t most_words = 0;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const std::int64_t n_words = strictness(*candidates[i]);
    if (n_impossible[i] > least + 4 || n_words <= most_words) continue;
    most_words = n_words;
    fit.best = candidates[i]->name;
    fit.n_impossible_best = n_impossible[i];
  }
  return fit;
}

VocabularyOrder vocabulary_order(const engine::GgufFile& file, const engine::Tokenizer& tokenizer) {
  VocabularyOrder out;
  const auto step = [&](bool ascends) {
    ++out.n_steps;
    out.n_ascending += ascends ? 1 : 0;
  };
  if (const auto* merges = file.find_array("tokenizer.ggml.merges", engine::GgufType::kString)) {
    engine::TokenId before = -1;
    for (const std::string_view merge : merges->strings) {
      const std::size_t at = merge.find(' ', 1);
      if (at == std::string_view::npos) continue;
      const engine::TokenId id = tokenizer.find(std::string(merge.substr(0, at)).append(merge.substr(at + 1)));
      if (id < 0 || id == before) continue;
      if (before >= 0) step(id > before);
      before = id;
    }
    return out;
  }
  const engine::GgufArray* scores = file.find_array("tokenizer.ggml.scores", engine::GgufType::kF32);
  if (scores == nullptr || static_cast<std::int64_t>(scores->size) != tokenizer.size()) return out;
  std::optional<double> before;
  for (engine::TokenId id = 0; id < tokenizer.size(); ++id) {
    if (tokenizer.kind(id) != engine::TokenKind::kNormal) continue;
    const double score = scores->as_double(static_cast<std::size_t>(id));
    if (before && score != *before) step(score < *before);
    before = score;
  }
  return out;
}

}  // namespace rowmax::doctor
