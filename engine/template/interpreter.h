// Walks a syntax tree under a Meter.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/template/ast.h"
#include "engine/template/builtins.h"
#include "engine/template/printing.h"
#include "rowmax/engine/chat_template.h"
#include "rowmax/result.h"

namespace rowmax::engine::jinja {

struct Scope {
  Scope* parent = nullptr;
  bool captured = false;  // a macro was defined in it: it must live as long as the rendering
  std::vector<std::pair<std::string_view, Value>> variables;  // names live in the syntax tree
};

struct Macro {
  const Node* node;  // kMacro or kCallBlock
  Scope* closure;
};

class Interpreter {
 public:
  Interpreter(const TemplateLimits& limits, std::int64_t now) : meter_(limits), now_(now) {}
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  // Once per interpreter.
  Result<Text> render(const Node& root, const TemplateValue& globals);

  // For the builtins:
  Meter* meter() const { return &meter_; }
  std::int64_t now() const { return now_; }
  int* depth() { return &depth_; }  // of evaluation; for Nested
  Status check_depth() const;
  // The error with the line being evaluated in front.
  Error fail(std::string_view what, ErrorCode code = ErrorCode::kInvalidArgument) const;
  Error undefined_error(const Value& undefined) const;
  Result<Value> string(Text text, bool markup = false);  // charges for its bytes
  Result<Value> str(const Value& value);                 // str(value); strings as they are
  Result<Value> take(Builder* builder, bool markup = false);
  // For a search by name, which compares it with keys that may begin as it does.
  Status charge_find(const DictRep& dict, std::string_view name) const;
  Result<Value> attribute(const Value& object, std::string_view name);
  Result<Value> item(const Value& object, const Value& key);
  // The elements in order: of a list or iterator (a generator only once), a dict's keys, a string's characters,
  // nothing for an undefined value.
  Result<std::vector<Value>> iterate(const Value& value);
  Result<std::size_t> length(const Value& value);
  Result<bool> equal(const Value& a, const Value& b, int depth = 0);
  Result<bool> less(const Value& a, const Value& b, int depth = 0);
  Result<bool> contains(const Value& container, const Value& element);
  Result<Value> call(const Value& callee, Arguments arguments);
  Result<Value> math(std::string_view op, const Value& a, const Value& b);
  Value new_namespace(std::vector<std::pair<std::string, Value>> attributes);

 private:
  enum class Flow { kNext, kBreak, kContinue };
  class LocalScope;

  mutable Meter meter_;  // first: values give their bytes back to it
  std::int64_t now_;
  int line_ = 0;
  int depth_ = 0;
  int calls_ = 0;
  Value globals_;
  std::vector<std::unique_ptr<Namespace>> namespaces_;
  std::vector<std::unique_ptr<Macro>> macros_;
  std::vector<std::unique_ptr<Scope>> scopes_;
  Scope* free_scopes_ = nullptr;  // linked by their parents, so that giving one back takes no memory
  Scope* scope_ = nullptr;
  Builder* out_ = nullptr;

  // interpreter.cc
  Status enter(const Node& node);
  Scope* new_scope(Scope* parent);
  void drop_scope(Scope* scope);
  Status set_variable(std::string_view name, Value value);
  Result<Value> lookup(const std::string& name);
  Status assign(const Node& target, Value value);
  Status assign_attribute(const Node& target, Value value);
  Result<Flow> execute(const Node& node);
  Result<Flow> execute_body(const Node& body);
  Result<Flow> execute_if(const Node& node);
  Result<Flow> execute_for(const Node& node);
  Result<std::vector<Value>> filtered(const Node& node, std::vector<Value> items);
  Status execute_set_block(const Node& node);
  Status execute_call_block(const Node& node);
  Status execute_filter_block(const Node& node);
  Result<Flow> execute_with(const Node& node);
  Result<Value> captured_output(const Node& body, Scope* parent);
  const Macro* new_macro(const Node& node);
  Result<Value> call_macro(const Macro& macro, const Arguments& arguments);
  Status bind_parameters(const Macro& macro, const Arguments& arguments);

  // expressions.cc
  Result<Value> evaluate(const Node& node);
  Result<Value> evaluate_inner(const Node& node);
  Result<Value> evaluate_items(const Node& node);
  Result<Value> evaluate_dict(const Node& node);
  Result<Value> evaluate_getitem(const Node& node);
  Result<Value> evaluate_call(const Node& node);
  Result<Value> evaluate_filter(const Node& node, const Value* block);
  Result<Value> evaluate_test(const Node& node);
  Result<Value> evaluate_sign(const Node& node);
  Result<Value> evaluate_math(const Node& node);
  Result<Value> evaluate_concat(const Node& node);
  Result<Value> evaluate_compare(const Node& node);
  Result<Value> evaluate_logic(const Node& node);
  Result<Value> evaluate_cond(const Node& node);
  Result<Arguments> evaluate_arguments(const Node& node);
  Result<bool> compare(std::string_view op, const Value& a, const Value& b);
  Result<Value> slice(const Value& object, const Node& bounds);
  Result<Value> loop_attribute(const Value& loop, std::string_view name);
  Result<Value> integer_math(std::string_view op, std::int64_t a, std::int64_t b);
  Result<Value> float_math(std::string_view op, double a, double b);
  Result<Value> add(const Value& a, const Value& b);
  Result<Value> repeat(const Value& sequence, std::int64_t n);
};

}  // namespace rowmax::engine::jinja
