// Pre-tokenizers: how a text is cut into words before byte-pair merging, by the name in tokenizer.ggml.pre.
//
// The models define them as regular expressions; here each expression is a hand-written scanner, linear in the text and
// without recursion on it. Several expressions in a row cut the pieces of the one before, each piece as a text of its
// own (so that `$` and look-ahead end with the piece), and what lies between two matches is a piece too. Checked
// against the original expressions (engine/tokenizer/testdata/splits.txt, tools/make_tokenizer_vectors.py).
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace rowmax::engine {

// The end of the piece that starts at p (p < end, result in (p, end]).
using NextPiece = const char* (*)(const char* p, const char* end);

struct PreTokenizer {
  std::string_view name;
  std::span<const NextPiece> passes;
  bool ignore_merges;    // a word that is a token as a whole becomes it, whatever the merges say
  bool default_add_bos;  // when the file does not say
};

// nullptr for a name that is not known.
const PreTokenizer* find_pre_tokenizer(std::string_view name) noexcept;
std::span<const PreTokenizer> pre_tokenizers() noexcept;

// Calls emit(std::string_view) for every word of the text, in order; joined they are the text.
template <class Emit>
void split_words(std::span<const NextPiece> passes, std::string_view text, Emit&& emit) {
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p != end) {
    const char* next = passes.front()(p, end);
    const std::string_view piece(p, static_cast<std::size_t>(next - p));
    if (passes.size() == 1) {
      emit(piece);
    } else {
      split_words(passes.subspan(1), piece, emit);
    }
    p = next;
  }
}

}  // namespace rowmax::engine
