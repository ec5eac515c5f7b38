#include "engine/grammar/syntax.h"

#include <algorithm>

#include "engine/grammar/horn.h"
#include "engine/io/text.h"

namespace rowmax::engine::grammar {
namespace {

constexpr int kMaxNodeDepth = 1'000;
constexpr std::uint32_t kMaxUnrolledWeight = 16;
constexpr std::uint32_t kMaxWeight = 1u << 30;

}  // namespace

Syntax::Syntax(const GrammarLimits& limits) : limits_(limits) {
  nodes_.push_back({.kind = NodeKind::kNever});
  nodes_.push_back({.kind = NodeKind::kEmpty});
}

NodeId Syntax::add(Node node) {
  if (node.depth >= kMaxNodeDepth) too_deep_ = true;
  if (nodes_.size() + children_.size() + arcs_.size() + bytes_.size() / 8 + ranges_.size() > limits_.max_nodes) {
    too_many_ = true;
  }
  if (too_deep_ || too_many_ || too_many_rules_) return never();
  nodes_.push_back(node);
  return static_cast<NodeId>(nodes_.size() - 1);
}

void Syntax::hold(Node& parent, NodeId child) const {
  const Node& held = nodes_[child];
  parent.counts = parent.counts || held.counts;
  parent.depth = std::max<std::uint16_t>(parent.depth, static_cast<std::uint16_t>(held.depth + 1));
  parent.weight = std::min(kMaxWeight, parent.weight + held.weight);
}

NodeId Syntax::literal(std::string_view bytes) {
  if (bytes.empty()) return empty();
  const std::uint64_t begin = bytes_.size();
  bytes_ += bytes;
  const auto size = static_cast<std::uint32_t>(bytes.size());
  return add({.kind = NodeKind::kLiteral, .weight = size, .begin = begin, .size = size});
}

NodeId Syntax::chars(const CodePointSet& set) {
  if (set.empty()) return never();
  const std::uint64_t begin = ranges_.size();
  ranges_.insert(ranges_.end(), set.begin(), set.end());
  const bool ascii = set.back().high < 0x80;
  return add({.kind = NodeKind::kChars,
              .weight = ascii ? 1u : 8u,
              .begin = begin,
              .size = static_cast<std::uint32_t>(set.size())});
}

NodeId Syntax::add_group(NodeKind kind, std::span<const NodeId> children) {
  Node node = {.kind = kind, .begin = children_.size(), .size = static_cast<std::uint32_t>(children.size())};
  for (const NodeId child : children) hold(node, child);
  children_.insert(children_.end(), children.begin(), children.end());
  return add(node);
}

NodeId Syntax::sequence(std::span<const NodeId> children) {
  std::vector<NodeId> kept;
  for (const NodeId child : children) {
    if (child == never()) return never();
    if (child != empty()) kept.push_back(child);
  }
  if (kept.empty()) return empty();
  return kept.size() == 1 ? kept[0] : add_group(NodeKind::kSequence, kept);
}

NodeId Syntax::choice(std::span<const NodeId> children) {
  std::vector<NodeId> kept;
  std::vector<std::string> texts;
  for (const NodeId child : children) {
    const NodeKind kind = nodes_[child].kind;
    if (kind == NodeKind::kLiteral) texts.emplace_back(bytes(nodes_[child]));
    if (kind != NodeKind::kNever) kept.push_back(child);
  }
  if (kept.empty()) return never();
  if (kept.size() == 1) return kept[0];
  if (texts.size() < 3) return add_group(NodeKind::kChoice, kept);
  std::erase_if(kept, [&](NodeId child) { return nodes_[child].kind == NodeKind::kLiteral; });
  kept.push_back(one_of(std::move(texts)));
  return kept.size() == 1 ? kept[0] : add_group(NodeKind::kChoice, kept);
}

NodeId Syntax::repeat(NodeId child, std::uint32_t min, std::uint32_t max) {
  if (max == 0 || child == empty()) return empty();
  if (child == never()) return min == 0 ? empty() : never();
  if (min == 1 && max == 1) return child;
  if ((min == 0 && max == 1) || (min <= 1 && max == kUnbounded)) {
    const NodeId ids[] = {child};
    const NodeId id = add_group(NodeKind::kRepeat, ids);
    if (id != never()) nodes_[id].min = min, nodes_[id].max = max;
    return id;
  }
  const std::uint64_t copies = max == kUnbounded ? std::uint64_t{min} + 1 : max;
  if (copies * nodes_[child].weight > kMaxUnrolledWeight) return counted(child, min, max);
  std::vector<NodeId> parts(min, child);
  NodeId rest = max == kUnbounded ? star(child) : empty();
  for (std::uint32_t k = min; k < max && max != kUnbounded; ++k) rest = optional(sequence({child, rest}));
  parts.push_back(rest);
  return sequence(parts);
}

// A rule has one counter at a time: what counts inside of what is counted becomes a rule of its own.
NodeId Syntax::counted(NodeId child, std::uint32_t min, std::uint32_t max) {
  const NodeId ids[] = {nodes_[child].counts ? as_rule("repetition", child) : child};
  const NodeId id = add_group(NodeKind::kRepeat, ids);
  if (id == never()) return id;
  nodes_[id].min = min;
  nodes_[id].max = max;
  nodes_[id].counts = true;
  return id;
}

NodeId Syntax::graph(std::uint32_t n_states, std::span<const Arc> arcs) {
  Node node = {.kind = NodeKind::kGraph,
               .weight = std::min(n_states, kMaxWeight),
               .begin = arcs_.size(),
               .size = static_cast<std::uint32_t>(arcs.size()),
               .min = n_states};
  for (const Arc& arc : arcs) hold(node, arc.label);
  arcs_.insert(arcs_.end(), arcs.begin(), arcs.end());
  return add(node);
}

// A tree of the sorted texts: state 0 is its root, and every text ends in state 1.
NodeId Syntax::one_of(std::vector<std::string> texts) {
  std::ranges::sort(texts);
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  if (texts.empty()) return never();
  if (texts.size() == 1) return literal(texts[0]);
  std::vector<Arc> arcs;
  std::vector<std::uint32_t> path = {0};  // states along the text before
  std::uint32_t n_states = 2;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::string& text = texts[i];
    // Up to where the neighbours part; what is left after that is one arc.
    const auto shared = [&](std::size_t other) {
      if (other >= texts.size()) return std::size_t{0};
      return static_cast<std::size_t>(std::ranges::mismatch(text, texts[other]).in1 - text.begin());
    };
    const std::size_t before = i == 0 ? 0 : shared(i - 1);
    const std::size_t after = shared(i + 1);
    path.resize(std::min(path.size(), before + 1));
    while (path.size() <= after) {
      arcs.push_back({path.back(), literal(std::string_view(text).substr(path.size() - 1, 1)), n_states});
      path.push_back(n_states++);
    }
    const std::size_t begin = path.size() - 1;
    arcs.push_back({path.back(), literal(std::string_view(text).substr(begin)), 1});
  }
  return graph(n_states, arcs);
}

