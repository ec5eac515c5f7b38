// SentencePiece's byte-pair encoding as llama files carry it: characters are symbols, and the adjacent pair whose
// joined text is the token with the highest score is merged, the leftmost first, until no pair makes a token. A
// character that is no token becomes its bytes' tokens. Spaces are written as U+2581. Gemma 4's files carry merges in
// place of scores: the pair that is the earliest of them goes first, and what is none is not merged.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/bpe.h"
#include "engine/tokenizer/vocabulary.h"

namespace rowmax::engine {

inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

class SpmMerges {
 public:
  struct Scratch {
    struct Node {
      std::uint32_t begin, size;  // in text; size 0 when merged away
      std::int32_t prev, next;
    };
    struct Pair {
      float score;
      std::int32_t left;
      std::uint32_t size;
    };
    std::string text;
    std::vector<Node> nodes;
    std::vector<Pair> heap;
  };

  // Looks through the tokens; notices tell of missing byte tokens. unknown: the id for what no token can write, or -1.
  // merges: in place of scores, or nullptr; must outlive this.
  void init(const Vocabulary& vocabulary, TokenId unknown, const BpeMerges* merges, std::vector<std::string>& notices);

  // Whether a text may be cut between this byte and a space that follows it, and the parts be encoded one by one, with
  // the same result as in one go: no token that merging makes holds a space mark after the byte. The byte is not a
  // space, nor the end of a space mark.
  bool may_cut_after(char byte) const noexcept { return !glued_[static_cast<unsigned char>(byte)]; }

  // Appends the tokens of `text`, in which spaces are still spaces. space_before: as if one more stood before it.
  void encode(std::string_view text, bool space_before, const Vocabulary& vocabulary, Scratch& scratch,
              std::vector<TokenId>& out) const;

 private:
  std::array<bool, 256> glued_{};  // bytes that stand before a space mark inside some token
  TokenId unknown_ = -1;
  const BpeMerges* merges_ = nullptr;

  void encode_marked(const Vocabulary& vocabulary, Scratch& scratch, std::vector<TokenId>& out) const;
  void append(std::string_view symbol, const Vocabulary& vocabulary, std::vector<TokenId>& out) const;
};

}  // namespace rowmax::engine
