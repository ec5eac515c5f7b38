// What a request's text may be, as the APIs say it: JSON of a schema, a grammar, a regular expression.
#pragma once

#include <memory>
#include <string>

#include "apps/server/fields.h"
#include "apps/text/json.h"
#include "rowmax/engine/generation.h"
#include "rowmax/engine/grammar.h"
#include "rowmax/engine/tokenizer.h"

namespace rowmax::server {

struct ServedModel;

// A model's tokens as grammars read them (rowmax/engine/grammar.h), arranged when the first request asks. From any thread.
class ConstraintVocabulary {
 public:
  ConstraintVocabulary();
  ~ConstraintVocabulary();

 private:
  friend Result<engine::TokenMask> grammar_mask(const ServedModel&, const engine::Grammar&, bool);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The mask of a grammar. with_text_tokens: the model's marks that are control tokens are text.
Result<engine::TokenMask> grammar_mask(const ServedModel& served, const engine::Grammar& grammar,
                                       bool with_text_tokens);

// The same mask, whose errors begin with the name of the field that it came from.
engine::TokenMask named_mask(std::string name, engine::TokenMask mask);

// A value of a request as it came, to be handed on or shown; its members keep their order.
text::Json copy_of(engine::Json value);

// Each is empty where nothing constrains. What cannot be obeyed is a 400 that names the field: nothing is ignored.

// response_format {"type": "text" | "json_object" | "json_schema", "json_schema": {"schema": {...}, "strict": bool}};
// json_schema (the schema itself), grammar (GBNF), regex: at most one of them.
engine::TokenMask read_constraint(Fields& fields, const ServedModel& served);
// Responses' text: {"format": {"type": "text" | "json_object" | "json_schema", "schema": {...}, "strict": bool}}.
engine::TokenMask read_text_format(Fields& fields, const ServedModel& served);
// Ollama's format: "json" or a schema.
engine::TokenMask read_ollama_format(Fields& fields, const ServedModel& served);

}  // namespace rowmax::server
