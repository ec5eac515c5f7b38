#include "engine/template/parser.h"

#include <algorithm>
#include <initializer_list>

#include "engine/template/builtins.h"
#include "engine/template/lexer.h"
#include "engine/template/nested.h"
#include "rowmax/try.h"

namespace rowmax::engine::jinja {
namespace {

// Binding strength of binary operators, weakest first.
enum Level : int { kOrLevel = 1, kAndLevel, kNotLevel, kCompareLevel, kAddLevel, kConcatLevel, kMulLevel, kPowLevel };

class Parser {
 public:
  Parser(std::vector<Token> tokens, const TemplateLimits& limits) : tokens_(std::move(tokens)), limits_(limits) {}

  Result<NodePtr> run() {
    ROWMAX_TRY(body, statements({}));
    return body;
  }

 private:
  std::vector<Token> tokens_;
  const TemplateLimits limits_;
  std::size_t at_ = 0;
  int depth_ = 0;
  int branches_ = 0;  // inside an if: jinja2 reports unknown filters and tests there only when they are reached
  int loops_ = 0;

  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  void next() {
    if (at_ + 1 < tokens_.size()) ++at_;
  }
  bool is_op(std::string_view op) const { return now().kind == TokenKind::kOperator && now().text == op; }
  bool is_word(std::string_view word) const { return now().kind == TokenKind::kName && now().text == word; }
  bool skip_op(std::string_view op) {
    if (!is_op(op)) return false;
    next();
    return true;
  }
  bool skip_word(std::string_view word) {
    if (!is_word(word)) return false;
    next();
    return true;
  }
  Error fail(std::string_view what, ErrorCode code = ErrorCode::kCorrupt) const {
    return source_error(code, now().line, now().column, what);
  }
  Status expect_op(std::string_view op) {
    if (skip_op(op)) return {};
    return fail("expected '" + std::string(op) + "'");
  }
  Status expect_end(TokenKind kind) {
    if (now().kind != kind) return fail(kind == TokenKind::kBlockEnd ? "expected '%}'" : "expected '}}'");
    next();
    return {};
  }
  Result<std::string> expect_name() {
    if (now().kind != TokenKind::kName) return fail("expected a name");
    std::string name = now().text;
    next();
    return name;
  }
  Status check_depth() const {
    if (depth_ <= limits_.max_depth) return {};
    return fail("nesting deeper than max_depth = " + std::to_string(limits_.max_depth), ErrorCode::kLimit);
  }

  NodePtr make(NodeKind kind, int line = 0) const {
    auto node = std::make_unique<Node>();
    node->kind = kind;
    node->line = line != 0 ? line : now().line;
    return node;
  }
  Status adopt(Node* parent, NodePtr child) {
    if (child != nullptr) parent->depth = std::max(parent->depth, child->depth + 1);
    parent->children.push_back(std::move(child));
    if (parent->depth <= limits_.max_depth) return {};
    return fail("nesting deeper than max_depth = " + std::to_string(limits_.max_depth), ErrorCode::kLimit);
  }
  NodePtr constant(Value value) const {
    NodePtr node = make(NodeKind::kConst);
    node->value = std::move(value);
    return node;
  }

  // Statements -------------------------------------------------------------------------------------------------------

