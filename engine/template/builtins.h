// Filters, tests, methods and global functions, each table by name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/template/value.h"
#include "rowmax/result.h"

namespace rowmax::engine::jinja {

class Interpreter;

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Matches arguments with parameter names; a missing one is nullptr. Too many or unknown ones, or a missing one of the
// first n_required, are an error that names `callee`. The pointers live as long as `arguments`.
Result<std::vector<const Value*>> bind(const Interpreter& in, const Arguments& arguments, std::string_view callee,
                                       std::initializer_list<std::string_view> names, std::size_t n_required = 0);

bool is_filter(std::string_view name);
bool is_test(std::string_view name);
Result<Value> apply_filter(Interpreter& in, std::string_view name, const Value& operand, const Arguments& arguments);
Result<bool> apply_test(Interpreter& in, std::string_view name, const Value& operand, const Arguments& arguments);

// kNone: no such attribute in Python; kYes: call_method implements it; kRefused: Python has it, this interpreter not
// (or the sandbox forbids it, as with list.append).
enum class MethodState { kNone, kYes, kRefused };
MethodState find_method(const Value& self, std::string_view name);
Result<Value> call_method(Interpreter& in, const Value& self, std::string_view name, const Arguments& arguments);

// Shared by methods and filters of the same meaning.
Result<Value> replace_text(Interpreter& in, const Text& text, const Text& from, const Text& to, std::int64_t max_count);
Result<Value> change_case(Interpreter& in, const Text& text, std::string_view how);
Text trimmed(const Text& text, const Text* characters, bool left, bool right);
// str.splitlines.
Result<std::vector<Text>> split_lines(Interpreter& in, const Text& text, bool keep_ends);
Result<Value> format_percent(Interpreter& in, const Text& format, const Value& arguments);

// The id of a global function, -1 if there is none of that name.
int find_function(std::string_view name);
Result<Value> call_function(Interpreter& in, int id, const Arguments& arguments);

}  // namespace rowmax::engine::jinja
