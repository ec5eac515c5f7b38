#include "rowmax/engine/grammar.h"

#include "base/guarded.h"
#include "engine/grammar/automaton.h"
#include "engine/grammar/gbnf.h"
#include "engine/grammar/grammar_impl.h"
#include "engine/grammar/json_schema.h"
#include "engine/grammar/machine.h"
#include "engine/grammar/regex.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

using grammar::NodeId;
using grammar::Syntax;
using Kind = GrammarPart::Kind;

std::string_view name_of(Kind kind) {
  switch (kind) {
    case Kind::kText: return "text";
    case Kind::kRegex: return "regular expression";
    case Kind::kGbnf: return "grammar";
    case Kind::kJsonSchema: return "JSON schema";
    case Kind::kChoice: return "choice";
  }
  return "part";
}

Error with_name(std::string_view name, const Error& error) {
  return {error.code, error.message.starts_with(name) ? error.message : concat(name, ", ", error.message)};
}

Result<NodeId> parse_part(Syntax& syntax, Kind kind, std::string_view source, const JsonOptions& options) {
  if (source.size() > syntax.limits().max_source_bytes) {
    return Error::limit(concat("more than max_source_bytes = ", syntax.limits().max_source_bytes, ": ", source.size()));
  }
  switch (kind) {
    case Kind::kText: return syntax.literal(source);
    case Kind::kGbnf: return grammar::parse_gbnf(syntax, source);
    case Kind::kJsonSchema: return grammar::parse_json_schema(syntax, source, options);
    case Kind::kRegex:
    case Kind::kChoice: break;  // a choice holds parts and is none
  }
  const grammar::WriteChars write = [&](const grammar::CodePointSet& set) { return syntax.chars(set); };
  return grammar::parse_regex(syntax, source, write, grammar::Anchoring::kWhole);
}

constexpr int kMaxPartDepth = 32;

class PartsParser {
 public:
  PartsParser(Syntax& syntax, const JsonOptions& options) : syntax_(syntax), options_(options) {}

  Result<NodeId> parse(std::span<const GrammarPart> parts, int depth = 0);

 private:
  Result<NodeId> parse_choice(const GrammarPart& part, int depth);
  // Where an error is, until a part's own name has said it.
  Error at(std::string_view kind, std::size_t i, const Error& error) const {
    return named_ ? error : with_name(concat(kind, " ", i), error);
  }

  Syntax& syntax_;
  const JsonOptions& options_;
  bool named_ = false;
};

Result<NodeId> PartsParser::parse_choice(const GrammarPart& part, int depth) {
  if (depth >= kMaxPartDepth) return Error::limit(concat("choices nested more than ", kMaxPartDepth, " deep"));
  if (part.min < 0 || part.max < -1 || (part.max >= 0 && part.max < part.min)) {
    return Error::invalid_argument(
        concat("expected min from 0 on and max from min on or -1, found ", part.min, " and ", part.max));
  }
  std::vector<NodeId> nodes;
  for (std::size_t i = 0; i < part.choices.size(); ++i) {
    const auto node = parse(part.choices[i], depth + 1);
    if (!node.ok()) return at("choice", i, node.error());
    nodes.push_back(*node);
  }
  const NodeId one = syntax_.choice(nodes);
  return syntax_.repeat(one, static_cast<std::uint32_t>(part.min),
                        part.max < 0 ? grammar::kUnbounded : static_cast<std::uint32_t>(part.max));
}

Result<NodeId> PartsParser::parse(std::span<const GrammarPart> parts, int depth) {
  std::vector<NodeId> nodes;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const GrammarPart& part = parts[i];
    const auto node =
        part.kind == Kind::kChoice ? parse_choice(part, depth) : parse_part(syntax_, part.kind, part.source, options_);
    if (!node.ok() && !named_ && !part.name.empty()) {
      named_ = true;
      const Error error = with_name(name_of(part.kind), node.error());
      return Error{error.code, concat(part.name, ": ", error.message)};
    }
    if (!node.ok()) return at("part", i, named_ ? node.error() : with_name(name_of(part.kind), node.error()));
    nodes.push_back(*node);
  }
  return syntax_.sequence(nodes);
}

}  // namespace

