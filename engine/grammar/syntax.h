// What the three front ends parse their sources into: one arena of immutable parts. A part is made after those it holds,
// so parts are a forest; only rules make circles.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/grammar/code_points.h"
#include "rowmax/engine/grammar.h"
#include "rowmax/result.h"

namespace rowmax::engine::grammar {

using NodeId = std::uint32_t;
using RuleId = std::uint32_t;

inline constexpr std::uint32_t kUnbounded = 0xFFFFFFFF;  // of a repetition, and of a count of repetitions left

enum class NodeKind : std::uint8_t {
  kNever,     // no text
  kEmpty,     // the empty text
  kLiteral,   // these bytes
  kChars,     // one code point of a set, as UTF-8
  kSequence,  // its children, one after the other
  kChoice,    // one of its children
  kRepeat,    // its child min to max times
  kRule,      // what a rule's text is
  kGraph,     // the labels along a way from state 0 to state 1
};

struct Arc {
  std::uint32_t from = 0;
  NodeId label = 0;
  std::uint32_t to = 0;
};

struct Node {
  NodeKind kind = NodeKind::kNever;
  bool counts = false;  // holds a repetition that is counted, not in a rule of its own
  std::uint16_t depth = 0;
  std::uint32_t weight = 1;  // about as many states as it takes
  std::uint64_t begin =
      0;  // kLiteral: of its bytes; kChars: ranges; kSequence, kChoice, kRepeat: children; kGraph: arcs
  std::uint32_t size = 0;  // as many; kRule: which one
  std::uint32_t min = 0;   // kGraph: how many states
  std::uint32_t max = 0;
};

// Every call gives a part, and past the limits one that is worth nothing: status() says so, and front ends ask it where
// they loop or recurse, and at the end.
class Syntax {
 public:
  explicit Syntax(const GrammarLimits& limits);

  NodeId never() const { return 0; }
  NodeId empty() const { return 1; }
  NodeId literal(std::string_view bytes);
  NodeId chars(const CodePointSet& set);
  NodeId sequence(std::span<const NodeId> children);
  NodeId choice(std::span<const NodeId> children);
  NodeId sequence(std::initializer_list<NodeId> children) {
    return sequence(std::span(children.begin(), children.size()));
  }
  NodeId choice(std::initializer_list<NodeId> children) { return choice(std::span(children.begin(), children.size())); }
  // A large one is a counter, whose states do not depend on min and max.
  NodeId repeat(NodeId child, std::uint32_t min, std::uint32_t max);
  NodeId optional(NodeId child) { return repeat(child, 0, 1); }
  NodeId star(NodeId child) { return repeat(child, 0, kUnbounded); }
  NodeId plus(NodeId child) { return repeat(child, 1, kUnbounded); }
  // One of the texts, however many: they share their beginnings.
  NodeId one_of(std::vector<std::string> texts);
  NodeId graph(std::uint32_t n_states, std::span<const Arc> arcs);

  RuleId declare(std::string name);
  void define(RuleId rule, NodeId root);
  NodeId call(RuleId rule);
  NodeId as_rule(std::string name, NodeId root);

  Status status() const;
  const GrammarLimits& limits() const { return limits_; }

  const Node& node(NodeId id) const { return nodes_[id]; }
  std::size_t n_nodes() const { return nodes_.size(); }
  std::size_t n_rules() const { return rules_.size(); }
  const std::string& rule_name(RuleId rule) const { return rules_[rule].name; }
  NodeId rule_root(RuleId rule) const { return rules_[rule].root; }
  std::string_view bytes(const Node& node) const { return std::string_view(bytes_).substr(node.begin, node.size); }
  CodePointSet set(const Node& node) const {
    const auto begin = ranges_.begin() + static_cast<std::ptrdiff_t>(node.begin);
    return {begin, begin + node.size};
  }
  std::span<const NodeId> children(const Node& node) const {
    return std::span(children_).subspan(node.begin, node.size);
  }
  std::span<const Arc> arcs(const Node& node) const { return std::span(arcs_).subspan(node.begin, node.size); }
  std::span<const NodeId> all_children() const { return children_; }
  std::span<const Arc> all_arcs() const { return arcs_; }

 private:
  struct Rule {
    std::string name;
    NodeId root = 0;
  };
  NodeId add(Node node);
  NodeId add_group(NodeKind kind, std::span<const NodeId> children);
  NodeId counted(NodeId child, std::uint32_t min, std::uint32_t max);
  void hold(Node& parent, NodeId child) const;

  GrammarLimits limits_;
  std::vector<Node> nodes_;
  std::vector<NodeId> children_;
  std::vector<Arc> arcs_;
  std::vector<CodePointRange> ranges_;
  std::string bytes_;
  std::vector<Rule> rules_;
  bool too_many_ = false, too_deep_ = false, too_many_rules_ = false;
};

// Which parts have the empty text among theirs.
std::vector<bool> find_nullable(const Syntax& syntax);

}  // namespace rowmax::engine::grammar
