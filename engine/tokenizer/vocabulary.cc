#include "engine/tokenizer/vocabulary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <unordered_set>
#include <utility>

#include "base/seeded_hash.h"
#include "engine/tokenizer/rowmax_keys.h"
#include "rowmax/try.h"

namespace rowmax::engine {

Error corrupt(const TokenizerSource& source, std::string message) {
  return Error{ErrorCode::kCorrupt, source.name + ": " + std::move(message)};
}

namespace {

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// The byte of "<0xHH>", or -1.
int parse_byte(std::string_view text) noexcept {
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return -1;
  const int high = hex_digit(text[3]);
  const int low = hex_digit(text[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// For messages: a text in quotes, what is not printable ASCII as \xHH, long ones shortened.
std::string quoted(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out = "'";
  for (const char c : text.substr(0, 40)) {
    if (c >= 32 && c < 127) {
      out += c;
    } else {
      out += {'\\', 'x', kHex[static_cast<unsigned char>(c) >> 4], kHex[static_cast<unsigned char>(c) & 15]};
    }
  }
  return out + (text.size() > 40 ? "...'" : "'");
}

bool is_below(std::int64_t id, std::size_t n) noexcept { return id >= 0 && static_cast<std::size_t>(id) < n; }

// Spaces as U+2581.
std::string marked(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ' ') {
      out += "\xE2\x96\x81";
    } else {
      out += c;
    }
  }
  return out;
}

bool is_special(TokenKind kind) noexcept {
  return kind == TokenKind::kControl || kind == TokenKind::kUserDefined || kind == TokenKind::kUnknown;
}

}  // namespace

Result<Vocabulary> Vocabulary::create(const TokenizerSource& source, std::vector<std::string>& notices) {
  Vocabulary out;
  ROWMAX_RETURN_IF_ERROR(out.fill(source, notices));
  out.read_flags(source);
  ROWMAX_RETURN_IF_ERROR(out.read_kinds(source, notices));
  ROWMAX_RETURN_IF_ERROR(out.read_scores(source));
  ROWMAX_RETURN_IF_ERROR(out.index(source));
  ROWMAX_RETURN_IF_ERROR(out.index_bytes(source));
  return out;
}

Status Vocabulary::fill(const TokenizerSource& source, std::vector<std::string>& notices) {
  const std::size_t n = source.tokens.size();
  if (n == 0 || n > kMaxTokens) {
    return corrupt(source, "tokenizer.ggml.tokens: expected 1 to " + std::to_string(kMaxTokens) + " tokens, found " +
                               std::to_string(n));
  }
  std::size_t total = 0;
  std::size_t n_empty = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t size = source.tokens[i].size();
    if (size > kMaxTokenBytes) {
      return corrupt(source, "tokenizer.ggml.tokens: token " + std::to_string(i) + " is " + std::to_string(size) +
                                 " bytes long, more than " + std::to_string(kMaxTokenBytes));
    }
    longest_ = size > longest_ ? size : longest_;
    total += size;
    n_empty += size == 0;
  }
  std::unordered_set<std::int64_t> in_marks;  // a few: tokens whose spaces stand for U+2581
  for (const auto& [id, flags] : source.added_token_flags) {
    if ((flags & kSpacesAreMarks) == 0 || !is_below(id, n) || !in_marks.insert(id).second) continue;
    const std::size_t marked_size = marked(source.tokens[static_cast<std::size_t>(id)]).size();
    total += marked_size;
    longest_ = std::max(longest_, marked_size);
  }
  if (total > UINT32_MAX) {
    return corrupt(source, "tokenizer.ggml.tokens: " + std::to_string(total) + " bytes of text, more than 4294967295");
  }
  if (n_empty != 0) notices.push_back(std::to_string(n_empty) + " tokens have an empty text and match nothing");
  arena_.reserve(total);
  offsets_.reserve(n + 1);
  offsets_.push_back(0);
  for (std::size_t i = 0; i < n; ++i) {
    if (in_marks.contains(static_cast<std::int64_t>(i))) {
      arena_.append(marked(source.tokens[i]));
    } else {
      arena_.append(source.tokens[i]);
    }
    offsets_.push_back(static_cast<std::uint32_t>(arena_.size()));
  }
  return {};
}

// Ids out of range are AddedTokens' to refuse.
void Vocabulary::read_flags(const TokenizerSource& source) {
  for (const auto& [id, flags] : source.added_token_flags) {
    if ((flags & kAlsoMerged) == 0 || !is_below(id, source.tokens.size())) continue;
    also_merged_.resize(source.tokens.size());
    also_merged_[static_cast<std::size_t>(id)] = true;
  }
}

Status Vocabulary::read_kinds(const TokenizerSource& source, std::vector<std::string>& notices) {
  const std::size_t n = source.tokens.size();
  kinds_.assign(n, TokenKind::kNormal);
  if (!source.token_types) {
    if (source.model != "gpt2")
      return corrupt(source, "tokenizer.ggml.token_type is missing; a " + source.model + " model needs it");
    notices.push_back("tokenizer.ggml.token_type is missing: no token is a control token");
    return {};
  }
  if (source.token_types->size() != n) {
    return corrupt(source, "tokenizer.ggml.token_type: expected " + std::to_string(n) +
                               " entries as tokenizer.ggml.tokens has, found " +
                               std::to_string(source.token_types->size()));
  }
  for (std::size_t i = 0; i < n; ++i) {
    const std::int64_t type = (*source.token_types)[i];
    if (type < 1 || type > 6) {
      return corrupt(source, "tokenizer.ggml.token_type: token " + std::to_string(i) + " has type " +
                                 std::to_string(type) + ", expected 1 to 6");
    }
    kinds_[i] = static_cast<TokenKind>(type);
    if (is_special(kinds_[i]) && source.tokens[i].size() > kMaxSpecialBytes) {
      return corrupt(source, "tokenizer.ggml.tokens: special token " + std::to_string(i) + " is " +
                                 std::to_string(source.tokens[i].size()) + " bytes long, more than " +
                                 std::to_string(kMaxSpecialBytes));
    }
  }
  return {};
}

Status Vocabulary::read_scores(const TokenizerSource& source) {
  if (!source.scores) {
    if (source.model == "llama") return corrupt(source, "tokenizer.ggml.scores is missing; a llama model needs it");
    return {};
  }
  if (source.scores->size() != source.tokens.size()) {
    return corrupt(source, "tokenizer.ggml.scores: expected " + std::to_string(source.tokens.size()) +
                               " entries as tokenizer.ggml.tokens has, found " + std::to_string(source.scores->size()));
  }
  for (std::size_t i = 0; i < source.scores->size(); ++i) {
    if (!std::isfinite((*source.scores)[i])) {
      return corrupt(source, "tokenizer.ggml.scores: the score of token " + std::to_string(i) + " is not finite");
    }
  }
  scores_ = *source.scores;
  return {};
}

Status Vocabulary::index(const TokenizerSource& source) {
  std::size_t capacity = 16;
  while (capacity < 2 * kinds_.size()) capacity *= 2;
  slots_.assign(capacity, Slot{});
  // Where tokens go is far apart: their places are asked for some tokens ahead.
  constexpr TokenId kAhead = 16;
  std::array<std::uint64_t, kAhead> hashes{};
  const auto ask_for = [&](TokenId id) {
    if (id >= size()) return;
    const std::uint64_t hash = hashes[static_cast<std::size_t>(id % kAhead)] = base::seeded_hash(text(id));
    __builtin_prefetch(&slots_[hash & (capacity - 1)], 1);
  };
  for (TokenId id = 0; id < kAhead; ++id) ask_for(id);
  for (TokenId id = 0; id < size(); ++id) {
    const std::string_view token = text(id);
    const std::uint64_t hash = hashes[static_cast<std::size_t>(id % kAhead)];
    ask_for(id + kAhead);
    if (token.empty()) continue;
    std::size_t slot = hash & (capacity - 1);
    for (; slots_[slot].id != -1; slot = (slot + 1) & (capacity - 1)) {
      if (slots_[slot].hash == hash >> 32 && text(slots_[slot].id) == token) {
        return corrupt(source, "tokenizer.ggml.tokens: tokens " + std::to_string(slots_[slot].id) + " and " +
                                   std::to_string(id) + " have the same text " + quoted(token));
      }
    }
    slots_[slot] = {id, static_cast<std::uint32_t>(hash >> 32)};
  }
  return {};
}

Status Vocabulary::index_bytes(const TokenizerSource& source) {
  byte_tokens_.assign(256, -1);
  for (TokenId id = 0; id < size(); ++id) {
    if (kind(id) != TokenKind::kByte) continue;
    const int byte = parse_byte(text(id));
    if (byte < 0) {
      return corrupt(source, "tokenizer.ggml.tokens: byte token " + std::to_string(id) + " is " + quoted(text(id)) +
                                 ", expected <0x00> to <0xFF>");
    }
    TokenId& entry = byte_tokens_[static_cast<std::size_t>(byte)];
    if (entry != -1) {
      return corrupt(source, "tokenizer.ggml.tokens: tokens " + std::to_string(entry) + " and " + std::to_string(id) +
                                 " both stand for byte " + std::to_string(byte));
    }
    entry = id;
  }
  return {};
}

TokenId Vocabulary::find(std::string_view wanted) const noexcept {
  if (wanted.empty() || wanted.size() > longest_) return -1;
  const std::size_t mask = slots_.size() - 1;
  const std::uint64_t hash = base::seeded_hash(wanted);
  for (std::size_t slot = hash & mask; slots_[slot].id != -1; slot = (slot + 1) & mask) {
    if (slots_[slot].hash == hash >> 32 && text(slots_[slot].id) == wanted) return slots_[slot].id;
  }
  return -1;
}

std::size_t Vocabulary::longest_probe() const noexcept {
  const std::size_t mask = slots_.size() - 1;
  std::size_t longest = 0;
  for (std::size_t at = 0; at < slots_.size(); ++at) {
    if (slots_[at].id == -1) continue;
    const std::size_t home = base::seeded_hash(text(slots_[at].id)) & mask;
    longest = std::max(longest, ((at - home) & mask) + 1);
  }
  return longest;
}

std::uint8_t Vocabulary::byte_of(TokenId id) const noexcept { return static_cast<std::uint8_t>(parse_byte(text(id))); }

}  // namespace rowmax::engine
