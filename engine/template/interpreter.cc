#include "engine/template/interpreter.h"

#include <algorithm>
#include <utility>

#include "engine/template/nested.h"
#include "rowmax/try.h"

namespace rowmax::engine::jinja {

// Evaluation nests at most this many times max_depth, over all macro calls together.
constexpr int kRuntimeDepthFactor = 5;

class Interpreter::LocalScope {
 public:
  LocalScope(Interpreter* in, Scope* parent) : in_(in), outer_(in->scope_), scope_(in->new_scope(parent)) {
    in_->scope_ = scope_;
  }
  ~LocalScope() {
    in_->scope_ = outer_;
    in_->drop_scope(scope_);
  }
  LocalScope(const LocalScope&) = delete;
  LocalScope& operator=(const LocalScope&) = delete;

 private:
  Interpreter* in_;
  Scope* outer_;
  Scope* scope_;
};

Error Interpreter::fail(std::string_view what, ErrorCode code) const {
  return Error{code, "chat template, line " + std::to_string(line_) + ": " + std::string(what)};
}

Error Interpreter::undefined_error(const Value& undefined) const {
  const std::string name = undefined.rep == nullptr ? "" : undefined.text().bytes;
  return fail("'" + name + "' is undefined");
}

Result<Text> Interpreter::render(const Node& root, const TemplateValue& globals) {
  if (globals.kind != TemplateValue::Kind::kDict) {
    return Error{ErrorCode::kInvalidArgument, "the globals of a chat template must be a dict"};
  }
  std::vector<std::pair<Value, Value>> items;
  for (const auto& [name, value] : globals.dict) {
    ROWMAX_TRY(imported, import_value(value, !std::string_view(name).ends_with("_token"), &meter_));
    items.emplace_back(make_string(Text(name, false), &meter_), std::move(imported));
  }
  ROWMAX_TRY(dict, make_dict(std::move(items), &meter_));
  globals_ = std::move(dict);
  Builder out(&meter_);
  out_ = &out;
  scope_ = new_scope(nullptr);
  ROWMAX_TRY(flow, execute_body(root));
  static_cast<void>(flow);
  return out.take();
}

Status Interpreter::enter(const Node& node) {
  line_ = node.line;
  ROWMAX_RETURN_IF_ERROR(meter_.charge(1));
  ROWMAX_RETURN_IF_ERROR(meter_.check_alive());
  return check_depth();
}

Status Interpreter::check_depth() const {
  if (depth_ <= kRuntimeDepthFactor * meter_.limits().max_depth) return {};
  return fail("evaluation nests deeper than " + std::to_string(kRuntimeDepthFactor) + " x max_depth",
              ErrorCode::kLimit);
}

// Scopes -------------------------------------------------------------------------------------------------------------

constexpr std::size_t kScopeBytes = 128;

Scope* Interpreter::new_scope(Scope* parent) {
  meter_.took(kScopeBytes);
  Scope* scope = free_scopes_;
  if (scope != nullptr) {
    free_scopes_ = scope->parent;
  } else {
    scopes_.push_back(std::make_unique<Scope>());
    scope = scopes_.back().get();
  }
  scope->parent = parent;
  scope->captured = false;
  return scope;
}

void Interpreter::drop_scope(Scope* scope) {
  if (scope->captured) return;
  meter_.gave_back(kScopeBytes);
  scope->variables.clear();
  scope->parent = std::exchange(free_scopes_, scope);
}

Status Interpreter::set_variable(std::string_view name, Value value) {
  ROWMAX_RETURN_IF_ERROR(meter_.charge_items(scope_->variables.size()));
  ROWMAX_RETURN_IF_ERROR(meter_.charge_more(name.size()));
  for (auto& [known, old] : scope_->variables) {
    if (known == name) {
      old = std::move(value);
      return {};
    }
  }
  scope_->variables.emplace_back(name, std::move(value));
  return {};
}

Result<Value> Interpreter::lookup(const std::string& name) {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    ROWMAX_RETURN_IF_ERROR(meter_.charge(static_cast<std::int64_t>(scope->variables.size() >> 3)));
    ROWMAX_RETURN_IF_ERROR(meter_.charge_more(name.size()));
    for (const auto& [known, value] : scope->variables) {
      if (known == name) return value;
    }
  }
  ROWMAX_RETURN_IF_ERROR(charge_find(globals_.dict(), name));
  if (const Value* value = globals_.dict().find(name)) return *value;
  if (const int id = find_function(name); id >= 0) {
    Value function;
    function.kind = ValueKind::kBuiltin;
    function.integer = id;
    return function;
  }
  for (const std::string_view refused : {"cycler", "joiner", "lipsum", "self"}) {
    if (name == refused) return fail("'" + name + "' is not supported", ErrorCode::kUnsupported);
  }
  return make_undefined(name, &meter_);
}