RuleId Syntax::declare(std::string name) {
  if (rules_.size() >= limits_.max_rules) {
    too_many_rules_ = true;
    return 0;
  }
  rules_.push_back({std::move(name), never()});
  return static_cast<RuleId>(rules_.size() - 1);
}

void Syntax::define(RuleId rule, NodeId root) {
  if (rule < rules_.size()) rules_[rule].root = root;
}

NodeId Syntax::call(RuleId rule) { return add({.kind = NodeKind::kRule, .size = rule}); }

NodeId Syntax::as_rule(std::string name, NodeId root) {
  const RuleId rule = declare(std::move(name));
  define(rule, root);
  return call(rule);
}

Status Syntax::status() const {
  if (too_deep_) return Error::limit(concat("parts nested deeper than ", kMaxNodeDepth));
  if (too_many_rules_) return Error::limit(concat("more than max_rules = ", limits_.max_rules, " rules"));
  if (too_many_) return Error::limit(concat("more than max_nodes = ", limits_.max_nodes, " parts"));
  return {};
}

std::vector<bool> find_nullable(const Syntax& syntax) {
  std::uint32_t n = static_cast<std::uint32_t>(syntax.n_nodes());
  Horn horn;
  for (NodeId id = 0; id < syntax.n_nodes(); ++id) {
    const Node& node = syntax.node(id);
    switch (node.kind) {
      case NodeKind::kNever:
      case NodeKind::kLiteral:
      case NodeKind::kChars: break;
      case NodeKind::kEmpty: horn.add(id, {}); break;
      case NodeKind::kSequence: horn.add(id, syntax.children(node)); break;
      case NodeKind::kChoice:
        for (const NodeId& child : syntax.children(node)) horn.add(id, std::span(&child, 1));
        break;
      case NodeKind::kRepeat: horn.add(id, node.min == 0 ? std::span<const NodeId>() : syntax.children(node)); break;
      case NodeKind::kRule: {
        const NodeId root = syntax.rule_root(node.size);
        horn.add(id, std::span(&root, 1));
        break;
      }
      case NodeKind::kGraph: {
        horn.add(n, {});
        for (const Arc& arc : syntax.arcs(node)) {
          const std::uint32_t body[] = {n + arc.from, arc.label};
          horn.add(n + arc.to, body);
        }
        const std::uint32_t end = n + 1;
        horn.add(id, std::span(&end, 1));
        n += node.min;
        break;
      }
    }
  }
  std::vector<bool> known = horn.solve(n);
  known.resize(syntax.n_nodes());
  return known;
}

}  // namespace rowmax::engine::grammar
