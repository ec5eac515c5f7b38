// The syntax tree of a template. One node type; the comment beside each kind says what its fields hold.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/template/value.h"

namespace rowmax::engine::jinja {

enum class NodeKind : std::uint8_t {
  // expressions
  kConst,    // value
  kName,     // name
  kList,     // children
  kTuple,    // children
  kDict,     // children: key, value, key, value, ...
  kGetattr,  // child 0, name
  kGetitem,  // children: object, subscript
  kSlice,    // children: start, stop, step; each may be null
  kCall,     // children: callee, positional arguments, then one per names
  kFilter,   // name; children: operand (null in a filter block), positional arguments, then one per names
  kTest,     // name; children as kFilter
  kNot,      // child 0
  kNegate,   // child 0
  kPlus,     // child 0
  kMath,     // children: operands, names: the operators between them, left to right
  kConcat,   // children
  kCompare,  // children: operands, names: the operators between them
  kAnd,      // children
  kOr,       // children
  kCond,     // children: condition, value, otherwise (may be null)
  // statements
  kData,                // value: a string
  kOutput,              // child 0
  kIf,                  // children: condition, body, condition, body, ..., and perhaps a last body
  kFor,                 // children: target, sequence, condition (may be null), body, else body (may be null)
  kSet,                 // children: target, value
  kSetBlock,            // children: target, filter chain (may be null), body
  kNamespaceAttribute,  // as a target: name, names[0] the attribute
  kMacro,               // name; names: parameters; children: body, defaults of the last parameters
  kCallBlock,           // names, children 0..: as kMacro, the call last
  kFilterBlock,         // children: filter chain, body
  kWith,                // children: body, target, value, target, value, ...
  kScope,               // child 0: a body with a scope of its own
  kBody,                // children: statements
  kBreak,
  kContinue,
};

struct Node;
using NodePtr = std::unique_ptr<Node>;

struct Node {
  NodeKind kind;
  int line = 0;
  int depth = 1;  // 1 + that of the deepest child; the parser bounds it, so that walking a tree is bounded
  std::string name;
  std::vector<std::string> names;
  std::vector<NodePtr> children;
  Value value;
};

}  // namespace rowmax::engine::jinja