Status Interpreter::assign(const Node& target, Value value) {
  if (target.kind == NodeKind::kName) return set_variable(target.name, std::move(value));
  if (target.kind == NodeKind::kNamespaceAttribute) return assign_attribute(target, std::move(value));
  ROWMAX_TRY(items, iterate(value));
  if (items.size() != target.children.size()) {
    return fail("cannot unpack " + std::to_string(items.size()) + " values into " +
                std::to_string(target.children.size()) + " names");
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    ROWMAX_RETURN_IF_ERROR(assign(*target.children[i], std::move(items[i])));
  }
  return {};
}

Status Interpreter::assign_attribute(const Node& target, Value value) {
  ROWMAX_TRY(object, lookup(target.name));
  if (!object.is(ValueKind::kNamespace)) return fail("cannot assign an attribute on a value that is no namespace");
  auto& attributes = object.space->attributes;
  ROWMAX_RETURN_IF_ERROR(meter_.charge_items(attributes.size()));
  ROWMAX_RETURN_IF_ERROR(meter_.charge_more(target.names[0].size()));
  for (auto& [name, old] : attributes) {
    if (name == target.names[0]) {
      old = std::move(value);
      return {};
    }
  }
  meter_.took(64 + target.names[0].size());
  attributes.emplace_back(target.names[0], std::move(value));
  return {};
}

Value Interpreter::new_namespace(std::vector<std::pair<std::string, Value>> attributes) {
  meter_.took(64 + 64 * attributes.size());
  namespaces_.push_back(std::make_unique<Namespace>());
  namespaces_.back()->attributes = std::move(attributes);
  Value value;
  value.kind = ValueKind::kNamespace;
  value.space = namespaces_.back().get();
  return value;
}

// Statements ---------------------------------------------------------------------------------------------------------

