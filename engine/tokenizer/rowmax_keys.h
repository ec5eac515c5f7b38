// What a Hugging Face tokenizer says and GGUF has no key for: keys of our own, which `rowmax convert` writes where they
// are needed (docs/cli.md). Other readers pass over them.
#pragma once

#include <cstdint>

namespace rowmax::engine {

// "always": a space in front of every stretch of text between special tokens that does not start with one. "first":
// likewise, at the start of the text alone. Without the key tokenizer.ggml.add_space_prefix decides: in front of every
// stretch, whatever it starts with.
inline constexpr const char* kSpacePrefixKey = "rowmax.tokenizer.space_prefix";
// Two arrays of one length: ids of control and user-defined tokens, ascending or not, and flags for each.
inline constexpr const char* kAddedTokensKey = "rowmax.tokenizer.added_tokens";
inline constexpr const char* kAddedTokenFlagsKey = "rowmax.tokenizer.added_token_flags";
// Ids that end a text, all of them.
inline constexpr const char* kEndTokensKey = "rowmax.tokenizer.eos_token_ids";
// The same as ollama's converter writes it, beside the one eos_token_id; read, not written.
inline constexpr const char* kOllamaEndTokensKey = "tokenizer.ggml.eos_token_ids";

// Bits of the flags. Hugging Face's names: lstrip, rstrip (the token takes the white space before or behind it with
// it), single_word (not found next to a letter, digit or underscore).
enum AddedTokenFlags : std::int32_t { kStripLeft = 1, kStripRight = 2, kSingleWord = 4 };

}  // namespace rowmax::engine
