#include "engine/grammar/automaton.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "engine/grammar/horn.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine::grammar {
namespace {

constexpr std::uint32_t kNone = 0xFFFFFFFF;
constexpr int kMaxEmitDepth = 1'500;

struct RawEdge {
  std::uint32_t from = 0;
  Edge edge;
};

// From parts to states. A rule that stands in one place alone is put there.
class Emitter {
 public:
  explicit Emitter(const Syntax& syntax)
      : syntax_(syntax),
        nullable_(find_nullable(syntax)),
        uses_(syntax.n_rules()),
        index_(syntax.n_rules(), kNone),
        inlined_(syntax.n_rules()) {}

  Status run(NodeId root) {
    count_uses(root);
    ROWMAX_RETURN_IF_ERROR(emit_rule(0, root));
    for (std::size_t i = 0; i < queue_.size(); ++i) {
      ROWMAX_RETURN_IF_ERROR(emit_rule(queue_[i], syntax_.rule_root(queue_[i])));
    }
    return {};
  }

  std::vector<RawEdge> edges;
  Automaton automaton;

 private:
  // How often each rule's call will be written: a part that several parts hold is written in each of them, and so is what is in it.
  // More than one is two, which keeps a rule in a rule from being written 2, 4, 8, ... times.
  void count_uses(NodeId root) {
    std::vector<std::uint32_t> written(syntax_.n_nodes());
    const auto add = [](std::uint32_t& count, std::uint32_t more) { count = std::min(count + more, 2u); };
    add(written[root], 1);
    for (RuleId rule = 0; rule < syntax_.n_rules(); ++rule) add(written[syntax_.rule_root(rule)], 1);
    for (std::size_t id = syntax_.n_nodes(); id-- > 0;) {  // parts come behind what they hold
      const Node& node = syntax_.node(static_cast<NodeId>(id));
      if (node.kind == NodeKind::kRule) {
        add(uses_[node.size], written[id]);
      } else if (node.kind == NodeKind::kGraph) {
        for (const Arc& arc : syntax_.arcs(node)) add(written[arc.label], written[id]);
      } else if (node.kind == NodeKind::kSequence || node.kind == NodeKind::kChoice || node.kind == NodeKind::kRepeat) {
        const bool twice = node.kind == NodeKind::kRepeat && node.min != 0;  // emit_loop
        for (const NodeId child : syntax_.children(node)) {
          add(written[child], written[id]);
          if (twice) add(written[child], written[id]);
        }
      }
    }
  }

  std::uint32_t new_state() {
    automaton.is_end.push_back(false);
    return static_cast<std::uint32_t>(automaton.is_end.size() - 1);
  }
  void connect(std::uint32_t from, EdgeKind kind, std::uint32_t target, std::uint8_t low = 0, std::uint8_t high = 0) {
    edges.push_back({from, {kind, low, high, target}});
  }

  Status emit_rule(RuleId source, NodeId root) {
    const std::uint32_t start = new_state();
    const std::uint32_t end = new_state();
    automaton.is_end[end] = true;
    automaton.rules.push_back({.start = start, .nullable = nullable_[root], .source = source});
    return emit(root, start, end);
  }

  // Never adds an edge into `from`, or out of `to`.
  Status emit(NodeId id, std::uint32_t from, std::uint32_t to) {
    const std::size_t size = automaton.is_end.size() + edges.size() / 2;
    if (size > syntax_.limits().max_states) {
      return Error::limit(concat("the grammar takes more than max_states = ", syntax_.limits().max_states, " states"));
    }
    const Node& node = syntax_.node(id);
    switch (node.kind) {
      case NodeKind::kNever: return {};
      case NodeKind::kEmpty: connect(from, EdgeKind::kEpsilon, to); return {};
      case NodeKind::kLiteral: emit_bytes(syntax_.bytes(node), from, to); return {};
      case NodeKind::kChars: emit_chars(syntax_.set(node), from, to); return {};
      case NodeKind::kRule: return emit_call(node.size, from, to);
      default: break;
    }
    ++depth_;
    Status status = emit_group(node, from, to);
    --depth_;
    return status;
  }

