#include "apps/cli/constraint.h"

#include <utility>

#include "apps/cli/engine_setup.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

using engine::Grammar;

Error at(const std::string& place, const Error& error) { return {error.code, place + ": " + error.message}; }

// A schema is an object or true or false, and no file is called so.
bool is_schema_text(const std::string& value) {
  const std::size_t begin = value.find_first_not_of(" \t\r\n");
  return begin != std::string::npos && (value[begin] == '{' || value == "true" || value == "false");
}

Result<Grammar> read_schema(const std::string& value) {
  if (is_schema_text(value)) {
    auto grammar = Grammar::from_json_schema(value);
    if (!grammar.ok()) return at("--json-schema", grammar.error());
    return grammar;
  }
  auto text = read_text(value);
  if (!text.ok()) return at("--json-schema", text.error());
  auto grammar = Grammar::from_json_schema(*text);
  if (!grammar.ok()) return at("--json-schema " + value, grammar.error());
  return grammar;
}

Result<Grammar> read_grammar(const std::string& value) {
  auto text = read_text(value);
  if (!text.ok()) return at("--grammar", text.error());
  auto grammar = Grammar::from_gbnf(*text);
  if (!grammar.ok()) return at("--grammar " + value, grammar.error());
  return grammar;
}

Result<Grammar> read_regex(const std::string& value) {
  auto grammar = Grammar::from_regex(value);
  if (!grammar.ok()) return at("--regex", grammar.error());
  return grammar;
}

}  // namespace

void add_constraint_flags(Flags& table, ConstraintFlags& flags) {
  table.add("--json-schema", flags.json_schema, "the text is JSON that this schema is true of").type("FILE|TEXT");
  table.add("--grammar", flags.grammar, "the text belongs to this grammar (GBNF)").type("FILE");
  table.add("--regex", flags.regex, "the whole text matches this regular expression").type("TEXT");
  table.choose_one({{"--json-schema"}, {"--grammar"}, {"--regex"}});
}

Result<std::optional<Grammar>> constraint_grammar(const ConstraintFlags& flags) {
  const int given = !flags.json_schema.empty() + !flags.grammar.empty() + !flags.regex.empty();
  if (given == 0) return std::optional<Grammar>();
  if (given > 1) return Error::invalid_argument("give one of --json-schema, --grammar and --regex");
  ROWMAX_TRY(grammar, !flags.json_schema.empty() ? read_schema(flags.json_schema)
                      : !flags.grammar.empty()   ? read_grammar(flags.grammar)
                                                 : read_regex(flags.regex));
  return std::optional<Grammar>(std::move(grammar));
}

Result<engine::TokenMask> constraint_mask(const Grammar& grammar, const engine::Model& model) {
  ROWMAX_TRY(vocabulary, engine::GrammarVocabulary::create(model.tokenizer()));
  ROWMAX_TRY(constraint, engine::GrammarConstraint::create(grammar, vocabulary));
  return constraint.token_mask();
}

}  // namespace rowmax::cli
