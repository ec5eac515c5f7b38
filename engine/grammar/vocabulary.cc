#include "engine/grammar/vocabulary.h"

#include <algorithm>

#include "base/guarded.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::size_t kMaxAllBytes = std::size_t{1} << 31;

Result<std::vector<std::string>> pieces_of(const Tokenizer& tokenizer, std::span<const TokenId> text_tokens) {
  std::vector<std::string> pieces(static_cast<std::size_t>(tokenizer.size()));
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    const TokenKind kind = tokenizer.kind(id);
    const bool is_named = std::ranges::find(text_tokens, id) != text_tokens.end();
    const bool is_text = kind == TokenKind::kNormal || kind == TokenKind::kUserDefined || kind == TokenKind::kByte;
    if ((!is_text && !is_named) || tokenizer.is_end_of_generation(id)) continue;
    ROWMAX_TRY(piece, tokenizer.piece(id, is_named));
    pieces[i] = std::move(piece);
  }
  return pieces;
}

Result<std::shared_ptr<const GrammarVocabulary::Impl>> arrange(std::span<const std::string> pieces,
                                                               std::span<const TokenId> end_tokens) {
  auto impl = std::make_shared<GrammarVocabulary::Impl>();
  for (const TokenId id : end_tokens) {
    if (id < 0 || static_cast<std::size_t>(id) >= pieces.size()) {
      return Error::invalid_argument(
          concat("end_tokens: expected token ids 0 to ", std::ssize(pieces) - 1, ", found ", id));
    }
  }
  impl->end_tokens.assign(end_tokens.begin(), end_tokens.end());
  impl->offsets.push_back(0);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const bool ends = std::ranges::find(end_tokens, static_cast<TokenId>(i)) != end_tokens.end();
    if (!ends) impl->bytes += pieces[i];
    if (pieces[i].size() > impl->kMaxBytes.back() || impl->bytes.size() > kMaxAllBytes) {
      return Error::limit(
          concat("token ", i, " has ", pieces[i].size(), " bytes, or all up to it more than ", kMaxAllBytes));
    }
    impl->offsets.push_back(static_cast<std::uint32_t>(impl->bytes.size()));
  }
  std::array<std::vector<std::pair<std::string_view, TokenId>>, GrammarVocabulary::Impl::kMaxBytes.size()> sorted;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    const std::string_view piece = impl->piece(id);
    if (piece.empty()) continue;
    const auto fits = std::ranges::lower_bound(impl->kMaxBytes, piece.size());
    sorted[static_cast<std::size_t>(fits - impl->kMaxBytes.begin())].emplace_back(piece, id);
  }
  for (std::size_t k = 0; k < sorted.size(); ++k) {
    std::ranges::sort(sorted[k]);
    impl->tries[k] = grammar::make_trie(sorted[k]);
  }
  return std::shared_ptr<const GrammarVocabulary::Impl>(std::move(impl));
}

}  // namespace

GrammarVocabulary::GrammarVocabulary(std::shared_ptr<const Impl> impl) noexcept : impl_(std::move(impl)) {}

Result<GrammarVocabulary> GrammarVocabulary::create(const Tokenizer& tokenizer, std::span<const TokenId> text_tokens) {
  return base::guarded([&]() -> Result<GrammarVocabulary> {
    ROWMAX_TRY(pieces, pieces_of(tokenizer, text_tokens));
    ROWMAX_TRY(impl, arrange(pieces, tokenizer.end_of_generation()));
    return GrammarVocabulary(std::move(impl));
  });
}

Result<GrammarVocabulary> GrammarVocabulary::from_pieces(std::span<const std::string> pieces,
                                                         std::span<const TokenId> end_tokens) {
  return base::guarded([&]() -> Result<GrammarVocabulary> {
    ROWMAX_TRY(impl, arrange(pieces, end_tokens));
    return GrammarVocabulary(std::move(impl));
  });
}

std::int64_t GrammarVocabulary::size() const noexcept { return static_cast<std::int64_t>(impl_->size()); }

}  // namespace rowmax::engine