  Status emit_group(const Node& node, std::uint32_t from, std::uint32_t to) {
    switch (node.kind) {
      case NodeKind::kSequence: return emit_sequence(syntax_.children(node), from, to);
      case NodeKind::kRepeat:
        return node.counts && is_count(node) ? emit_counted(node, from, to) : emit_loop(node, from, to);
      case NodeKind::kGraph: return emit_graph(node, from, to);
      default: break;
    }
    for (const NodeId child : syntax_.children(node)) ROWMAX_RETURN_IF_ERROR(emit(child, from, to));
    return {};
  }
  static bool is_count(const Node& node) { return node.max != 1 && (node.min > 1 || node.max != kUnbounded); }

  Status emit_sequence(std::span<const NodeId> children, std::uint32_t from, std::uint32_t to) {
    for (std::size_t i = 0; i < children.size(); ++i) {
      const std::uint32_t next = i + 1 == children.size() ? to : new_state();
      ROWMAX_RETURN_IF_ERROR(emit(children[i], from, next));
      from = next;
    }
    return {};
  }

  void emit_bytes(std::string_view bytes, std::uint32_t from, std::uint32_t to) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const std::uint32_t next = i + 1 == bytes.size() ? to : new_state();
      const auto byte = static_cast<std::uint8_t>(bytes[i]);
      connect(from, EdgeKind::kByte, next, byte, byte);
      from = next;
    }
  }

  // Sequences that end alike share their ends.
  void emit_chars(const CodePointSet& set, std::uint32_t from, std::uint32_t to) {
    std::map<std::tuple<std::uint8_t, std::uint8_t, std::uint32_t>, std::uint32_t> before;
    for (const ByteSequence& sequence : utf8_sequences(set)) {
      std::uint32_t next = to;
      for (auto k = static_cast<std::size_t>(sequence.size - 1); k > 0; --k) {
        const auto [place, is_new] = before.try_emplace({sequence.low[k], sequence.high[k], next}, 0);
        if (is_new) {
          place->second = new_state();
          connect(place->second, EdgeKind::kByte, next, sequence.low[k], sequence.high[k]);
        }
        next = place->second;
      }
      connect(from, EdgeKind::kByte, next, sequence.low[0], sequence.high[0]);
    }
  }

  Status emit_call(RuleId rule, std::uint32_t from, std::uint32_t to) {
    const NodeId root = syntax_.rule_root(rule);
    const bool fits = depth_ + syntax_.node(root).depth < kMaxEmitDepth && !(counting_ && syntax_.node(root).counts);
    if (uses_[rule] == 1 && fits && !inlined_[rule]) {
      inlined_[rule] = true;
      ++depth_;
      Status status = emit(root, from, to);
      --depth_;
      inlined_[rule] = false;
      return status;
    }
    if (index_[rule] == kNone) {
      queue_.push_back(rule);
      index_[rule] = static_cast<std::uint32_t>(queue_.size());
    }
    connect(from, EdgeKind::kCall, static_cast<std::uint32_t>(automaton.calls.size()));
    automaton.calls.push_back({index_[rule], to});
    return {};
  }

  Status emit_loop(const Node& node, std::uint32_t from, std::uint32_t to) {
    const NodeId child = syntax_.children(node)[0];
    if (node.max == 1) {
      connect(from, EdgeKind::kEpsilon, to);
      return emit(child, from, to);
    }
    const std::uint32_t again = new_state();
    const std::uint32_t begin = node.min == 0 ? again : new_state();
    connect(from, EdgeKind::kEpsilon, begin);
    if (node.min != 0) ROWMAX_RETURN_IF_ERROR(emit(child, begin, again));
    const std::uint32_t behind = new_state();
    ROWMAX_RETURN_IF_ERROR(emit(child, again, behind));
    connect(behind, EdgeKind::kEpsilon, again);
    connect(again, EdgeKind::kEpsilon, to);
    return {};
  }

  // Two heads: only the later one, which has seen the body, may leave a repetition that must not be empty.
  Status emit_counted(const Node& node, std::uint32_t from, std::uint32_t to) {
    const NodeId child = syntax_.children(node)[0];
    const std::uint32_t min = nullable_[child] ? 0 : node.min;
    const std::uint32_t head = new_state(), begin = new_state(), end = new_state(), later = new_state();
    connect(from, EdgeKind::kCount, static_cast<std::uint32_t>(automaton.counts.size()));
    automaton.counts.push_back({min, node.max, head});
    connect(head, EdgeKind::kEnter, begin);
    if (min == 0) connect(head, EdgeKind::kLeave, to);
    connect(end, EdgeKind::kBack, later);
    connect(later, EdgeKind::kEnter, begin);
    connect(later, EdgeKind::kLeave, to);
    const bool outer = counting_;
    counting_ = true;
    Status status = emit(child, begin, end);
    counting_ = outer;
    return status;
  }

  Status emit_graph(const Node& node, std::uint32_t from, std::uint32_t to) {
    std::vector<std::uint32_t> states(node.min, kNone);
    const auto state = [&](std::uint32_t i) {
      if (states[i] == kNone) states[i] = new_state();
      return states[i];
    };
    connect(from, EdgeKind::kEpsilon, state(0));
    connect(state(1), EdgeKind::kEpsilon, to);
    for (const Arc& arc : syntax_.arcs(node)) {
      const std::uint32_t begin = state(arc.from);
      ROWMAX_RETURN_IF_ERROR(emit(arc.label, begin, state(arc.to)));
    }
    return {};
  }

  const Syntax& syntax_;
  std::vector<bool> nullable_;
  std::vector<std::uint32_t> uses_, index_;  // index_: in the automaton, of rules that are called
  std::vector<bool> inlined_;
  std::vector<RuleId> queue_;
  int depth_ = 0;
  bool counting_ = false;
};

