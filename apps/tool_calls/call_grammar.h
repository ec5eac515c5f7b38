// What a text must be so that it is calls of these functions: the form as the model's template has it, the arguments as the
// functions' schemas have them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "apps/tool_calls/tool_format.h"
#include "apps/tool_calls/tool_function.h"
#include "rowmax/engine/grammar.h"
#include "rowmax/result.h"

namespace rowmax::tool_calls {

struct CallGrammarOptions {
  bool many = true;  // one call or more, where the form has several; else one
  // The schemas of functions that are not strict, too; else their arguments are any object.
  bool all_schemas = true;
  // In front of the calls: text without the first character of `mark`, and the mark itself. None: the calls alone.
  std::string_view mark = {};
  bool mark_is_of_calls = false;  // it is the beginning of the calls
  // Where the functions' schemas are, for errors: "tools[0].function.parameters". None: errors have the functions' names.
  std::span<const std::string> places = {};
};

// Whether a call can have it: it is there, and of letters, digits and _-.:/ alone.
bool is_callable_name(std::string_view name);

// Errors of one function begin with its place (or its name) and ": ". kUnsupported where the form cannot be constrained or
// cannot hold what a schema says, with the property; kInvalidArgument for a name that is not callable; kLimit where the
// parts take more than 64 MiB together, as definitions do that many properties refer to. A schema's own errors come when the
// parts are compiled (Grammar::from_parts), and begin so, too.
Result<std::vector<engine::GrammarPart>> call_grammar(const ToolFormat& format,
                                                      const std::vector<ToolFunction>& functions,
                                                      const CallGrammarOptions& options);

// Texts in which `tag` ("</x>") does not occur, as a regular expression.
std::string text_without(std::string_view tag);

}  // namespace rowmax::tool_calls
