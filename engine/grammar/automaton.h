// A grammar as states and edges: one small automaton a rule, with edges that call other rules.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/grammar/syntax.h"
#include "rowmax/result.h"

namespace rowmax::engine::grammar {

enum class EdgeKind : std::uint8_t {
  kByte,     // a byte from low to high
  kEpsilon,  // nothing
  kCall,     // a text of a rule; target: index of a Call
  // A counted repetition. While its body runs, an item of the matcher knows how many repetitions it still needs (at
  // least) and how many are left (at most).
  kCount,  // begins; target: index of a Count
  kEnter,  // into the body, if any are left
  kBack,   // out of the body: one needed and left less
  kLeave,  // behind the repetition, if none is needed
};

struct Edge {
  EdgeKind kind = EdgeKind::kEpsilon;
  std::uint8_t low = 0, high = 0;
  std::uint32_t target = 0;
};

struct Call {
  std::uint32_t rule = 0;
  std::uint32_t back = 0;  // the state behind the call
};

struct Count {
  std::uint32_t min = 0, max = 0;
  std::uint32_t target = 0;
};

// Every state leads to the end of its rule, and every rule has a text: what begins can be ended.
struct Automaton {
  struct Rule {
    std::uint32_t start = 0;
    std::uint32_t rank = 0;  // a rule that may begin with another has the lower one
    bool nullable = false;
    RuleId source = 0;  // in the syntax; rule 0, the whole text, has none
  };

  std::vector<std::uint32_t> first_edge;  // [states + 1]
  std::vector<Edge> edges;
  std::vector<Call> calls;
  std::vector<Count> counts;
  std::vector<Rule> rules;
  std::vector<bool> is_end;  // of its rule; such a state has no edges

  // Bytes that no edge tells apart have one class.
  std::array<std::uint8_t, 256> class_of = {};
  std::vector<std::uint8_t> class_bytes;  // one byte of each class

  std::size_t n_states() const { return is_end.size(); }
  std::span<const Edge> edges_of(std::uint32_t state) const {
    return std::span(edges).subspan(first_edge[state], first_edge[state + 1] - first_edge[state]);
  }
};

// kLimit past limits.max_states; kUnsupported for left recursion, naming the rule; kInvalidArgument where no text
// belongs to root.
Result<Automaton> build_automaton(const Syntax& syntax, NodeId root);

}  // namespace rowmax::engine::grammar
