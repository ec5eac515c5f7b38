#include "engine/tokenizer/added_tokens.h"

#include <algorithm>

#include "engine/tokenizer/nfc.h"
#include "engine/tokenizer/spm.h"
#include "engine/tokenizer/unicode.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

// Bytes of white space at the start and at the end of a text.
std::size_t spaces_at_start(std::string_view text) {
  const char *at = text.data(), *const end = at + text.size();
  for (Char next = char_at(at, end); (next.bits & kSpace) != 0; next = char_at(at, end)) at += next.size;
  return static_cast<std::size_t>(at - text.data());
}
// The last character; of size 0 for an empty text.
Char last_char(std::string_view text) {
  std::size_t begin = text.size();
  while (begin > 0 && text.size() - begin < 4) {
    --begin;
    if ((static_cast<unsigned char>(text[begin]) & 0xC0) != 0x80) break;
  }
  return char_at(text.data() + begin, text.data() + text.size());
}
std::size_t spaces_at_end(std::string_view text) {
  std::size_t size = 0;
  for (Char last = last_char(text); (last.bits & kSpace) != 0; last = last_char(text)) {
    text.remove_suffix(last.size);
    size += last.size;
  }
  return size;
}

bool starts_with_word(std::string_view text) { return is_word(char_at(text.data(), text.data() + text.size())); }
bool ends_in_word(std::string_view text) { return is_word(last_char(text)); }

bool names_phi3(std::string name) {
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return name.find("phi-3") != std::string::npos || name.find("phi3") != std::string::npos;
}

}  // namespace

Status AddedTokens::init(const TokenizerSource& source, const Vocabulary& vocabulary, Normalizer normalizer) {
  normalizer_ = normalizer;
  ROWMAX_RETURN_IF_ERROR(read_flags(source, vocabulary));
  // The attribute `rstrip` of phi-3's added tokens, which files of other makers have no place for.
  const bool phi3 = names_phi3(source.model_name) && flags_.empty();
  for (TokenId id = 0; id < vocabulary.size(); ++id) {
    const std::string_view text = vocabulary.text(id);
    const TokenKind kind = vocabulary.kind(id);
    const bool user_defined = kind == TokenKind::kUserDefined;
    if (text.empty() || (!user_defined && kind != TokenKind::kControl && kind != TokenKind::kUnknown)) continue;
    const bool second = (flags_of(id) & kSecondPass) != 0;
    std::string pattern(text);
    if (second && in_normal_)
      pattern = normalizer_.prefix_mark ? normalised(text).insert(0, kSpaceMark) : normalised(text);
    Pass& pass = passes_[second ? 1 : 0];
    if (user_defined) pass.always.add(pattern, id);
    if (const TokenId same = pass.when_asked.add(pattern, id); same >= 0) {
      return Error{ErrorCode::kCorrupt, source.name + ": " + kAddedTokenFlagsKey +
                                            ": expected texts that differ once normalised, found tokens " +
                                            std::to_string(same) + " and " + std::to_string(id)};
    }
    pass.any = true;
    // Ids ascend, so that the list stays sorted.
    if (phi3 && text != "<unk>" && text != "<s>" && text != "<|endoftext|>") flags_.emplace_back(id, kStripRight);
  }
  return {};
}

Status AddedTokens::read_flags(const TokenizerSource& source, const Vocabulary& vocabulary) {
  const auto corrupt = [&](const std::string& expected, std::int64_t id, std::int64_t bits) {
    return Error{ErrorCode::kCorrupt, source.name + ": " + kAddedTokenFlagsKey + ": expected " + expected + ", found " +
                                          std::to_string(id) + " with " + std::to_string(bits)};
  };
  bool in_plain = false;
  for (const auto& [id, bits] : source.added_token_flags) {
    if (!vocabulary.contains(id) || bits < 0 || bits > kAllAddedTokenFlags) {
      return corrupt("ids of tokens and flags from 0 to " + std::to_string(int{kAllAddedTokenFlags}), id, bits);
    }
    flags_.emplace_back(static_cast<TokenId>(id), bits);
    const bool in_normal = (bits & kInNormalText) != 0;
    in_normal_ = in_normal_ || in_normal;
    in_plain = in_plain || (!in_normal && (bits & kSecondPass) != 0);
    if ((in_normal && (bits & kSecondPass) == 0) || (in_normal_ && in_plain)) {
      return corrupt(std::to_string(int{kInNormalText}) + " for all tokens of the second pass (" +
                         std::to_string(int{kSecondPass}) + ") or for none",
                     id, bits);
    }
  }
  std::ranges::sort(flags_);
  return {};
}