std::uint32_t target_state(const Automaton& automaton, const Edge& edge) {
  if (edge.kind == EdgeKind::kCall) return automaton.calls[edge.target].back;
  if (edge.kind == EdgeKind::kCount) return automaton.counts[edge.target].target;
  return edge.target;
}

// Drops what no end can be reached from.
Status prune(Automaton& automaton, std::vector<RawEdge>& edges) {
  Horn horn;
  for (std::uint32_t state = 0; state < automaton.n_states(); ++state) {
    if (automaton.is_end[state]) horn.add(state, {});
  }
  const auto rule_start = [&](const Edge& edge) { return automaton.rules[automaton.calls[edge.target].rule].start; };
  for (const auto& [from, edge] : edges) {
    const std::uint32_t target = target_state(automaton, edge);
    const std::uint32_t body[] = {target, edge.kind == EdgeKind::kCall ? rule_start(edge) : target};
    horn.add(from, std::span(body, edge.kind == EdgeKind::kCall ? 2 : 1));
  }
  const std::vector<bool> ends = horn.solve(automaton.n_states());
  std::erase_if(edges, [&](const RawEdge& raw) {
    return !ends[target_state(automaton, raw.edge)] ||
           (raw.edge.kind == EdgeKind::kCall && !ends[rule_start(raw.edge)]);
  });
  if (!ends[automaton.rules[0].start]) return Error::invalid_argument("no text belongs to it");
  return {};
}

void sort_edges(Automaton& automaton, const std::vector<RawEdge>& edges) {
  std::vector<std::uint32_t>& first = automaton.first_edge;
  first.assign(automaton.n_states() + 1, 0);
  for (const RawEdge& raw : edges) ++first[raw.from + 1];
  for (std::size_t i = 1; i < first.size(); ++i) first[i] += first[i - 1];
  std::vector<std::uint32_t> next(first.begin(), first.end() - 1);
  automaton.edges.resize(edges.size());
  for (const RawEdge& raw : edges) automaton.edges[next[raw.from]++] = raw.edge;
}

