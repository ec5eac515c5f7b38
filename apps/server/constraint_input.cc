#include "apps/server/constraint_input.h"

#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include "apps/server/served_model.h"
#include "rowmax/engine/grammar.h"
#include "rowmax/try.h"

namespace rowmax::server {

using engine::Grammar;
using engine::Json;

struct ConstraintVocabulary::Impl {
  std::mutex mutex;
  std::optional<engine::GrammarVocabulary> plain, with_text_tokens;
};

ConstraintVocabulary::ConstraintVocabulary() : impl_(std::make_unique<Impl>()) {}
ConstraintVocabulary::~ConstraintVocabulary() = default;

namespace {

bool is_schema(Json value) { return value.is_object() || value.is_bool(); }

Result<Grammar> schema_grammar(Json schema, bool strict) {
  return Grammar::from_json_schema(copy_of(schema).dump(), {.strict = strict});
}

}  // namespace

Result<engine::TokenMask> grammar_mask(const ServedModel& served, const Grammar& grammar, bool with_text_tokens) {
  ConstraintVocabulary::Impl& shared = *served.vocabulary->impl_;
  const std::span<const engine::TokenId> marks = served.text_tokens;
  const std::span<const engine::TokenId> text_tokens = with_text_tokens ? marks : marks.first(0);
  std::optional<engine::GrammarVocabulary> vocabulary;
  {
    const std::lock_guard lock(shared.mutex);
    auto& made = text_tokens.empty() ? shared.plain : shared.with_text_tokens;
    if (!made) {
      ROWMAX_TRY(arranged, engine::GrammarVocabulary::create(served.tokenizer(), text_tokens));
      made = std::move(arranged);
    }
    vocabulary = made;
  }
  ROWMAX_TRY(constraint, engine::GrammarConstraint::create(grammar, *vocabulary));
  return constraint.token_mask();
}

// Requests are read with a bounded depth.
text::Json copy_of(Json value) {
  if (value.is_bool()) return value.as_bool();
  if (const auto integer = value.as_int()) return *integer;
  if (value.is_number()) return value.as_double();
  if (value.is_string()) return value.as_string();
  if (value.is_array()) {
    text::Json list = text::Json::array();
    for (const Json element : value.elements()) list.push_back(copy_of(element));
    return list;
  }
  if (!value.is_object()) return {};
  text::Json object = text::Json::object();
  for (const auto& [key, member] : value.members()) object.append(key, copy_of(member));
  return object;
}

// Of one request.
engine::TokenMask named_mask(std::string name, engine::TokenMask mask) {
  return [name = std::move(name), mask = std::move(mask)](std::span<const engine::TokenId> generated,
                                                          std::span<std::uint64_t> allowed) -> Status {
    Status status = mask(generated, allowed);
    if (status.ok()) return status;
    return Error{status.error().code, name + ": " + status.error().message};
  };
}

class ConstraintReader {
 public:
  ConstraintReader(Fields& fields, const ServedModel& served) : fields_(fields), served_(served) {}

  // name: the field that the grammar came from.
  engine::TokenMask mask(const std::string& name, const Result<Grammar>& grammar) {
    if (!grammar.ok()) return refuse(name, grammar.error());
    auto found = grammar_mask(served_, *grammar, false);
    if (!found.ok()) return refuse(name, found.error());
    return named_mask(name, std::move(found).value());
  }

  // {"type": ..., and with json_schema what `schema_of` finds}: nullopt where it is text or wrong.
  // path: of the object in errors; holder: the member of the format that holds schema and strict, empty: the format itself.
  engine::TokenMask format_mask(Json format, const std::string& path, const char* holder) {
    Fields inner(format, path);
    const std::string_view type = inner.needed_string("type");
    engine::TokenMask found;
    if (type == "json_object") {
      found = mask(path, Grammar::any_json_object());
    } else if (type == "json_schema") {
      const Json held = *holder == 0 ? format : inner.object(holder);
      if (inner.ok() && !held) inner.fail_missing(holder, "an object with a schema");
      if (inner.ok()) found = held_mask(held, *holder == 0 ? path : path + "." + holder);
    } else if (inner.ok() && type != "text") {
      inner.fail_unsupported("type", "expected text, json_object or json_schema, found \"" + std::string(type) + "\"");
    }
    if (!inner.ok()) fields_.fail(inner.error());
    return found;
  }

 private:
  engine::TokenMask held_mask(Json held, const std::string& path) {
    Fields inner(held, path);
    const bool strict = inner.boolean("strict").value_or(false);
    const Json schema = inner.any("schema");
    if (inner.ok() && !is_schema(schema)) inner.fail("schema", "a JSON schema", schema);
    if (inner.ok()) return mask(path + ".schema", schema_grammar(schema, strict));
    fields_.fail(inner.error());
    return {};
  }

  engine::TokenMask refuse(const std::string& name, const Error& error) {
    const bool unsupported = error.code == ErrorCode::kUnsupported;
    fields_.fail({error.code == ErrorCode::kOutOfMemory ? 503 : 400, name + ": " + error.message, name,
                  unsupported ? "not_supported" : "invalid_value"});
    return {};
  }

  Fields& fields_;
  const ServedModel& served_;
};

engine::TokenMask read_constraint(Fields& fields, const ServedModel& served) {
  ConstraintReader reader(fields, served);
  std::string given;  // the field that constrains
  engine::TokenMask mask;
  const auto take = [&](const char* name, engine::TokenMask found) {
    if (!found) return;
    if (!given.empty()) {
      fields.fail({400, std::string(name) + ": " + given + " constrains the output already; give one of them", name,
                   "invalid_value"});
    }
    given = name;
    mask = std::move(found);
  };
  if (const Json format = fields.object("response_format")) {
    take("response_format", reader.format_mask(format, "response_format", "json_schema"));
  }
  if (const Json schema = fields.any("json_schema")) {
    if (!is_schema(schema)) fields.fail("json_schema", "a JSON schema", schema);
    if (fields.ok()) take("json_schema", reader.mask("json_schema", schema_grammar(schema, false)));
  }
  if (const auto source = fields.string("grammar"); source && !source->empty()) {
    take("grammar", reader.mask("grammar", Grammar::from_gbnf(*source)));
  }
  if (const auto source = fields.string("regex")) take("regex", reader.mask("regex", Grammar::from_regex(*source)));
  for (const char* name : {"guided_json", "guided_regex", "guided_grammar", "guided_choice", "structured_outputs"}) {
    if (fields.any(name)) {
      fields.fail_unsupported(name, "expected response_format, json_schema, grammar or regex in its place");
    }
  }
  if (mask && fields.boolean("ignore_eos").value_or(false)) {
    fields.fail_unsupported("ignore_eos", given + " says where the text ends");
  }
  return mask;
}

engine::TokenMask read_text_format(Fields& fields, const ServedModel& served) {
  const Json format = fields.object("text").find("format");
  if (!format) return {};
  if (!format.is_object()) {
    fields.fail("text.format", "an object", format);
    return {};
  }
  return ConstraintReader(fields, served).format_mask(format, "text.format", "");
}

engine::TokenMask read_ollama_format(Fields& fields, const ServedModel& served) {
  const Json format = fields.any("format");
  if (!format || format.is("")) return {};
  ConstraintReader reader(fields, served);
  if (format.is("json")) return reader.mask("format", Grammar::any_json_object());
  if (format.is_object()) return reader.mask("format", schema_grammar(format, false));
  fields.fail("format", "\"json\" or a JSON schema", format);
  return {};
}

}  // namespace rowmax::server