std::int64_t AddedTokens::flags_of(TokenId id) const noexcept {
  const auto found = std::ranges::lower_bound(flags_, id, {}, &std::pair<TokenId, std::int64_t>::first);
  return found != flags_.end() && found->first == id ? found->second : 0;
}

std::string AddedTokens::normalised(std::string_view text) const {
  if (!normalizer_.marks) return normalizer_.nfc ? to_nfc(text) : std::string(text);
  std::string out;
  for (const char c : text) {
    if (c == ' ') {
      out += kSpaceMark;
    } else {
      out += c;
    }
  }
  return out;
}

void AddedTokens::split(std::string_view text, std::span<const TextPart> parts, std::deque<std::string>& buffers,
                        Listener& listener) const {
  std::vector<Border> borders;
  std::size_t end = 0;
  for (const TextPart& part : parts) borders.push_back({end += part.text.size(), part.parse_special});
  scan(passes_[0], text, borders, listener, [&](std::size_t begin, std::string_view stretch) {
    if (passes_[1].any) return second_pass(stretch, begin, borders, buffers, listener);
    if (normalizer_.nfc) stretch = buffers.emplace_back(to_nfc(stretch));
    listener.on_text(stretch, false);
  });
}

// text: from `begin` on of the text that the borders belong to.
void AddedTokens::second_pass(std::string_view text, std::size_t begin, std::span<const Border> borders,
                              std::deque<std::string>& buffers, Listener& listener) const {
  const bool prefixed = in_normal_ && normalizer_.prefix_mark;
  std::vector<Border> own;
  std::string* buffer = nullptr;
  if (in_normal_ || normalizer_.nfc) buffer = &buffers.emplace_back(prefixed ? kSpaceMark : std::string_view());
  std::size_t done = 0;
  for (const Border& border : borders) {
    if (border.end <= begin + done || done == text.size()) continue;
    const std::size_t end = std::min(border.end - begin, text.size());
    if (buffer != nullptr) buffer->append(normalised(text.substr(done, end - done)));
    own.push_back({buffer != nullptr ? buffer->size() : end, border.parse_special});
    done = end;
  }
  scan(passes_[1], buffer != nullptr ? std::string_view(*buffer) : text, own, listener,
       [&](std::size_t, std::string_view piece) { listener.on_text(piece, prefixed); });
}

template <class OnText>
void AddedTokens::scan(const Pass& pass, std::string_view text, std::span<const Border> borders, Listener& listener,
                       const OnText& on_text) const {
  // Tokens are looked for in the white space too that one before has taken; where one ends there, what is left of it is
  // text again, as in `tokenizers`.
  std::size_t plain_begin = 0, at = 0;
  for (const Border& border : borders) {
    const SpecialTokens& special = border.parse_special ? pass.when_asked : pass.always;
    while (at < border.end) {
      const SpecialTokens::Match match = special.find(text.substr(0, border.end), at);
      if (match.id < 0) break;
      at = match.begin + match.size;
      const std::int64_t flags = flags_of(match.id);
      if ((flags & kSingleWord) != 0 &&
          (ends_in_word(text.substr(0, match.begin)) || starts_with_word(text.substr(at)))) {
        continue;
      }
      if (match.begin > plain_begin) {
        std::string_view before = text.substr(plain_begin, match.begin - plain_begin);
        if ((flags & kStripLeft) != 0) before.remove_suffix(spaces_at_end(before));
        if (!before.empty()) on_text(plain_begin, before);
      }
      const std::size_t end = at + ((flags & kStripRight) != 0 ? spaces_at_start(text.substr(at)) : 0);
      // Of a token that begins where the white space before it ends nothing is left where that was taken with it.
      if ((flags & kStripLeft) == 0 || end > plain_begin) listener.on_token(match.id);
      plain_begin = end;
    }
    at = border.end;
  }
  if (plain_begin < text.size()) on_text(plain_begin, text.substr(plain_begin));
}

}  // namespace rowmax::engine