void find_classes(Automaton& automaton) {
  std::array<bool, 257> begins = {true};
  for (const Edge& edge : automaton.edges) {
    if (edge.kind == EdgeKind::kByte) begins[edge.low] = begins[std::size_t{edge.high} + 1] = true;
  }
  for (std::size_t byte = 0; byte < 256; ++byte) {
    if (begins[byte]) automaton.class_bytes.push_back(static_cast<std::uint8_t>(byte));
    automaton.class_of[byte] = static_cast<std::uint8_t>(automaton.class_bytes.size() - 1);
  }
}

// Rules that a rule may begin with: reached without a byte.
class LeftCalls {
 public:
  explicit LeftCalls(const Automaton& automaton) : automaton_(automaton), seen_(automaton.n_states()) {}

  std::vector<std::uint32_t> of(std::uint32_t rule) {
    std::vector<std::uint32_t> called, open = {automaton_.rules[rule].start};
    const auto reach = [&](std::uint32_t state) {
      if (!seen_[state]) open.push_back(state);
      seen_[state] = true;
    };
    while (!open.empty()) {
      const std::uint32_t state = open.back();
      open.pop_back();
      for (const Edge& edge : automaton_.edges_of(state)) {
        if (edge.kind == EdgeKind::kByte) continue;
        if (edge.kind == EdgeKind::kCall) {
          called.push_back(automaton_.calls[edge.target].rule);
          if (!automaton_.rules[called.back()].nullable) continue;
        }
        reach(target_state(automaton_, edge));
      }
    }
    return called;
  }

 private:
  const Automaton& automaton_;
  std::vector<bool> seen_;
};

// Ranks by depth-first search; nothing but a circle stands in the way.
Status rank_rules(Automaton& automaton, const Syntax& syntax) {
  struct Visit {
    std::uint32_t rule = 0;
    std::vector<std::uint32_t> called;
    std::size_t next = 0;
  };
  enum : std::uint8_t { kNew, kOpen, kDone };
  LeftCalls left_calls(automaton);
  std::vector<std::uint8_t> marks(automaton.rules.size(), kNew);
  auto rank = static_cast<std::uint32_t>(automaton.rules.size());
  std::vector<Visit> path;
  for (std::uint32_t root = 0; root < automaton.rules.size(); ++root) {
    if (marks[root] != kNew) continue;
    marks[root] = kOpen;
    path.push_back({root, left_calls.of(root)});
    while (!path.empty()) {
      Visit& visit = path.back();
      if (visit.next == visit.called.size()) {
        marks[visit.rule] = kDone;
        automaton.rules[visit.rule].rank = --rank;
        path.pop_back();
        continue;
      }
      const std::uint32_t rule = visit.called[visit.next++];
      if (marks[rule] == kOpen) {
        return Error::unsupported(concat("rule ", quote(syntax.rule_name(automaton.rules[rule].source)),
                                         " begins with itself (left recursion); write it as a repetition"));
      }
      if (marks[rule] == kDone) continue;
      marks[rule] = kOpen;
      path.push_back({rule, left_calls.of(rule)});
    }
  }
  return {};
}

}  // namespace

Result<Automaton> build_automaton(const Syntax& syntax, NodeId root) {
  ROWMAX_RETURN_IF_ERROR(syntax.status());
  Emitter emitter(syntax);
  ROWMAX_RETURN_IF_ERROR(emitter.run(root));
  Automaton automaton = std::move(emitter.automaton);
  ROWMAX_RETURN_IF_ERROR(prune(automaton, emitter.edges));
  sort_edges(automaton, emitter.edges);
  find_classes(automaton);
  ROWMAX_RETURN_IF_ERROR(rank_rules(automaton, syntax));
  return automaton;
}

}  // namespace rowmax::engine::grammar
