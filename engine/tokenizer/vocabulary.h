// The tokens of a model: text, kind, score, and the way back from text to id.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/source.h"
#include "rowmax/engine/tokenizer.h"
#include "rowmax/result.h"

namespace rowmax::engine {

// Longest token text that is taken for one; the longest seen in a real model is 1024 bytes.
inline constexpr std::size_t kMaxTokenBytes = 65536;
// Longest text of a control, user-defined or unknown token: each place of a text may be compared with all of it.
inline constexpr std::size_t kMaxSpecialBytes = 1024;
inline constexpr std::size_t kMaxTokens = std::size_t{1} << 24;

// kCorrupt, with the source's name before the message.
Error corrupt(const TokenizerSource& source, std::string message);

class Vocabulary {
 public:
  // Checks lengths, duplicates, kinds and byte tokens; kCorrupt names the key, the expected and the found.
  static Result<Vocabulary> create(const TokenizerSource& source, std::vector<std::string>& notices);

  std::int64_t size() const noexcept { return static_cast<std::int64_t>(kinds_.size()); }
  bool contains(std::int64_t id) const noexcept { return id >= 0 && id < size(); }
  // The four below: contains(id).
  std::string_view text(TokenId id) const noexcept {
    const auto i = static_cast<std::size_t>(id);
    return std::string_view(arena_).substr(offsets_[i], offsets_[i + 1] - offsets_[i]);
  }
  TokenKind kind(TokenId id) const noexcept { return kinds_[static_cast<std::size_t>(id)]; }
  float score(TokenId id) const noexcept { return scores_.empty() ? 0.0f : scores_[static_cast<std::size_t>(id)]; }
  // Whether merging makes it although it is no normal token (kAlsoMerged).
  bool also_merged(TokenId id) const noexcept {
    return !also_merged_.empty() && also_merged_[static_cast<std::size_t>(id)];
  }
  void set_kind(TokenId id, TokenKind kind) noexcept { kinds_[static_cast<std::size_t>(id)] = kind; }

  TokenId find(std::string_view text) const noexcept;  // -1 when absent; the empty text is always absent
  TokenId byte_token(std::uint8_t byte) const noexcept { return byte_tokens_[byte]; }  // of kind kByte; -1 when absent
  std::uint8_t byte_of(TokenId id) const noexcept;                                     // kind(id) == kByte
  std::size_t longest() const noexcept { return longest_; }                            // bytes of the longest text
  std::size_t longest_probe() const noexcept;  // most texts that a find() of a token looks at

 private:
  std::string arena_;                   // all texts, one after another
  std::vector<std::uint32_t> offsets_;  // size() + 1 places in arena_
  std::vector<TokenKind> kinds_;
  std::vector<float> scores_;
  std::vector<bool> also_merged_;  // empty: none is
  struct Slot {
    TokenId id = -1;         // -1: free
    std::uint32_t hash = 0;  // the upper half of the text's: others are told apart without looking at theirs
  };
  std::vector<Slot> slots_;  // hash table with linear probing, a power of two in size
  std::vector<TokenId> byte_tokens_;
  std::size_t longest_ = 0;

  Status fill(const TokenizerSource& source, std::vector<std::string>& notices);
  void read_flags(const TokenizerSource& source);
  Status read_kinds(const TokenizerSource& source, std::vector<std::string>& notices);
  Status read_scores(const TokenizerSource& source);
  Status index(const TokenizerSource& source);
  Status index_bytes(const TokenizerSource& source);
};

}  // namespace rowmax::engine
