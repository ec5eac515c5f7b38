// Follows a text through an automaton, all its ways at once. What is known at a place of the text is a state; states are
// numbered as they are met and their moves remembered, so that what comes again is a look into a table.
//
// A stack of rules is a chain of frames. A frame is a set of items to go on with once its rule has ended, and is numbered by
// its content: two ways that call a rule at the same place share one frame, and a loop comes back to the state it was in.
// No rule begins with itself, so that frames are made in the order of the rules' ranks and never change.
//
// In an ambiguous grammar a text of n bytes can be at as many places as n, and each of them leads to most of the others
// when its rule ends. So a frame holds only items to which no other of its items leads, and a state at many places only
// those that it began with: what is held of a byte does not grow with the text, and its work grows with n and not its square.
// A call at the end of a rule needs no frame of its own.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "engine/grammar/automaton.h"
#include "engine/grammar/item_set.h"
#include "rowmax/result.h"

namespace rowmax::engine::grammar {

using StateId = std::uint32_t;
using FrameId = std::uint32_t;

class Machine {
 public:
  static constexpr StateId kDead = 0;    // no text goes on from here
  static constexpr FrameId kBottom = 0;  // below the whole text; its end is the text's

  // few_items: a state at more places than these is held by what leads to them. Few are compared as they are: two ways to
  // the same places are one state then.
  Machine(const Automaton& automaton, const GrammarLimits& limits, std::size_t few_items = 64);

  StateId start() { return reach({{automaton_.rules[0].start, 0, 0, kBottom}}); }
  // Behind one more byte.
  StateId step(StateId state, std::uint8_t byte) {
    const StateId next = moves_[state * n_classes_ + automaton_.class_of[byte]];
    return next != kUnknown ? next : find_move(state, automaton_.class_of[byte]);
  }
  StateId steps(StateId state, std::string_view bytes) {
    for (std::size_t i = 0; i < bytes.size() && state != kDead; ++i)
      state = step(state, static_cast<std::uint8_t>(bytes[i]));
    return state;
  }
  // Whether the text may end here.
  bool accepts(StateId state) const { return states_[state].accepts; }
  // Where its ways are, if these are few: each item has edges with a byte or a call. Valid until the next call that
  // returns a state.
  bool is_at_many(StateId state) const { return states_[state].only_roots; }
  std::span<const Item> items(StateId state) const { return view(states_[state].items); }

  // The state of nothing but this item, and the one behind the end of a frame's rule.
  StateId alone(const Item& item) { return reach({item}); }
  StateId behind(FrameId frame);

  // Work is counted and memory held; past a limit every call gives kDead, nothing wrong is remembered, and failure() is the
  // error. begin_work() starts anew, with so many steps.
  void begin_work() { begin_work(limits_.max_mask_steps); }
  void begin_work(std::int64_t steps) { steps_given_ = steps_left_ = steps, failure_ = Failure::kNone; }
  bool charge(std::int64_t steps) {
    steps_left_ -= steps;
    if (steps_left_ < 0 && failure_ == Failure::kNone) failure_ = Failure::kSteps;
    return steps_left_ >= 0;
  }
  bool failed() const { return failure_ != Failure::kNone; }
  Status failure() const;
  std::int64_t steps_used() const { return steps_given_ - steps_left_; }

  std::size_t bytes() const;
  void forget();  // all states and frames: their numbers mean nothing any more

 private:
  static constexpr std::uint32_t kUnknown = 0xFFFFFFFF;
  enum class Failure : std::uint8_t { kNone, kSteps, kItems, kBytes };
  struct Range {
    std::uint64_t begin = 0;
    std::uint32_t size = 0;
  };
  struct State {
    Range items;
    bool accepts = false;
    bool expanded = false;
    bool only_roots = false;  // items lead to the places, and are not all of them
    Range byte_moves;         // once expanded
  };
  struct ByteMove {
    std::uint8_t low = 0, high = 0;
    Item to;
  };

  std::span<const Item> view(const Range& range) const { return std::span(items_).subspan(range.begin, range.size); }
  StateId reach(std::initializer_list<Item> items);
  StateId find_move(StateId state, std::uint8_t byte_class);
  void expand(StateId state);
  void close(bool fresh);
  void drain(bool fresh);
  void keep_roots(std::vector<Item>& items);
  void follow(const Item& item, bool entered);
  void end_rule(FrameId frame);
  void push(const Item& item, bool entered);
  void predict(const Item& item);
  StateId make_state();
  FrameId make_frame(std::vector<Item>& items);

  const Automaton& automaton_;
  const GrammarLimits limits_;
  const std::size_t few_items_;
  std::size_t n_classes_ = 0;
  std::int64_t steps_given_ = 0, steps_left_ = 0;
  Failure failure_ = Failure::kNone;

  std::vector<Item> items_;  // of states and frames
  std::vector<State> states_;
  std::vector<Range> frames_;
  std::vector<StateId> moves_;  // [states][classes]
  std::vector<ByteMove> byte_moves_;
  NumberTable state_table_, frame_table_;

  // Of the closure being made.
  ItemSet seen_;
  std::vector<std::pair<Item, bool>> open_;
  std::vector<Item> reached_, roots_;  // the closure, and what it is made of
  bool accepting_ = false;
  // Of the expansion: items behind each call, by the called rule's rank.
  std::vector<std::vector<Item>> waiting_;
  std::vector<std::uint32_t> ranks_;  // a heap of those that wait
  std::vector<std::uint32_t> rule_of_rank_;
};

}  // namespace rowmax::engine::grammar