Grammar::Grammar(std::shared_ptr<const Impl> impl) noexcept : impl_(std::move(impl)) {}

static Result<std::shared_ptr<const Grammar::Impl>> compile(const Syntax& syntax, NodeId root) {
  ROWMAX_TRY(automaton, grammar::build_automaton(syntax, root));
  return std::make_shared<const Grammar::Impl>(Grammar::Impl{std::move(automaton), syntax.limits()});
}

static Result<std::shared_ptr<const Grammar::Impl>> compile_part(Kind kind, std::string_view source,
                                                                 const JsonOptions& options,
                                                                 const GrammarLimits& limits) {
  Syntax syntax(limits);
  const auto root = parse_part(syntax, kind, source, options);
  if (!root.ok()) return with_name(name_of(kind), root.error());
  auto impl = compile(syntax, *root);
  if (!impl.ok()) return with_name(name_of(kind), impl.error());
  return impl;
}

Result<Grammar> Grammar::from_gbnf(std::string_view source, const GrammarLimits& limits) {
  return base::guarded([&]() -> Result<Grammar> {
    ROWMAX_TRY(impl, compile_part(Kind::kGbnf, source, {}, limits));
    return Grammar(std::move(impl));
  });
}

Result<Grammar> Grammar::from_regex(std::string_view source, const GrammarLimits& limits) {
  return base::guarded([&]() -> Result<Grammar> {
    ROWMAX_TRY(impl, compile_part(Kind::kRegex, source, {}, limits));
    return Grammar(std::move(impl));
  });
}

Result<Grammar> Grammar::from_json_schema(std::string_view source, const JsonOptions& options,
                                          const GrammarLimits& limits) {
  return base::guarded([&]() -> Result<Grammar> {
    ROWMAX_TRY(impl, compile_part(Kind::kJsonSchema, source, options, limits));
    return Grammar(std::move(impl));
  });
}

Result<Grammar> Grammar::any_json_object(const JsonOptions& options, const GrammarLimits& limits) {
  return base::guarded([&]() -> Result<Grammar> {
    Syntax syntax(limits);
    const NodeId root = grammar::any_json_object(syntax, options);
    ROWMAX_TRY(impl, compile(syntax, root));
    return Grammar(std::move(impl));
  });
}

Result<Grammar> Grammar::from_parts(std::span<const GrammarPart> parts, const JsonOptions& options,
                                    const GrammarLimits& limits) {
  return base::guarded([&]() -> Result<Grammar> {
    Syntax syntax(limits);
    ROWMAX_TRY(root, PartsParser(syntax, options).parse(parts));
    ROWMAX_TRY(impl, compile(syntax, root));
    return Grammar(std::move(impl));
  });
}

Result<std::size_t> Grammar::match_length(std::string_view text) const {
  return base::guarded([&]() -> Result<std::size_t> {
    grammar::Machine machine(impl_->automaton, impl_->limits);
    grammar::StateId state = machine.start();
    for (std::size_t i = 0; i < text.size(); ++i) {
      machine.begin_work();
      state = machine.step(state, static_cast<std::uint8_t>(text[i]));
      ROWMAX_RETURN_IF_ERROR(machine.failure());
      if (state == grammar::Machine::kDead) return i;
    }
    return text.size();
  });
}

Result<bool> Grammar::matches(std::string_view text) const {
  return base::guarded([&]() -> Result<bool> {
    grammar::Machine machine(impl_->automaton, impl_->limits);
    grammar::StateId state = machine.start();
    for (std::size_t i = 0; i < text.size() && state != grammar::Machine::kDead; ++i) {
      machine.begin_work();
      state = machine.step(state, static_cast<std::uint8_t>(text[i]));
      ROWMAX_RETURN_IF_ERROR(machine.failure());
    }
    return machine.accepts(state);
  });
}

std::size_t Grammar::n_states() const noexcept { return impl_->automaton.n_states(); }

}  // namespace rowmax::engine