Result<Interpreter::Flow> Interpreter::execute_body(const Node& body) {
  const Nested nested(&depth_);
  ROWMAX_RETURN_IF_ERROR(enter(body));
  for (const NodePtr& child : body.children) {
    ROWMAX_TRY(flow, execute(*child));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Result<Interpreter::Flow> Interpreter::execute(const Node& node) {
  ROWMAX_RETURN_IF_ERROR(enter(node));
  switch (node.kind) {
    case NodeKind::kData: {
      ROWMAX_RETURN_IF_ERROR(meter_.charge_bytes(node.value.view().size()));
      out_->add(node.value.text());
      break;
    }
    case NodeKind::kOutput: {
      ROWMAX_TRY(value, evaluate(*node.children[0]));
      if (value.is(ValueKind::kString)) ROWMAX_RETURN_IF_ERROR(meter_.charge_bytes(value.view().size()));
      ROWMAX_RETURN_IF_ERROR(print_str(*this, value, out_));
      break;
    }
    case NodeKind::kIf: return execute_if(node);
    case NodeKind::kFor: return execute_for(node);
    case NodeKind::kSet: {
      ROWMAX_TRY(value, evaluate(*node.children[1]));
      ROWMAX_RETURN_IF_ERROR(assign(*node.children[0], std::move(value)));
      break;
    }
    case NodeKind::kSetBlock: ROWMAX_RETURN_IF_ERROR(execute_set_block(node)); break;
    case NodeKind::kMacro: {
      Value value;
      value.kind = ValueKind::kMacro;
      value.macro = new_macro(node);
      ROWMAX_RETURN_IF_ERROR(set_variable(node.name, std::move(value)));
      break;
    }
    case NodeKind::kCallBlock: ROWMAX_RETURN_IF_ERROR(execute_call_block(node)); break;
    case NodeKind::kFilterBlock: ROWMAX_RETURN_IF_ERROR(execute_filter_block(node)); break;
    case NodeKind::kWith: return execute_with(node);
    case NodeKind::kScope: {
      const LocalScope local(this, scope_);
      return execute_body(*node.children[0]);
    }
    case NodeKind::kBreak: return Flow::kBreak;
    case NodeKind::kContinue: return Flow::kContinue;
    default: return fail("unexpected statement");
  }
  if (out_->full()) {
    ROWMAX_TRY(text, out_->take());
    static_cast<void>(text);
  }
  return Flow::kNext;
}

Result<Interpreter::Flow> Interpreter::execute_if(const Node& node) {
  std::size_t i = 0;
  for (; i + 1 < node.children.size(); i += 2) {
    ROWMAX_TRY(condition, evaluate(*node.children[i]));
    if (truthy(condition)) return execute_body(*node.children[i + 1]);
  }
  return i < node.children.size() ? execute_body(*node.children[i]) : Flow::kNext;
}

// for x in items if condition: the items that pass, each judged in a scope of its own.
Result<std::vector<Value>> Interpreter::filtered(const Node& node, std::vector<Value> items) {
  if (node.children[2] == nullptr) return items;
  std::vector<Value> passed;
  for (Value& item : items) {
    const LocalScope local(this, scope_);
    ROWMAX_RETURN_IF_ERROR(assign(*node.children[0], item));
    ROWMAX_TRY(condition, evaluate(*node.children[2]));
    if (truthy(condition)) passed.push_back(std::move(item));
  }
  return passed;
}

Result<Interpreter::Flow> Interpreter::execute_for(const Node& node) {
  ROWMAX_TRY(sequence, evaluate(*node.children[1]));
  ROWMAX_TRY(all, iterate(sequence));
  ROWMAX_TRY(items, filtered(node, std::move(all)));
  if (items.empty()) {
    if (node.children[4] == nullptr) return Flow::kNext;
    const LocalScope local(this, scope_);
    return execute_body(*node.children[4]);
  }
  auto loop = std::make_shared<LoopRep>();
  ROWMAX_TRY(list, make_list(std::move(items), &meter_));
  loop->depth = 1 + value_depth(list);
  loop->sequence = std::move(list);
  const std::size_t n = loop->sequence.items().size();
  for (loop->index = 0; loop->index < n; ++loop->index) {
    const LocalScope local(this, scope_);
    ROWMAX_RETURN_IF_ERROR(set_variable("loop", Value::of_rep(ValueKind::kLoop, loop)));
    ROWMAX_RETURN_IF_ERROR(assign(*node.children[0], loop->sequence.items()[loop->index]));
    ROWMAX_TRY(flow, execute_body(*node.children[3]));
    if (flow == Flow::kBreak) break;
  }
  return Flow::kNext;
}

Result<Value> Interpreter::captured_output(const Node& body, Scope* parent) {
  Builder inner(&meter_);
  Builder* outer = out_;
  out_ = &inner;
  Result<Flow> flow = Flow::kNext;
  {
    const LocalScope local(this, parent);
    flow = execute_body(body);
  }
  out_ = outer;
  if (!flow.ok()) return std::move(flow).error();
  return take(&inner);
}

Status Interpreter::execute_set_block(const Node& node) {
  ROWMAX_TRY(text, captured_output(*node.children[2], scope_));
  if (node.children[1] == nullptr) return assign(*node.children[0], std::move(text));
  ROWMAX_TRY(value, evaluate_filter(*node.children[1], &text));
  return assign(*node.children[0], std::move(value));
}

Status Interpreter::execute_filter_block(const Node& node) {
  ROWMAX_TRY(text, captured_output(*node.children[1], scope_));
  ROWMAX_TRY(value, evaluate_filter(*node.children[0], &text));
  return print_str(*this, value, out_);
}

Status Interpreter::execute_call_block(const Node& node) {
  const Node& call_node = *node.children.back();
  ROWMAX_TRY(callee, evaluate(*call_node.children[0]));
  ROWMAX_TRY(arguments, evaluate_arguments(call_node));
  Value caller;
  caller.kind = ValueKind::kMacro;
  caller.macro = new_macro(node);
  arguments.named.emplace_back("caller", std::move(caller));
  ROWMAX_TRY(value, call(callee, std::move(arguments)));
  return print_str(*this, value, out_);
}

Result<Interpreter::Flow> Interpreter::execute_with(const Node& node) {
  std::vector<Value> values;
  for (std::size_t i = 2; i < node.children.size(); i += 2) {
    ROWMAX_TRY(value, evaluate(*node.children[i]));
    values.push_back(std::move(value));
  }
  const LocalScope local(this, scope_);
  for (std::size_t i = 0; i < values.size(); ++i) {
    ROWMAX_RETURN_IF_ERROR(assign(*node.children[2 * i + 1], std::move(values[i])));
  }
  return execute_body(*node.children[0]);
}

// Macros -------------------------------------------------------------------------------------------------------------

const Macro* Interpreter::new_macro(const Node& node) {
  for (Scope* scope = scope_; scope != nullptr && !scope->captured; scope = scope->parent) scope->captured = true;
  meter_.took(sizeof(Macro) + 16);
  macros_.push_back(std::make_unique<Macro>(Macro{&node, scope_}));
  return macros_.back().get();
}

Status Interpreter::bind_parameters(const Macro& macro, const Arguments& arguments) {
  const Node& node = *macro.node;
  const std::size_t n_defaults = node.children.size() - (node.kind == NodeKind::kCallBlock ? 2 : 1);
  const std::size_t n = node.names.size();
  if (arguments.positional.size() > n) {
    return fail("macro '" + node.name + "' takes not more than " + std::to_string(n) + " arguments");
  }
  std::size_t n_used = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const Value* given = i < arguments.positional.size() ? &arguments.positional[i] : nullptr;
    for (const auto& [name, value] : arguments.named) {
      if (name != node.names[i]) continue;
      if (given != nullptr) return fail("macro '" + node.name + "' got the argument '" + name + "' twice");
      given = &value;
      ++n_used;
    }
    if (given != nullptr) {
      ROWMAX_RETURN_IF_ERROR(set_variable(node.names[i], *given));
    } else if (i >= n - n_defaults) {
      ROWMAX_TRY(value, evaluate(*node.children[1 + i - (n - n_defaults)]));
      ROWMAX_RETURN_IF_ERROR(set_variable(node.names[i], std::move(value)));
    } else {
      ROWMAX_RETURN_IF_ERROR(set_variable(node.names[i], make_undefined(node.names[i], &meter_)));
    }
  }
  Value caller = make_undefined("caller", &meter_);
  for (const auto& [name, value] : arguments.named) {
    const bool is_parameter = std::find(node.names.begin(), node.names.end(), name) != node.names.end();
    if (name == "caller" && !is_parameter) {
      caller = value;
      ++n_used;
    }
  }
  if (n_used != arguments.named.size()) return fail("macro '" + node.name + "' got an unknown argument");
  if (node.kind == NodeKind::kMacro) ROWMAX_RETURN_IF_ERROR(set_variable("caller", std::move(caller)));
  return {};
}

Result<Value> Interpreter::call_macro(const Macro& macro, const Arguments& arguments) {
  const Nested nested(&depth_);
  const Nested called(&calls_);
  if (calls_ > meter_.limits().max_depth) {
    return fail("macro calls nest deeper than max_depth = " + std::to_string(meter_.limits().max_depth),
                ErrorCode::kLimit);
  }
  const LocalScope local(this, macro.closure);
  ROWMAX_RETURN_IF_ERROR(bind_parameters(macro, arguments));
  const int line = line_;
  ROWMAX_TRY(text, captured_output(*macro.node->children[0], scope_));
  line_ = line;
  return text;
}

}  // namespace rowmax::engine::jinja
