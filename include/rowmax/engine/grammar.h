// Structured output: what a generation may write, as a JSON schema, a regular expression or a GBNF grammar, compiled to
// the masks of GenerationOptions::token_mask:
//
//   Result<Grammar> grammar = Grammar::from_json_schema(schema);
//   Result<GrammarVocabulary> vocabulary = GrammarVocabulary::create(model.tokenizer());  // once a model
//   Result<GrammarConstraint> constraint = GrammarConstraint::create(*grammar, *vocabulary);
//   options.token_mask = *constraint->token_mask();
//
// All three are hostile text. Sources, rules, states, nesting, memory and the work of every mask are bounded, and what is
// not supported is an error that names its place: nothing is ever ignored (docs/structured_output.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/engine/generation.h"
#include "rowmax/engine/tokenizer.h"
#include "rowmax/engine/types.h"
#include "rowmax/result.h"

namespace rowmax::engine {

// Each exceeded one is kLimit and is named.
struct GrammarLimits {
  std::size_t max_source_bytes = 8 << 20;  // of each source
  int max_depth = 200;                     // nesting of groups, of schemas
  std::size_t max_nodes = 2'000'000;       // parts that sources are parsed into
  std::size_t max_states = 2'000'000;      // states of the automaton; a repetition counts its body once
  std::size_t max_rules = 200'000;         // of a GBNF grammar; schemas and where they are used together
  // Work of one mask, with what it follows of the text: bytes of tokens tried, and what each of them moved.
  std::int64_t max_mask_steps = 20'000'000;
  // Of many, on an average: what a mask takes beyond is given back by later ones, and is max_mask_steps at most.
  std::int64_t sustained_mask_steps = 1'000'000;
  std::size_t max_items = 100'000;          // places at which one text can be at the same time
  std::size_t max_cache_bytes = 128 << 20;  // of a constraint; more is forgotten between masks, never held in one
};

enum class JsonWhitespace : std::uint8_t {
  kNone,     // {"a":[1,2]}
  kBounded,  // behind { [ , : and before } ]: nothing, one space, or one or two line ends and up to 20 spaces or tabs
};

struct JsonOptions {
  JsonWhitespace whitespace = JsonWhitespace::kBounded;
  // An object schema without additionalProperties and unevaluatedProperties allows no property that it does not name.
  // JSON schema says that it allows any.
  bool closed_objects = false;
  // The rules of OpenAI's strict mode: every object schema says additionalProperties: false and requires every property.
  // kInvalidArgument with the place of one that does not.
  bool strict = false;
};

// A piece of a text: parts follow each other directly.
struct GrammarPart {
  enum class Kind : std::uint8_t { kText, kRegex, kGbnf, kJsonSchema, kChoice };
  Kind kind = Kind::kText;
  std::string source;  // kText: the text itself; kChoice: nothing
  // kChoice: one of these sequences of parts, min to max times one behind the other (-1: any number). Nested 32 deep at most.
  std::vector<std::vector<GrammarPart>> choices = {};
  int min = 1, max = 1;
  std::string name = {};  // errors begin with "NAME: ", not with where the part is; empty: they say where it is
};

// A set of texts (of byte strings). Immutable; copies share it, and any number of threads may use it.
class Grammar {
 public:
  // The form of llama.cpp: rule "root" is the text. kCorrupt with line and column for what does not parse, kUnsupported
  // for tokens (<...>) and for left recursion, with the rule's name.
  static Result<Grammar> from_gbnf(std::string_view source, const GrammarLimits& limits = {});
  // ECMA 262's form (with flag u, less look-around, \b, back references and \p), which the whole text must match.
  static Result<Grammar> from_regex(std::string_view source, const GrammarLimits& limits = {});
  // The JSON texts that the schema is true of, their properties in the schema's order. Errors name the JSON pointer.
  static Result<Grammar> from_json_schema(std::string_view source, const JsonOptions& options = {},
                                          const GrammarLimits& limits = {});
  static Result<Grammar> any_json_object(const JsonOptions& options = {}, const GrammarLimits& limits = {});
  // Literal texts around what follows a schema (a tool call), or any other parts.
  static Result<Grammar> from_parts(std::span<const GrammarPart> parts, const JsonOptions& options = {},
                                    const GrammarLimits& limits = {});

  // Whether the text, as a whole, belongs to it. kLimit as for masks.
  Result<bool> matches(std::string_view text) const;
  // How many of the first bytes some text of it begins with.
  Result<std::size_t> match_length(std::string_view text) const;
  std::size_t n_states() const noexcept;  // of the automaton

  struct Impl;

 private:
  friend class GrammarConstraint;
  explicit Grammar(std::shared_ptr<const Impl> impl) noexcept;
  std::shared_ptr<const Impl> impl_;
};

// The tokens of a model as bytes, arranged for masks. Immutable; copies share it. Takes about 40 bytes for each
// byte of a token.
class GrammarVocabulary {
 public:
  // Normal, user-defined and byte tokens are text; control, unknown and unused tokens, and those without bytes, never are.
  // text_tokens: control tokens that are text all the same, as in GenerationOptions.
  static Result<GrammarVocabulary> create(const Tokenizer& tokenizer, std::span<const TokenId> text_tokens = {});
  // pieces[id]: the bytes of a token, none for one that is no text. end_tokens: end the text, whatever bytes they have.
  // kInvalidArgument for an end token outside, kLimit for a piece of more than 65,535 bytes.
  static Result<GrammarVocabulary> from_pieces(std::span<const std::string> pieces,
                                               std::span<const TokenId> end_tokens);
  std::int64_t size() const noexcept;  // number of tokens

  struct Impl;

 private:
  friend class GrammarConstraint;
  explicit GrammarVocabulary(std::shared_ptr<const Impl> impl) noexcept;
  std::shared_ptr<const Impl> impl_;
};

// A grammar over a vocabulary, with what its masks have found out so far, which all of them share. Any number of threads
// may use one (they wait for each other). Copies share it.
class GrammarConstraint {
 public:
  // kInvalidArgument where nothing can end a text: no end-of-generation token, no end_tokens.
  // end_tokens: further ones (GenerationOptions::stop_tokens).
  static Result<GrammarConstraint> create(const Grammar& grammar, const GrammarVocabulary& vocabulary,
                                          std::span<const TokenId> end_tokens = {});

  // Allows a token where the text so far, with all its bytes, is the beginning of a text of the grammar, and end tokens
  // where the text is one. A function of the tokens alone: it may be asked about any of them in any order; those that go
  // on from the ones before cost least. Errors: kInvalidArgument for tokens that the grammar does not allow, kLimit where
  // a mask would need more than the grammar's limits. A copy goes on by itself.
  Result<TokenMask> token_mask() const;

  // What the masks did so far: bytes of tokens tried, and places moved. For tests and figures.
  std::int64_t steps() const noexcept;

  struct Impl;

 private:
  explicit GrammarConstraint(std::shared_ptr<Impl> impl) noexcept;
  std::shared_ptr<Impl> impl_;
};

}  // namespace rowmax::engine
