// Text to token ids and back, as the model's file defines it: byte-level BPE ("gpt2") with the pre-tokenizer that
// tokenizer.ggml.pre names, and SentencePiece-style ("llama").
//
// Immutable after creation; any number of threads may use one.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rowmax/engine/gguf.h"
#include "rowmax/engine/types.h"
#include "rowmax/result.h"

namespace rowmax::engine {

enum class TokenKind : std::uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

struct TokenizerOptions {
  // The pre-tokenizer to use whatever the file names ("gpt2" models only; kInvalidArgument for others and for a name
  // that is not known). A file that names none or an unknown one is refused without it.
  std::string pre_override;
  // Used, with a notice, where the file names none and nothing is overridden: what the architecture's files are known
  // to need. Model::load fills it in.
  std::string default_pre = {};
  // In place of tokenizer keys of the file: {"tokenizer.ggml.add_bos_token", "false"}. Keys with lists cannot be given;
  // keys without the prefix "tokenizer." are somebody else's.
  std::vector<std::pair<std::string, std::string>> overrides = {};
  // Keys that are not read and not known to be harmless, and are to be ignored all the same.
  std::vector<std::string> ignored_keys = {};
};

struct TokenizerSource;  // the unchecked lists of a file; private (engine/tokenizer/source.h)

// A stretch of a text, and whether control tokens are recognised in it.
struct TextPart {
  std::string_view text;
  bool parse_special = false;
};

class Tokenizer {
 public:
  // kUnsupported for a tokenizer model or pre-tokenizer that is not known, kCorrupt for lists that do not fit.
  static Result<Tokenizer> from_gguf(const GgufFile& file, const TokenizerOptions& options = {});
  // What becomes of each key that begins with "tokenizer.", in the file's order.
  static Result<std::vector<KeyReport>> report_keys(const GgufFile& file, const std::vector<std::string>& ignored = {});
  static Result<Tokenizer> from_source(const TokenizerSource& source, const TokenizerOptions& options = {});
  static std::vector<std::string_view> pre_tokenizer_names();  // all that are known
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // parse_special: the texts of control tokens inside `text` become those tokens; otherwise they stay plain text.
  // User-defined tokens are always found. kOutOfMemory is the only error of these calls. Never adds BOS or EOS: see add_bos() and add_eos(). Invalid UTF-8 is not an error: its
  // bytes are kept where the vocabulary has a token for them, else become U+FFFD (gpt2) or the unknown token (llama).
  Result<std::vector<TokenId>> encode(std::string_view text, bool parse_special) const;
  // The same for a text given in parts: tokens may reach over the parts' borders, control tokens never do. So a chat
  // template's own text can hold them and a user's words inside it cannot.
  Result<std::vector<TokenId>> encode(std::span<const TextPart> parts) const;
  // The token's bytes; control tokens give their text only with include_special. A piece may end inside a UTF-8
  // character. Out of range ids give an empty string.
  Result<std::string> piece(TokenId id, bool include_special) const;
  // Pieces joined; for SentencePiece vocabularies with a space prefix, the leading space of the first one removed.
  Result<std::string> decode(std::span<const TokenId> ids, bool include_special) const;

  std::int64_t size() const noexcept;                // number of tokens
  std::string_view model() const noexcept;           // "gpt2" or "llama"
  std::string_view pre() const noexcept;             // the pre-tokenizer in use, e.g. "smollm"; "spm" for llama
  std::string_view text(TokenId id) const noexcept;  // as stored in the file
  TokenKind kind(TokenId id) const noexcept;
  TokenId find(std::string_view stored_text) const noexcept;  // -1 when absent
  TokenId bos() const noexcept;                               // -1 when the file has none
  TokenId eos() const noexcept;
  bool add_bos() const noexcept;  // the model expects BOS first (exactly one)
  bool add_eos() const noexcept;  // and EOS behind texts that are whole: those to embed
  // Ids that end a turn: eos, eot, eom and the tokens known by text (<|im_end|>, <|eot_id|>, <end_of_turn>, ...);
  // sorted.
  std::span<const TokenId> end_of_generation() const noexcept;
  bool is_end_of_generation(TokenId id) const noexcept;
  // One line each: defaults taken, ids repaired.
  std::span<const std::string> notices() const noexcept;
  // What is worth knowing of the file once and decided nothing: tokens that look as if they ended a turn, and do not.
  std::span<const std::string> remarks() const noexcept;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rowmax::engine
