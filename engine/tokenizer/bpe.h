// Byte-level byte-pair encoding: a word's bytes are symbols (each byte written as one printable character, as GPT-2
// does), and the adjacent pair with the lowest rank is merged, the leftmost first, until no pair has one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/seeded_hash.h"
#include "engine/tokenizer/source.h"
#include "engine/tokenizer/vocabulary.h"
#include "rowmax/result.h"

namespace rowmax::engine {

// The UTF-8 text that stands for a byte (1 or 2 bytes long), and its inverse: -1 for a code point that stands for none.
std::string_view byte_text(std::uint8_t byte) noexcept;
int byte_of_code(std::uint32_t code) noexcept;
// A stored token text as the bytes it stands for; characters that stand for no byte are kept as they are.
std::string bytes_of_text(std::string_view stored);

class BpeMerges {
 public:
  // Space for one call of encode at a time; reused between words.
  struct Scratch {
    struct Node {
      TokenId id;
      std::int32_t prev, next;
    };
    struct Pair {
      std::uint32_t rank;
      std::int32_t left;
      TokenId left_id, right_id;
    };
    std::vector<TokenId> ids;
    std::vector<std::uint32_t> ranks;
    std::vector<Node> nodes;
    std::vector<Pair> heap;
    std::string text;
  };

  // kCorrupt for a merge without a space or one whose parts or result are not tokens.
  static Result<BpeMerges> create(const TokenizerSource& source, const Vocabulary& vocabulary, bool ignore_merges,
                                  std::vector<std::string>& notices);

  // Appends the tokens of one word. n log n in its length; about 40 bytes of scratch per byte of a long word.
  void encode(std::string_view word, const Vocabulary& vocabulary, Scratch& scratch, std::vector<TokenId>& out) const;

  // The place of a pair among the merges; -1: it is none.
  std::int64_t rank(TokenId left, TokenId right) const noexcept;

  std::size_t longest_probe() const noexcept;  // most entries that a look for a merge of the file looks at

 private:
  struct Entry {
    TokenId left = -1, right = -1;
    std::uint32_t rank = 0;
    TokenId merged = -1;
  };
  std::vector<Entry> table_;  // hash table with linear probing, a power of two in size
  std::vector<TokenId> byte_ids_;
  TokenId replacement_[3] = {-1, -1, -1};  // the bytes of U+FFFD
  bool ignore_merges_ = false;

  // Drawn once a process: which pairs meet in the table is nobody's to choose.
  std::uint64_t seed_ = base::seeded_hash(std::uint64_t{0}), factor_ = base::seeded_hash(std::uint64_t{1});

  std::size_t hash_pair(TokenId left, TokenId right) const noexcept;
  const Entry* find(TokenId left, TokenId right) const noexcept;
  Status add(const TokenizerSource& source, const Vocabulary& vocabulary, std::size_t rank, std::size_t& n_duplicate);
  void index_bytes(const Vocabulary& vocabulary, std::vector<std::string>& notices);
  void to_symbols(std::string_view word, std::vector<TokenId>& ids) const;
  void merge_short(Scratch& scratch) const;
  void merge_long(Scratch& scratch) const;
};

}  // namespace rowmax::engine
