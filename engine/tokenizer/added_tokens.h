// Control, unknown and user-defined tokens inside a text, found as Hugging Face `tokenizers` finds its added tokens: in
// two passes, the second of which looks through what the first has left between its tokens.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/tokenizer/rowmax_keys.h"
#include "engine/tokenizer/source.h"
#include "engine/tokenizer/special_tokens.h"
#include "engine/tokenizer/vocabulary.h"
#include "rowmax/engine/tokenizer.h"
#include "rowmax/result.h"

namespace rowmax::engine {

class AddedTokens {
 public:
  // Hears what a text is made of, in order.
  class Listener {
   public:
    virtual void on_token(TokenId id) = 0;
    // Text between tokens, never empty. prefixed: it is a piece of one that has had its U+2581 put in front.
    virtual void on_text(std::string_view text, bool prefixed) = 0;

   protected:
    ~Listener() = default;
  };

  // What happens to a stretch of text between tokens before the second pass looks through it.
  struct Normalizer {
    bool nfc = false;
    // SentencePiece-style models: spaces become U+2581, and one is put in front whatever the text starts with.
    bool marks = false, prefix_mark = false;
  };

  // kCorrupt for flags that are none, or that do not agree with each other.
  Status init(const TokenizerSource& source, const Vocabulary& vocabulary, Normalizer normalizer);

  // The parts, joined, are the text. No token reaches over the border of two parts. What on_text hears lies in `text` or
  // in `buffers`.
  void split(std::string_view text, std::span<const TextPart> parts, std::deque<std::string>& buffers,
             Listener& listener) const;

 private:
  struct Pass {
    SpecialTokens always;      // user-defined tokens
    SpecialTokens when_asked;  // these and control and unknown tokens
    bool any = false;
  };
  struct Border {
    std::size_t end;  // of a part
    bool parse_special;
  };

  Pass passes_[2];
  std::vector<std::pair<TokenId, std::int64_t>> flags_;  // AddedTokenFlags of the tokens that have any, sorted
  bool in_normal_ = false;                               // the second pass's tokens are looked for in normalised text
  Normalizer normalizer_;

  Status read_flags(const TokenizerSource& source, const Vocabulary& vocabulary);
  std::int64_t flags_of(TokenId id) const noexcept;
  // Without the mark in front.
  std::string normalised(std::string_view text) const;
  template <class OnText>
  void scan(const Pass& pass, std::string_view text, std::span<const Border> borders, Listener& listener,
            const OnText& on_text) const;
  void second_pass(std::string_view text, std::size_t begin, std::span<const Border> borders,
                   std::deque<std::string>& buffers, Listener& listener) const;
};

}  // namespace rowmax::engine
