#include "engine/grammar/machine.h"

#include <algorithm>
#include <functional>

#include "engine/io/text.h"

namespace rowmax::engine::grammar {
Machine::Machine(const Automaton& automaton, const GrammarLimits& limits, std::size_t few_items)
    : automaton_(automaton),
      limits_(limits),
      few_items_(few_items),
      n_classes_(automaton.class_bytes.size()),
      waiting_(automaton.rules.size()),
      rule_of_rank_(automaton.rules.size()) {
  for (std::uint32_t rule = 0; rule < automaton.rules.size(); ++rule) rule_of_rank_[automaton.rules[rule].rank] = rule;
  begin_work();
  forget();
}

void Machine::forget() {
  items_.clear();
  states_.clear();
  frames_.clear();
  moves_.clear();
  byte_moves_.clear();
  state_table_.clear();
  frame_table_.clear();
  seen_.clear();
  open_.clear();
  ranks_.clear();
  for (auto& items : waiting_) items.clear();
  frames_.push_back({});  // kBottom is in no table: no other frame is empty
  reached_.clear();
  roots_.clear();
  accepting_ = false;
  make_state();  // kDead
}

std::size_t Machine::bytes() const {
  return items_.size() * sizeof(Item) + states_.size() * sizeof(State) + frames_.size() * sizeof(Range) +
         moves_.size() * sizeof(StateId) + byte_moves_.size() * sizeof(ByteMove) + state_table_.bytes() +
         frame_table_.bytes();
}

Status Machine::failure() const {
  switch (failure_) {
    case Failure::kNone: break;
    case Failure::kSteps:
      if (steps_given_ == limits_.max_mask_steps) {
        return Error::limit(
            concat("the grammar needs more than max_mask_steps = ", limits_.max_mask_steps, " steps here"));
      }
      return Error::limit(concat("the grammar needs more than sustained_mask_steps = ", limits_.sustained_mask_steps,
                                 " steps for each of many tokens"));
    case Failure::kItems:
      return Error::limit(
          concat("the grammar is at more than max_items = ", limits_.max_items, " places at once here"));
    case Failure::kBytes:
      return Error::limit(concat("the grammar needs more than max_cache_bytes = ", limits_.max_cache_bytes, " here"));
  }
  return {};
}

StateId Machine::reach(std::initializer_list<Item> items) {
  roots_.assign(items);
  for (const Item& item : items) push(item, false);
  close(false);
  return make_state();
}

StateId Machine::behind(FrameId frame) {
  if (frame == kBottom) return kDead;
  const std::span<const Item> items = view(frames_[frame]);
  roots_.assign(items.begin(), items.end());
  end_rule(frame);
  close(false);
  return make_state();
}

void Machine::push(const Item& item, bool entered) {
  if (seen_.insert(item, entered)) open_.emplace_back(item, entered);
}

void Machine::end_rule(FrameId frame) {
  if (frame == kBottom) accepting_ = true;
  const Range range = frames_[frame];
  charge(range.size);
  for (std::uint64_t i = 0; i < range.size; ++i) push(items_[range.begin + i], false);
}

// Everything that open_ leads to without a byte, into reached_. fresh: of a rule that begins here, whose end without a
// byte is its caller's to follow.
void Machine::close(bool fresh) {
  drain(fresh);
  seen_.clear();
}

// The same, and what was seen stays known.
void Machine::drain(bool fresh) {
  while (!open_.empty()) {
    const auto [item, entered] = open_.back();
    open_.pop_back();
    if (!charge(1) || reached_.size() > limits_.max_items || seen_.size() > 8 * limits_.max_items) {
      if (!failed()) failure_ = Failure::kItems;
      break;
    }
    if (!automaton_.is_end[item.state]) {
      follow(item, entered);
    } else if (!fresh) {
      end_rule(item.frame);
    }
  }
  open_.clear();
}

// Leaves out the items that others of them lead to without a byte. Frames lead to older ones alone, so the youngest come
// first; of those on one frame, which may lead to each other, a second look backwards finds what the first one kept too many.
void Machine::keep_roots(std::vector<Item>& items) {
  std::vector<Item> reached = std::exchange(reached_, {});
  const bool accepting = accepting_;
  std::ranges::sort(items, [](const Item& a, const Item& b) { return a.frame != b.frame ? a.frame > b.frame : a < b; });
  const auto same_frame = [](const Item& a, const Item& b) { return a.frame == b.frame; };
  for (int look = 0; look < 2 && items.size() > 1 && !failed(); ++look) {
    if (look == 1 && std::ranges::adjacent_find(items, same_frame) == items.end()) break;
    std::size_t n_kept = 0;
    for (const Item& item : items) {
      if (!seen_.insert(item, false)) continue;
      items[n_kept++] = item;
      open_.emplace_back(item, false);
      drain(false);
    }
    seen_.clear();
    reached_.clear();
    items.resize(n_kept);
    std::ranges::reverse(items);
  }
  std::ranges::sort(items);
  reached_ = std::move(reached);
  accepting_ = accepting;
}

// entered: since the body of the repetition began there was no byte. Such a body is no repetition, or there would be no end.
void Machine::follow(const Item& item, bool entered) {
  bool waits = false;
  const std::span<const Edge> edges = automaton_.edges_of(item.state);
  charge(static_cast<std::int64_t>(edges.size()));
  for (const Edge& edge : edges) {
    switch (edge.kind) {
      case EdgeKind::kByte: waits = true; break;
      case EdgeKind::kEpsilon: push({edge.target, item.need, item.left, item.frame}, entered); break;
      case EdgeKind::kCall: {
        waits = true;
        const Call& call = automaton_.calls[edge.target];
        if (automaton_.rules[call.rule].nullable) push({call.back, item.need, item.left, item.frame}, entered);
        break;
      }
      case EdgeKind::kCount: {
        const Count& count = automaton_.counts[edge.target];
        push({count.target, count.min, count.max, item.frame}, false);
        break;
      }
      case EdgeKind::kEnter:
        if (item.left > 0) push({edge.target, item.need, item.left, item.frame}, true);
        break;
      case EdgeKind::kBack:
        if (!entered) {
          const std::uint32_t left = item.left == kUnbounded ? kUnbounded : item.left - 1;
          push({edge.target, item.need - (item.need > 0), left, item.frame}, false);
        }
        break;
      case EdgeKind::kLeave:
        if (item.need == 0) push({edge.target, 0, 0, item.frame}, false);
        break;
    }
  }
  if (waits) reached_.push_back(item);
}

// A state of reached_ (of roots_, if there are too many) and accepting_, which it empties.
StateId Machine::make_state() {
  std::ranges::sort(reached_);
  reached_.erase(std::unique(reached_.begin(), reached_.end()), reached_.end());
  const bool only_roots = reached_.size() > few_items_;
  if (only_roots) {
    reached_.clear();
    keep_roots(roots_);
    reached_.swap(roots_);
  }
  roots_.clear();
  const bool accepts = std::exchange(accepting_, false);
  StateId id = kDead;
  if (!failed() || states_.empty()) {
    const auto fresh = static_cast<StateId>(states_.size());
    id = state_table_.find_or_add(NumberTable::hash(reached_, accepts), fresh, [&](StateId other) {
      const State& state = states_[other];
      return state.accepts == accepts && state.only_roots == only_roots && std::ranges::equal(items(other), reached_);
    });
    if (id == fresh) {
      State state;
      state.items = {items_.size(), static_cast<std::uint32_t>(reached_.size())};
      state.accepts = accepts;
      state.only_roots = only_roots;
      states_.push_back(state);
      items_.insert(items_.end(), reached_.begin(), reached_.end());
      moves_.resize(moves_.size() + n_classes_, kUnknown);
      charge(static_cast<std::int64_t>(reached_.size() + n_classes_ / 8));
      if (bytes() > 2 * limits_.max_cache_bytes) failure_ = Failure::kBytes;
    }
  }
  reached_.clear();
  return id;
}

FrameId Machine::make_frame(std::vector<Item>& items) {
  std::ranges::sort(items);
  items.erase(std::unique(items.begin(), items.end()), items.end());
  keep_roots(items);
  // What ends a rule by calling another goes on where its own caller does.
  if (items.size() == 1 && automaton_.is_end[items.front().state]) return items.front().frame;
  const auto fresh = static_cast<FrameId>(frames_.size());
  const FrameId id = frame_table_.find_or_add(NumberTable::hash(items, false), fresh, [&](FrameId other) {
    return std::ranges::equal(view(frames_[other]), items);
  });
  if (id == fresh) {
    frames_.push_back({items_.size(), static_cast<std::uint32_t>(items.size())});
    items_.insert(items_.end(), items.begin(), items.end());
    charge(static_cast<std::int64_t>(items.size()));
  }
  return id;
}

// The bytes that an item waits for, and the rules.
void Machine::predict(const Item& item) {
  for (const Edge& edge : automaton_.edges_of(item.state)) {
    if (edge.kind == EdgeKind::kByte) {
      byte_moves_.push_back({edge.low, edge.high, {edge.target, item.need, item.left, item.frame}});
    } else if (edge.kind == EdgeKind::kCall) {
      const Call& call = automaton_.calls[edge.target];
      const std::uint32_t rank = automaton_.rules[call.rule].rank;
      if (waiting_[rank].empty()) {
        ranks_.push_back(rank);
        std::ranges::push_heap(ranks_, std::greater<>());
      }
      waiting_[rank].push_back({call.back, item.need, item.left, item.frame});
    }
  }
  charge(1);
}

// The bytes that a state can go on with, in the rules that begin here too. A rule is begun once, when all that call it here
// are known: those have lower ranks.
void Machine::expand(StateId state) {
  const std::uint64_t begin = byte_moves_.size();
  const Range range = states_[state].items;
  if (states_[state].only_roots) {
    for (std::uint64_t i = 0; i < range.size; ++i) push(items_[range.begin + i], false);
    close(false);
    accepting_ = false;
    for (const Item& item : std::exchange(reached_, {})) predict(item);
  } else {
    for (std::uint64_t i = 0; i < range.size; ++i) predict(items_[range.begin + i]);
  }
  while (!ranks_.empty()) {
    std::ranges::pop_heap(ranks_, std::greater<>());
    const std::uint32_t rank = ranks_.back();
    ranks_.pop_back();
    const FrameId frame = make_frame(waiting_[rank]);
    waiting_[rank].clear();
    if (failed()) continue;
    push({automaton_.rules[rule_of_rank_[rank]].start, 0, 0, frame}, false);
    close(true);
    for (const Item& item : reached_) predict(item);
    reached_.clear();
  }
  reached_.clear();
  if (failed()) {
    byte_moves_.resize(begin);
    return;
  }
  states_[state].byte_moves = {begin, static_cast<std::uint32_t>(byte_moves_.size() - begin)};
  states_[state].expanded = true;
}

StateId Machine::find_move(StateId state, std::uint8_t byte_class) {
  if (failed()) return kDead;
  if (!states_[state].expanded) expand(state);
  if (failed()) return kDead;
  const Range range = states_[state].byte_moves;
  charge(range.size / 4);
  const std::uint8_t byte = automaton_.class_bytes[byte_class];
  for (std::uint64_t i = 0; i < range.size; ++i) {
    const ByteMove& move = byte_moves_[range.begin + i];
    if (byte < move.low || move.high < byte) continue;
    push(move.to, false);
    roots_.push_back(move.to);
  }
  close(false);
  const StateId next = make_state();
  if (failed()) return kDead;
  moves_[state * n_classes_ + byte_class] = next;
  return next;
}

}  // namespace rowmax::engine::grammar
