// Any text through every pre-tokenizer and through SentencePiece merging: with a token for each byte, what was encoded
// decodes to the same bytes, whether special tokens are looked for or not.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/pre_tokenizer.h"
#include "engine/tokenizer/test_vocabulary.h"
#include "rowmax/engine/tokenizer.h"

namespace rowmax::engine {
namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

Tokenizer make(const TokenizerSource& source) {
  Result<Tokenizer> result = Tokenizer::from_source(source);
  require(result.ok());
  return std::move(result).value();
}

std::vector<Tokenizer> make_all() {
  TestVocabulary bytes = byte_vocabulary();
  for (const char* merge :
       {"t h", "th e", "h e", "a a", "aa a", "aa aa", "e r", "i n", "in g", "' s", "1 2", "12 3", "\xC4\xA0 t",
        "\xC4\xA0t he", "\xC4\xA0 \xC4\xA0", "\xC4\x8A \xC4\x8A", "\xC3\xA2 \xC4\xB8", "\xC3\x83 \xC2\xA9"}) {
    bytes.merges.push_back(merge);
    std::string made = merge;
    made.erase(made.find(' '), 1);
    bytes.add(made);
  }
  bytes.add("<|im_end|>", 3);
  bytes.add("<tool>", 4);
  std::vector<Tokenizer> out;
  const NextPiece* last = nullptr;
  for (const PreTokenizer& pre : pre_tokenizers()) {
    if (pre.passes.data() == last) continue;
    last = pre.passes.data();
    out.push_back(make(bytes.bpe(std::string(pre.name))));
  }
  TestVocabulary pieces = spm_vocabulary();
  for (const char* text :
       {"\xE2\x96\x81", "a", "b", "t", "h", "e", "th", "the", "\xE2\x96\x81the", "\xE2\x96\x81t", "he", "aa", "aaaa",
        "\xE2\x96\x81\xE2\x96\x81", ">\xE2\x96\x81<", ">\xE2\x96\x81", "<", ">", "\xC3\xA9"}) {
    pieces.add(text, 1, -static_cast<float>(pieces.tokens.size() % 7));
  }
  pieces.add("\n\n", 4);
  TokenizerSource source = pieces.spm();
  out.push_back(make(source));
  source.add_space_prefix = false;
  out.push_back(make(source));
  return out;
}

}  // namespace
}  // namespace rowmax::engine

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace rowmax::engine;
  static const std::vector<Tokenizer> tokenizers = make_all();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const Tokenizer& tokenizer : tokenizers) {
    const bool is_spm = tokenizer.model() == "llama";
    // A space mark in the text cannot be told from a space.
    if (is_spm && text.find("\xE2\x96\x81") != std::string_view::npos) continue;
    const std::vector<TokenId> plain = *tokenizer.encode(text, false);
    for (const TokenId id : plain) require(tokenizer.kind(id) != TokenKind::kControl);
    // With a space put before each part, texts between user-defined tokens come back with spaces.
    const bool exact = !is_spm || text.find("\n\n") == std::string_view::npos;
    if (exact) require(*tokenizer.decode(plain, false) == text);
    const std::vector<TokenId> special = *tokenizer.encode(text, true);
    if (!is_spm) require(*tokenizer.decode(special, true) == text);
  }
  return 0;
}
