#include "apps/tool_calls/call_mask.h"

#include <algorithm>
#include <optional>

#include "rowmax/try.h"

namespace rowmax::tool_calls {

using engine::TokenId;

namespace {

// Follows the tokens of a text, from where they part from those it knows.
class LateMask {
 public:
  LateMask(MaskBehind place, std::shared_ptr<const ReplyOptions> options, const engine::Tokenizer& tokenizer,
           std::vector<TokenId> text_tokens, engine::TokenMask inner)
      : place_(place),
        options_(std::move(options)),
        tokenizer_(tokenizer),
        text_tokens_(std::move(text_tokens)),
        inner_(std::move(inner)) {}

  Status mask(std::span<const TokenId> generated, std::span<std::uint64_t> allowed) {
    ROWMAX_RETURN_IF_ERROR(follow(generated));
    const std::size_t mark = place_ == MaskBehind::kCallMark ? parser_->first_mark() : parser_->reasoning_end();
    if (mark == std::string::npos) {
      allow_all(allowed);
      return {};
    }
    const auto token = static_cast<std::size_t>(std::ranges::upper_bound(ends_, mark) - ends_.begin());
    return inner_(generated.subspan(token), allowed);
  }

 private:
  Status follow(std::span<const TokenId> generated) {
    const auto same = std::ranges::mismatch(tokens_, generated).in1;
    if (!parser_ || same != tokens_.end()) {
      parser_.emplace(options_);
      tokens_.clear();
      ends_.clear();
    }
    for (std::size_t i = tokens_.size(); i < generated.size(); ++i) {
      const bool is_text = std::ranges::find(text_tokens_, generated[i]) != text_tokens_.end();
      ROWMAX_TRY(piece, tokenizer_.piece(generated[i], is_text));
      parser_->push(piece);
      tokens_.push_back(generated[i]);
      ends_.push_back((ends_.empty() ? 0 : ends_.back()) + piece.size());
    }
    return {};
  }

  void allow_all(std::span<std::uint64_t> allowed) const {
    const auto n = static_cast<std::size_t>(tokenizer_.size());
    for (std::size_t word = 0; word < allowed.size() && word * 64 < n; ++word) {
      const std::size_t bits = std::min<std::size_t>(64, n - word * 64);
      allowed[word] = bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
    }
    if (place_ == MaskBehind::kCallMark) return;
    for (const TokenId id : tokenizer_.end_of_generation()) {
      allowed[static_cast<std::size_t>(id) / 64] &= ~(std::uint64_t{1} << (id % 64));
    }
  }

  const MaskBehind place_;
  const std::shared_ptr<const ReplyOptions> options_;
  const engine::Tokenizer& tokenizer_;
  const std::vector<TokenId> text_tokens_;
  const engine::TokenMask inner_;
  std::optional<ReplyParser> parser_;
  std::vector<TokenId> tokens_;
  std::vector<std::size_t> ends_;  // bytes of the text behind each token
};

}  // namespace

engine::TokenMask mask_behind(MaskBehind place, std::shared_ptr<const ReplyOptions> options,
                              const engine::Tokenizer& tokenizer, std::vector<TokenId> text_tokens,
                              engine::TokenMask inner) {
  auto late =
      std::make_shared<LateMask>(place, std::move(options), tokenizer, std::move(text_tokens), std::move(inner));
  return [late](std::span<const TokenId> generated, std::span<std::uint64_t> allowed) {
    return late->mask(generated, allowed);
  };
}

std::vector<TokenId> text_tokens_of(const ToolFormat* format, const ReasoningMarks& reasoning,
                                    const engine::Tokenizer& tokenizer) {
  std::vector<std::string_view> marks;
  if (format != nullptr) marks = format->control;
  for (const std::string_view mark : {reasoning.open, reasoning.close})
    marks.push_back(mark.substr(0, mark.find('\n')));
  // Gemma's opens with a token and a word.
  if (reasoning.open.starts_with("<|channel>")) marks.push_back("<|channel>");
  std::vector<TokenId> ids;
  for (const std::string_view mark : marks) {
    const TokenId id = mark.empty() ? -1 : tokenizer.find(mark);
    if (id < 0 || tokenizer.kind(id) != engine::TokenKind::kControl || tokenizer.is_end_of_generation(id)) continue;
    if (std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
  }
  return ids;
}

}  // namespace rowmax::tool_calls