  // Up to a tag named in `ends`, whose name is left as the current token; without ends to the end of the source.
  Result<NodePtr> statements(std::initializer_list<std::string_view> ends) {
    const Nested nested(&depth_);
    ROWMAX_RETURN_IF_ERROR(check_depth());
    NodePtr body = make(NodeKind::kBody);
    for (;;) {
      switch (now().kind) {
        case TokenKind::kEnd:
          if (ends.size() == 0) return body;
          return fail("the template ends inside a block; expected '" + std::string(*(ends.end() - 1)) + "'");
        case TokenKind::kData: {
          NodePtr data = make(NodeKind::kData);
          data->value = make_string(Text(now().text, false), nullptr);
          next();
          ROWMAX_RETURN_IF_ERROR(adopt(body.get(), std::move(data)));
          break;
        }
        case TokenKind::kVariableBegin: {
          next();
          NodePtr output = make(NodeKind::kOutput);
          ROWMAX_TRY(value, tuple({}, true));
          ROWMAX_RETURN_IF_ERROR(expect_end(TokenKind::kVariableEnd));
          ROWMAX_RETURN_IF_ERROR(adopt(output.get(), std::move(value)));
          ROWMAX_RETURN_IF_ERROR(adopt(body.get(), std::move(output)));
          break;
        }
        case TokenKind::kBlockBegin: {
          next();
          for (const std::string_view end : ends) {
            if (is_word(end)) return body;
          }
          ROWMAX_TRY(node, statement());
          ROWMAX_RETURN_IF_ERROR(expect_end(TokenKind::kBlockEnd));
          ROWMAX_RETURN_IF_ERROR(adopt(body.get(), std::move(node)));
          break;
        }
        default: return fail("unexpected token");
      }
    }
  }

  // The rest of an opening tag, the body, and the name of the tag that ends it.
  Result<NodePtr> block(std::initializer_list<std::string_view> ends) {
    skip_op(":");
    ROWMAX_RETURN_IF_ERROR(expect_end(TokenKind::kBlockEnd));
    return statements(ends);
  }
  Result<NodePtr> whole_block(std::string_view end) {
    ROWMAX_TRY(body, block({end}));
    next();
    return body;
  }

  Result<NodePtr> statement() {
    if (now().kind != TokenKind::kName) return fail("expected the name of a tag");
    const std::string tag = now().text;
    const int line = now().line;
    if (tag == "if") return if_statement(line);
    if (tag == "for") return for_statement(line);
    if (tag == "set") return set_statement(line);
    if (tag == "macro") return macro_statement(line);
    if (tag == "call") return call_statement(line);
    if (tag == "filter") return filter_statement(line);
    if (tag == "with") return with_statement(line);
    if (tag == "generation") {  // marks the assistant's text for training; no effect on rendering
      next();
      NodePtr node = make(NodeKind::kScope, line);
      ROWMAX_TRY(body, whole_block("endgeneration"));
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(body)));
      return node;
    }
    if (tag == "break" || tag == "continue") {
      if (loops_ == 0) return fail("'" + tag + "' outside a loop");
      next();
      return make(tag == "break" ? NodeKind::kBreak : NodeKind::kContinue, line);
    }
    for (const std::string_view refused :
         {"include", "import", "from", "extends", "block", "autoescape", "do", "trans", "debug", "print"}) {
      if (tag == refused) return fail("the tag '" + tag + "' is not supported", ErrorCode::kUnsupported);
    }
    return fail("unknown tag '" + tag.substr(0, 50) + "'");
  }

