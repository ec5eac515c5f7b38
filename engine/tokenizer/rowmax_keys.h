// What a Hugging Face tokenizer says and GGUF has no key for: keys of our own, which `rowmax convert` writes where they
// are needed (docs/cli.md). Other readers pass over them.
#pragma once

#include <cstdint>

namespace rowmax::engine {

// "always": a space in front of every stretch of text between special tokens that does not start with one (byte-level
// models too). "first": likewise, at the start of the text alone. Without the key tokenizer.ggml.add_space_prefix decides: in front of every
// stretch, whatever it starts with.
inline constexpr const char* kSpacePrefixKey = "rowmax.tokenizer.space_prefix";
// "NFC": a byte-level model's texts are brought into this form of Unicode's, stretch by stretch between special tokens.
inline constexpr const char* kNormalizerKey = "rowmax.tokenizer.normalizer";
// Two arrays of one length: ids of control and user-defined tokens, ascending or not, and flags for each.
inline constexpr const char* kAddedTokensKey = "rowmax.tokenizer.added_tokens";
inline constexpr const char* kAddedTokenFlagsKey = "rowmax.tokenizer.added_token_flags";
// Ids that end a text, all of them.
inline constexpr const char* kEndTokensKey = "rowmax.tokenizer.eos_token_ids";
// The same as ollama's converter writes it, beside the one eos_token_id; read, not written.
inline constexpr const char* kOllamaEndTokensKey = "tokenizer.ggml.eos_token_ids";

// Bits of the flags. The first four are Hugging Face's lstrip, rstrip, single_word and normalized.
enum AddedTokenFlags : std::int32_t {
  kStripLeft = 1,   // takes the white space before it with it
  kStripRight = 2,  // and that behind it
  kSingleWord = 4,  // is not found next to a letter, digit or underscore
  // Is looked for in what lies between the tokens without this flag, and that is all it sees of the text.
  kSecondPass = 8,
  // Is a piece of the model as well: where it is not found as a token, merging can still make it. A byte-level
  // model's piece stands for bytes, whatever its text as an added token.
  kAlsoMerged = 16,
  // Each space of its text in tokenizer.ggml.tokens stands for U+2581 (there it is a space because other readers of
  // GGUF expect that of user-defined tokens).
  kSpacesAreMarks = 32,
  // With kSecondPass: the text is looked through after it has been normalised (its spaces have become U+2581 and one has
  // been put in front, where the tokenizer does so; or as kNormalizerKey says); and so has the token.
  kInNormalText = 64,
};
inline constexpr std::int32_t kAllAddedTokenFlags = 127;

}  // namespace rowmax::engine