  Result<NodePtr> if_statement(int line) {
    NodePtr node = make(NodeKind::kIf, line);
    ++branches_;
    for (;;) {
      next();  // if or elif
      ROWMAX_TRY(condition, tuple({}, false));
      ROWMAX_TRY(body, block({"elif", "else", "endif"}));
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(condition)));
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(body)));
      if (!is_word("elif")) break;
    }
    if (is_word("else")) {
      next();
      ROWMAX_TRY(body, block({"endif"}));
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(body)));
    }
    next();
    --branches_;
    return node;
  }

  Result<NodePtr> for_statement(int line) {
    next();
    NodePtr node = make(NodeKind::kFor, line);
    ROWMAX_TRY(variable, target({"in"}, false));
    if (!skip_word("in")) return fail("expected 'in'");
    ROWMAX_TRY(sequence, tuple({"recursive"}, false));
    NodePtr condition;
    if (skip_word("if")) {
      ROWMAX_TRY(test, expression());
      condition = std::move(test);
    }
    if (is_word("recursive")) return fail("recursive loops are not supported", ErrorCode::kUnsupported);
    ++loops_;
    ROWMAX_TRY(body, block({"else", "endfor"}));
    --loops_;
    NodePtr otherwise;
    if (is_word("else")) {
      next();
      ROWMAX_TRY(other, block({"endfor"}));
      otherwise = std::move(other);
    }
    next();
    for (NodePtr* child : {&variable, &sequence, &condition, &body, &otherwise}) {
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(*child)));
    }
    return node;
  }

  Result<NodePtr> set_statement(int line) {
    next();
    ROWMAX_TRY(variable, target({}, true));
    if (skip_op("=")) {
      NodePtr node = make(NodeKind::kSet, line);
      ROWMAX_TRY(value, tuple({}, true));
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(variable)));
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(value)));
      return node;
    }
    NodePtr node = make(NodeKind::kSetBlock, line);
    NodePtr chain;
    if (is_op("|")) {
      ROWMAX_TRY(filters, filter_chain(nullptr));
      chain = std::move(filters);
    }
    ROWMAX_TRY(body, whole_block("endset"));
    for (NodePtr* child : {&variable, &chain, &body}) {
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(*child)));
    }
    return node;
  }

  // (a, b=1): parameters into names, defaults into children.
  Status signature(Node* node) {
    ROWMAX_RETURN_IF_ERROR(expect_op("("));
    bool has_default = false;
    while (!is_op(")")) {
      if (!node->names.empty()) ROWMAX_RETURN_IF_ERROR(expect_op(","));
      if (is_op(")")) break;
      ROWMAX_TRY(name, expect_name());
      if (std::find(node->names.begin(), node->names.end(), name) != node->names.end()) {
        return fail("a parameter is named twice");
      }
      node->names.push_back(std::move(name));
      if (skip_op("=")) {
        ROWMAX_TRY(value, expression());
        ROWMAX_RETURN_IF_ERROR(adopt(node, std::move(value)));
        has_default = true;
      } else if (has_default) {
        return fail("a parameter without a default follows one with a default");
      }
    }
    return expect_op(")");
  }

  Result<NodePtr> macro_statement(int line) {
    next();
    NodePtr node = make(NodeKind::kMacro, line);
    ROWMAX_TRY(name, expect_name());
    node->name = std::move(name);
    ROWMAX_RETURN_IF_ERROR(adopt(node.get(), nullptr));
    ROWMAX_RETURN_IF_ERROR(signature(node.get()));
    const int loops = loops_;
    loops_ = 0;
    ROWMAX_TRY(body, whole_block("endmacro"));
    loops_ = loops;
    node->depth = std::max(node->depth, body->depth + 1);
    node->children[0] = std::move(body);
    ROWMAX_RETURN_IF_ERROR(check_node(*node));
    return node;
  }

  Result<NodePtr> call_statement(int line) {
    next();
    NodePtr node = make(NodeKind::kCallBlock, line);
    node->name = "caller";
    ROWMAX_RETURN_IF_ERROR(adopt(node.get(), nullptr));
    if (is_op("(")) ROWMAX_RETURN_IF_ERROR(signature(node.get()));
    ROWMAX_TRY(call, expression());
    if (call->kind != NodeKind::kCall) return fail("expected a call");
    const int loops = loops_;
    loops_ = 0;
    ROWMAX_TRY(body, whole_block("endcall"));
    loops_ = loops;
    node->depth = std::max(node->depth, body->depth + 1);
    node->children[0] = std::move(body);
    ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(call)));
    return node;
  }

  Status check_node(const Node& node) const {
    if (node.depth <= limits_.max_depth) return {};
    return fail("nesting deeper than max_depth = " + std::to_string(limits_.max_depth), ErrorCode::kLimit);
  }

  Result<NodePtr> filter_statement(int line) {
    next();
    NodePtr node = make(NodeKind::kFilterBlock, line);
    ROWMAX_TRY(first, filter_call(nullptr));
    ROWMAX_TRY(chain, filter_chain(std::move(first)));
    ROWMAX_TRY(body, whole_block("endfilter"));
    ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(chain)));
    ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(body)));
    return node;
  }

  Result<NodePtr> with_statement(int line) {
    next();
    NodePtr node = make(NodeKind::kWith, line);
    ROWMAX_RETURN_IF_ERROR(adopt(node.get(), nullptr));
    while (now().kind != TokenKind::kBlockEnd) {
      if (node->children.size() > 1) ROWMAX_RETURN_IF_ERROR(expect_op(","));
      ROWMAX_TRY(variable, primary(false));
      ROWMAX_RETURN_IF_ERROR(check_target(*variable));
      ROWMAX_RETURN_IF_ERROR(expect_op("="));
      ROWMAX_TRY(value, expression());
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(variable)));
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(value)));
    }
    ROWMAX_TRY(body, whole_block("endwith"));
    node->depth = std::max(node->depth, body->depth + 1);
    node->children[0] = std::move(body);
    ROWMAX_RETURN_IF_ERROR(check_node(*node));
    return node;
  }

  // Assignment targets -----------------------------------------------------------------------------------------------

  Status check_target(const Node& node) const {
    if (node.kind == NodeKind::kName || node.kind == NodeKind::kNamespaceAttribute) return {};
    if (node.kind != NodeKind::kTuple || node.children.empty()) return fail("cannot assign to this expression");
    for (const NodePtr& child : node.children) ROWMAX_RETURN_IF_ERROR(check_target(*child));
    return {};
  }

  Result<NodePtr> target(std::initializer_list<std::string_view> ends, bool with_namespace) {
    ROWMAX_TRY(node, tuple(ends, false, true, with_namespace));
    ROWMAX_RETURN_IF_ERROR(check_target(*node));
    return node;
  }

  // Expressions ------------------------------------------------------------------------------------------------------

  bool at_tuple_end(std::initializer_list<std::string_view> ends) const {
    if (now().kind == TokenKind::kVariableEnd || now().kind == TokenKind::kBlockEnd || is_op(")")) return true;
    return std::any_of(ends.begin(), ends.end(), [this](std::string_view end) { return is_word(end); });
  }

  Result<NodePtr> tuple(std::initializer_list<std::string_view> ends, bool with_condition, bool primaries_only = false,
                        bool with_namespace = false, bool in_parentheses = false) {
    NodePtr list = make(NodeKind::kTuple);
    bool is_tuple = false;
    for (;;) {
      if (!list->children.empty()) ROWMAX_RETURN_IF_ERROR(expect_op(","));
      if (at_tuple_end(ends)) break;
      ROWMAX_TRY(item, primaries_only ? primary(with_namespace) : with_condition ? expression() : binary(kOrLevel));
      if (is_op(",")) is_tuple = true;
      if (!is_tuple) return item;
      ROWMAX_RETURN_IF_ERROR(adopt(list.get(), std::move(item)));
      if (!is_op(",")) break;
    }
    if (list->children.empty() && !in_parentheses) return fail("expected an expression");
    return list;
  }

  Result<NodePtr> expression() {
    const Nested nested(&depth_);
    ROWMAX_RETURN_IF_ERROR(check_depth());
    ROWMAX_TRY(value, binary(kOrLevel));
    while (is_word("if")) {
      NodePtr node = make(NodeKind::kCond);
      next();
      ROWMAX_TRY(condition, binary(kOrLevel));
      NodePtr otherwise;
      if (skip_word("else")) {
        ROWMAX_TRY(other, expression());
        otherwise = std::move(other);
      }
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(condition)));
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(value)));
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(otherwise)));
      value = std::move(node);
    }
    return value;
  }

  // The binary operator at the current token; level 0 if there is none.
  int operator_level(std::string* op) const {
    *op = now().text;
    if (now().kind == TokenKind::kName) {
      if (*op == "or") return kOrLevel;
      if (*op == "and") return kAndLevel;
      if (*op == "in") return kCompareLevel;
      if (*op == "not" && ahead().kind == TokenKind::kName && ahead().text == "in") {
        *op = "not in";
        return kCompareLevel;
      }
      return 0;
    }
    if (now().kind != TokenKind::kOperator) return 0;
    for (const std::string_view compare : {"==", "!=", "<", "<=", ">", ">="}) {
      if (*op == compare) return kCompareLevel;
    }
    if (*op == "+" || *op == "-") return kAddLevel;
    if (*op == "~") return kConcatLevel;
    if (*op == "*" || *op == "/" || *op == "//" || *op == "%") return kMulLevel;
    return *op == "**" ? kPowLevel : 0;
  }

  static NodeKind chain_kind(int level) {
    switch (level) {
      case kOrLevel: return NodeKind::kOr;
      case kAndLevel: return NodeKind::kAnd;
      case kCompareLevel: return NodeKind::kCompare;
      case kConcatLevel: return NodeKind::kConcat;
      default: return NodeKind::kMath;
    }
  }

  // Operators at least as strong as `level`. Equal ones make one flat node, so that a long sum is not a deep tree.
  Result<NodePtr> binary(int level) {
    const Nested nested(&depth_);
    ROWMAX_RETURN_IF_ERROR(check_depth());
    NodePtr left;
    if (is_word("not")) {
      if (level > kNotLevel) return fail("unexpected 'not'");
      left = make(NodeKind::kNot);
      next();
      ROWMAX_TRY(operand, binary(kNotLevel));
      ROWMAX_RETURN_IF_ERROR(adopt(left.get(), std::move(operand)));
    } else {
      ROWMAX_TRY(operand, unary(true));
      left = std::move(operand);
    }
    std::string op;
    for (int found = operator_level(&op); found >= level && found > 0; found = operator_level(&op)) {
      NodePtr chain = make(chain_kind(found));
      ROWMAX_RETURN_IF_ERROR(adopt(chain.get(), std::move(left)));
      do {
        if (op == "not in") next();
        next();
        chain->names.push_back(op);
        ROWMAX_TRY(right, binary(found + 1));
        ROWMAX_RETURN_IF_ERROR(adopt(chain.get(), std::move(right)));
      } while (operator_level(&op) == found);
      left = std::move(chain);
    }
    return left;
  }

  Result<NodePtr> unary(bool with_filters) {
    const Nested nested(&depth_);
    ROWMAX_RETURN_IF_ERROR(check_depth());
    NodePtr node;
    if (is_op("-") || is_op("+")) {
      node = make(is_op("-") ? NodeKind::kNegate : NodeKind::kPlus);
      next();
      ROWMAX_TRY(operand, unary(false));
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(operand)));
    } else {
      ROWMAX_TRY(operand, primary(false));
      node = std::move(operand);
    }
    ROWMAX_TRY(result, postfix(std::move(node)));
    node = std::move(result);
    while (with_filters) {
      if (is_op("|")) {
        ROWMAX_TRY(filtered, filter_chain(std::move(node)));
        node = std::move(filtered);
      } else if (is_word("is")) {
        ROWMAX_TRY(tested, test(std::move(node)));
        node = std::move(tested);
      } else if (is_op("(")) {
        ROWMAX_TRY(called, call(std::move(node)));
        node = std::move(called);
      } else {
        break;
      }
    }
    return node;
  }

  Result<NodePtr> primary(bool with_namespace) {
    const Token& token = now();
    switch (token.kind) {
      case TokenKind::kName: return name(with_namespace);
      case TokenKind::kString: {
        std::string text;
        for (; now().kind == TokenKind::kString; next()) text += now().text;
        return constant(make_string(Text(text, false), nullptr));
      }
      case TokenKind::kInteger: {
        NodePtr node = constant(Value::of_int(token.integer));
        next();
        return node;
      }
      case TokenKind::kFloat: {
        NodePtr node = constant(Value::of_float(token.number));
        next();
        return node;
      }
      default: break;
    }
    if (is_op("(")) {
      const Nested nested(&depth_);
      ROWMAX_RETURN_IF_ERROR(check_depth());
      next();
      ROWMAX_TRY(node, tuple({}, true, false, false, true));
      ROWMAX_RETURN_IF_ERROR(expect_op(")"));
      return node;
    }
    if (is_op("[")) return bracketed(NodeKind::kList, "]");
    if (is_op("{")) return bracketed(NodeKind::kDict, "}");
    return fail("expected an expression");
  }

  Result<NodePtr> name(bool with_namespace) {
    const std::string word = now().text;
    for (const std::string_view reserved : {"and", "or", "not", "if", "else", "elif", "in", "is"}) {
      if (word == reserved) return fail("unexpected '" + word + "'");
    }
    NodePtr node = make(NodeKind::kName);
    next();
    if (word == "true" || word == "True") return constant(Value::of_bool(true));
    if (word == "false" || word == "False") return constant(Value::of_bool(false));
    if (word == "none" || word == "None") return constant(Value::none());
    node->name = word;
    if (with_namespace && skip_op(".")) {
      node->kind = NodeKind::kNamespaceAttribute;
      ROWMAX_TRY(attribute, expect_name());
      node->names.push_back(std::move(attribute));
    }
    return node;
  }

  Result<NodePtr> bracketed(NodeKind kind, std::string_view end) {
    NodePtr node = make(kind);
    next();
    while (!is_op(end)) {
      if (!node->children.empty()) ROWMAX_RETURN_IF_ERROR(expect_op(","));
      if (is_op(end)) break;
      ROWMAX_TRY(item, expression());
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(item)));
      if (kind != NodeKind::kDict) continue;
      ROWMAX_RETURN_IF_ERROR(expect_op(":"));
      ROWMAX_TRY(value, expression());
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(value)));
    }
    next();
    return node;
  }

  Result<NodePtr> postfix(NodePtr node) {
    for (;;) {
      if (is_op(".")) {
        ROWMAX_TRY(result, attribute(std::move(node)));
        node = std::move(result);
      } else if (is_op("[")) {
        ROWMAX_TRY(result, subscript(std::move(node)));
        node = std::move(result);
      } else if (is_op("(")) {
        ROWMAX_TRY(result, call(std::move(node)));
        node = std::move(result);
      } else {
        return node;
      }
    }
  }

  Result<NodePtr> attribute(NodePtr object) {
    next();
    if (now().kind == TokenKind::kInteger) {
      NodePtr node = make(NodeKind::kGetitem);
      NodePtr index = constant(Value::of_int(now().integer));
      next();
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(object)));
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(index)));
      return node;
    }
    NodePtr node = make(NodeKind::kGetattr);
    if (now().kind == TokenKind::kName && now().text.starts_with("__")) {
      return fail("the attribute '" + now().text.substr(0, 50) + "' is refused", ErrorCode::kUnsupported);
    }
    ROWMAX_TRY(name, expect_name());
    node->name = std::move(name);
    ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(object)));
    return node;
  }

  Result<NodePtr> subscript(NodePtr object) {
    NodePtr node = make(NodeKind::kGetitem);
    next();
    ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(object)));
    NodePtr index = make(NodeKind::kSlice);
    NodePtr first;
    if (!is_op(":")) {
      ROWMAX_TRY(start, expression());
      first = std::move(start);
    }
    if (is_op(":")) {
      ROWMAX_RETURN_IF_ERROR(adopt(index.get(), std::move(first)));
      while (index->children.size() < 3 && skip_op(":")) {
        NodePtr part;
        if (!is_op(":") && !is_op("]")) {
          ROWMAX_TRY(value, expression());
          part = std::move(value);
        }
        ROWMAX_RETURN_IF_ERROR(adopt(index.get(), std::move(part)));
      }
      index->children.resize(3);
    } else {
      index = std::move(first);
    }
    ROWMAX_RETURN_IF_ERROR(expect_op("]"));
    ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(index)));
    return node;
  }

  // (a, b, c=d) appended to node: positional arguments, then named ones.
  Status arguments(Node* node) {
    ROWMAX_RETURN_IF_ERROR(expect_op("("));
    bool is_first = true;
    while (!is_op(")")) {
      if (!is_first) ROWMAX_RETURN_IF_ERROR(expect_op(","));
      is_first = false;
      if (is_op(")")) break;
      if (is_op("*") || is_op("**")) return fail("'*' arguments are not supported", ErrorCode::kUnsupported);
      const bool is_named =
          now().kind == TokenKind::kName && ahead().kind == TokenKind::kOperator && ahead().text == "=";
      if (is_named) {
        if (std::find(node->names.begin(), node->names.end(), now().text) != node->names.end()) {
          return fail("an argument is named twice");
        }
        node->names.push_back(now().text);
        next();
        next();
      } else if (!node->names.empty()) {
        return fail("a positional argument follows a named one");
      }
      ROWMAX_TRY(value, expression());
      ROWMAX_RETURN_IF_ERROR(adopt(node, std::move(value)));
    }
    return expect_op(")");
  }

  Result<NodePtr> call(NodePtr callee) {
    NodePtr node = make(NodeKind::kCall);
    ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(callee)));
    ROWMAX_RETURN_IF_ERROR(arguments(node.get()));
    return node;
  }

  Result<NodePtr> filter_chain(NodePtr operand) {
    while (skip_op("|")) {
      ROWMAX_TRY(node, filter_call(std::move(operand)));
      operand = std::move(node);
    }
    return operand;
  }

  Result<NodePtr> filter_call(NodePtr operand) {
    NodePtr node = make(NodeKind::kFilter);
    ROWMAX_TRY(name, expect_name());
    const bool known = is_filter(name);
    if (!known && (branches_ == 0 || name == "attr")) {
      return fail("the filter '" + name.substr(0, 50) + "' is not supported", ErrorCode::kUnsupported);
    }
    node->name = std::move(name);
    ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(operand)));
    if (is_op("(")) ROWMAX_RETURN_IF_ERROR(arguments(node.get()));
    return node;
  }

  Result<NodePtr> test(NodePtr operand) {
    NodePtr node = make(NodeKind::kTest);
    next();
    const bool negated = skip_word("not");
    ROWMAX_TRY(name, expect_name());
    if (!is_test(name) && branches_ == 0) {
      return fail("the test '" + name.substr(0, 50) + "' is not supported", ErrorCode::kUnsupported);
    }
    node->name = std::move(name);
    ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(operand)));
    if (is_op("(")) {
      ROWMAX_RETURN_IF_ERROR(arguments(node.get()));
    } else if (starts_argument()) {
      ROWMAX_TRY(first, primary(false));
      ROWMAX_TRY(argument, postfix(std::move(first)));
      ROWMAX_RETURN_IF_ERROR(adopt(node.get(), std::move(argument)));
    }
    if (!negated) return node;
    NodePtr inverse = make(NodeKind::kNot);
    ROWMAX_RETURN_IF_ERROR(adopt(inverse.get(), std::move(node)));
    return inverse;
  }

  // `is divisibleby 3`: an argument without parentheses.
  bool starts_argument() const {
    switch (now().kind) {
      case TokenKind::kName:
        return !is_word("else") && !is_word("or") && !is_word("and") && !is_word("if") && !is_word("in") &&
               !is_word("not");
      case TokenKind::kString:
      case TokenKind::kInteger:
      case TokenKind::kFloat: return true;
      default: return is_op("[") || is_op("{");
    }
  }
};

}  // namespace

Result<NodePtr> parse_template(std::string_view source, const TemplateLimits& limits) {
  ROWMAX_TRY(tokens, tokenize(source, limits));
  return Parser(std::move(tokens), limits).run();
}

}  // namespace rowmax::engine::jinja
