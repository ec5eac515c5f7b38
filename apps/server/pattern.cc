#include "apps/server/pattern.h"

#include <algorithm>
#include <limits>

#include "apps/text/utf8.h"

namespace rowmax::server {
namespace {

constexpr std::size_t kMostStates = 4096;
constexpr std::size_t kMostParts = 64 * kMostStates;  // repetitions written out: one of nothing adds no state
constexpr int kDeepest = 100, kMostRepeats = 1000;
constexpr char32_t kAnyByte = 0x110000;  // and the byte: what is no UTF-8

// The character at a byte, and how many bytes it has.
std::pair<char32_t, std::size_t> character_at(std::string_view text, std::size_t at) {
  const text::Utf8Character c = text::first_character(text.substr(at));
  if (!c.valid) return {kAnyByte + static_cast<unsigned char>(text[at]), 1};
  return {c.code, c.bytes};
}

bool is_word(char32_t c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

}  // namespace

bool Pattern::Set::has(char32_t c) const {
  const bool inside =
      std::ranges::any_of(ranges, [c](const auto& range) { return c >= range.first && c <= range.second; });
  return inside != inverted;
}

// A piece is built from its end: `next` is the state behind it.
class PatternParser {
 public:
  explicit PatternParser(std::string_view text) : text_(text) {}

  Result<Pattern> parse() {
    Node root = alternatives(0);
    if (error_.empty() && at_ < text_.size()) fail("an end");
    if (error_.empty() && root.may_be_empty) return Error::invalid_argument("the pattern matches an empty text");
    const std::int32_t end = error_.empty() ? add({}) : 0;
    if (error_.empty()) pattern_.start_ = build(root, end);
    if (!error_.empty()) return Error::invalid_argument(error_);
    return std::move(pattern_);
  }

 private:
  struct Node {
    enum class Kind : std::uint8_t { kEmpty, kSet, kWordEdge, kSequence, kChoice, kRepeat };
    Kind kind = Kind::kEmpty;
    std::vector<Node> parts;
    std::int32_t set = -1;
    int least = 0, most = 0;  // of kRepeat; most -1: no end
    bool may_be_empty = true;
  };

  void fail(const std::string& expected) {
    if (!error_.empty()) return;
    error_ = "character " + std::to_string(at_ + 1) + ": expected " + expected + ", found " +
             (at_ < text_.size() ? "\"" + std::string(text_.substr(at_, 1)) + "\"" : "the end");
  }
  bool peek(char c) const { return at_ < text_.size() && text_[at_] == c; }
  bool take(char c) {
    if (!peek(c)) return false;
    ++at_;
    return true;
  }

  Node alternatives(int depth) {
    Node choice;
    choice.kind = Node::Kind::kChoice;
    choice.may_be_empty = false;
    if (depth > kDeepest) fail("groups at most 100 deep");
    do {
      if (!error_.empty()) return choice;
      choice.parts.push_back(sequence(depth));
      choice.may_be_empty = choice.may_be_empty || choice.parts.back().may_be_empty;
    } while (take('|'));
    return choice;
  }

  Node sequence(int depth) {
    Node list;
    list.kind = Node::Kind::kSequence;
    while (error_.empty() && at_ < text_.size() && !peek('|') && !peek(')')) {
      list.parts.push_back(repeated(depth));
      list.may_be_empty = list.may_be_empty && list.parts.back().may_be_empty;
    }
    return list;
  }

  Node repeated(int depth) {
    Node node = single(depth);
    while (error_.empty()) {
      int least = 0, most = 0;
      if (take('*')) {
        most = -1;
      } else if (take('+')) {
        least = 1, most = -1;
      } else if (take('?')) {
        most = 1;
      } else if (peek('{')) {
        ++at_;
        least = number();
        most = take(',') ? (peek('}') ? -1 : number()) : least;
        if (!take('}')) fail("}");
        if (most >= 0 && most < least) fail("a range that goes up");
      } else {
        break;
      }
      Node repeat;
      repeat.kind = Node::Kind::kRepeat;
      repeat.least = least;
      repeat.most = most;
      repeat.may_be_empty = least == 0 || node.may_be_empty;
      repeat.parts.push_back(std::move(node));
      node = std::move(repeat);
    }
    return node;
  }

  int number() {
    int value = 0;
    const std::size_t begin = at_;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      value = std::min(value * 10 + (text_[at_] - '0'), kMostRepeats + 1);
    }
    if (at_ == begin || value > kMostRepeats) fail("a number from 0 to 1000");
    return value;
  }

  Node single(int depth) {
    if (take('(')) {
      if (take('?') && !take(':')) fail(":");
      Node inside = alternatives(depth + 1);
      if (!take(')')) fail(")");
      return inside;
    }
    Node node;
    for (const char c : {'*', '+', '?', '{', ')'}) {
      if (peek(c)) return fail("something to repeat"), node;
    }
    for (const char c : {'^', '$'}) {
      if (peek(c)) return fail("a character (\\" + std::string(1, c) + " for this one)"), node;
    }
    if (text_.substr(at_).starts_with("\\b")) {
      at_ += 2;
      node.kind = Node::Kind::kWordEdge;
      return node;
    }
    Pattern::Set set;
    if (take('.')) {
      set.ranges.emplace_back('\n', '\n');
      set.inverted = true;
    } else if (take('[')) {
      set = char_class();
    } else {
      element(set);
    }
    node.kind = Node::Kind::kSet;
    node.may_be_empty = false;
    node.set = static_cast<std::int32_t>(pattern_.sets_.size());
    pattern_.sets_.push_back(std::move(set));
    return node;
  }

  Pattern::Set char_class() {
    Pattern::Set set;
    set.inverted = take('^');
    for (bool first = true; error_.empty() && (first || !peek(']')); first = false) {
      if (at_ >= text_.size()) return fail("]"), set;
      const std::optional<char32_t> low = element(set);
      const bool is_range = peek('-') && at_ + 1 < text_.size() && text_[at_ + 1] != ']';
      if (!is_range) continue;
      ++at_;
      Pattern::Set last;
      const std::optional<char32_t> high = element(last);
      if (!low || !high || *high < *low) return fail("a range that goes up"), set;
      set.ranges.back().second = *high;
    }
    if (!take(']')) fail("]");
    return set;
  }

  // One character, or a class's ranges; the character.
  std::optional<char32_t> element(Pattern::Set& set) {
    if (at_ >= text_.size()) return fail("a character"), std::nullopt;
    if (!take('\\')) {
      const auto [c, n] = character_at(text_, at_);
      at_ += n;
      set.ranges.emplace_back(c, c);
      return c;
    }
    if (at_ >= text_.size()) return fail("a character behind \\"), std::nullopt;
    const char c = text_[at_++];
    const auto add = [&](std::initializer_list<std::pair<char32_t, char32_t>> ranges) {
      set.ranges.insert(set.ranges.end(), ranges);
      return std::nullopt;
    };
    constexpr char32_t kLast = std::numeric_limits<char32_t>::max();
    switch (c) {
      case 'd': return add({{'0', '9'}});
      case 'D': return add({{0, '0' - 1}, {'9' + 1, kLast}});
      case 'w': return add({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
      case 'W':
        return add({{0, '0' - 1}, {'9' + 1, 'A' - 1}, {'Z' + 1, '_' - 1}, {'_' + 1, 'a' - 1}, {'z' + 1, kLast}});
      case 's': return add({{'\t', '\r'}, {' ', ' '}});
      case 'S': return add({{0, '\t' - 1}, {'\r' + 1, ' ' - 1}, {' ' + 1, kLast}});
      default: break;
    }
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    const char32_t value = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : static_cast<unsigned char>(c);
    if (is_letter && value == static_cast<unsigned char>(c)) {
      --at_;
      return fail("one of d D w W s S n t r b or a sign behind \\"), std::nullopt;
    }
    set.ranges.emplace_back(value, value);
    return value;
  }

  std::int32_t add(const Pattern::State& state) {
    if (pattern_.states_.size() >= kMostStates) {
      if (error_.empty()) error_ = "the pattern is too large: more than " + std::to_string(kMostStates) + " states";
      return 0;
    }
    pattern_.states_.push_back(state);
    return static_cast<std::int32_t>(pattern_.states_.size() - 1);
  }
  std::int32_t split(std::int32_t next, std::int32_t other) {
    return add({Pattern::State::Kind::kSplit, next, other, -1});
  }

  std::int32_t build(const Node& node, std::int32_t next) {
    if (!error_.empty()) return 0;
    if (++pattern_.n_parts_ > kMostParts) {
      error_ = "the pattern is too large: more than " + std::to_string(kMostParts) + " parts";
      return 0;
    }
    switch (node.kind) {
      case Node::Kind::kEmpty: return next;
      case Node::Kind::kSet: return add({Pattern::State::Kind::kSet, next, -1, node.set});
      case Node::Kind::kWordEdge: return add({Pattern::State::Kind::kWordEdge, next, -1, -1});
      case Node::Kind::kSequence:
        for (auto part = node.parts.rbegin(); part != node.parts.rend(); ++part) next = build(*part, next);
        return next;
      case Node::Kind::kChoice: {
        std::int32_t first = build(node.parts.back(), next);
        for (std::size_t i = node.parts.size() - 1; i > 0; --i) first = split(build(node.parts[i - 1], next), first);
        return first;
      }
      case Node::Kind::kRepeat: return repeat(node, next);
    }
    return next;
  }

  std::int32_t repeat(const Node& node, std::int32_t next) {
    const Node& part = node.parts.front();
    if (node.most < 0) {
      const std::int32_t loop = split(-1, next);
      const std::int32_t inside = build(part, loop);
      if (error_.empty()) pattern_.states_[static_cast<std::size_t>(loop)].next = inside;
      next = loop;
    } else {
      const std::int32_t end = next;
      for (int i = node.least; i < node.most && error_.empty(); ++i) next = split(build(part, next), end);
    }
    for (int i = 0; i < node.least && error_.empty(); ++i) next = build(part, next);
    return next;
  }

  const std::string_view text_;
  std::size_t at_ = 0;
  std::string error_;
  Pattern pattern_;
};

Result<Pattern> Pattern::parse(std::string_view text) {
  constexpr std::size_t kMostBytes = 4096;
  if (text.size() > kMostBytes) return Error::invalid_argument("the pattern has more than 4096 bytes");
  return PatternParser(text).parse();
}

namespace {

constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

}  // namespace

// Each state is followed once at each place: for the leftmost match that comes through it. Behind a match it goes on at the
// match's end, though it may have looked kLongestMatch bytes farther: that is what the steps bound.
std::optional<std::vector<Pattern::Match>> Pattern::find_all(std::string_view text, std::uint64_t& steps) const {
  std::vector<Match> matches;
  std::vector<std::size_t> now(states_.size(), kNone), then(states_.size(), kNone);  // where the match began
  std::vector<std::int32_t> alive, next_alive, stack;
  std::optional<Match> best;
  std::vector<std::pair<std::int32_t, std::size_t>> arriving;
  char32_t before = 0;
  bool has_before = false;
  std::uint64_t taken = 0;  // steps at this place
  const auto enter = [&](std::int32_t first, std::size_t begin, bool at_edge, std::size_t at,
                         std::vector<std::size_t>& starts, std::vector<std::int32_t>& list) {
    stack.push_back(first);
    while (!stack.empty()) {
      const std::int32_t id = stack.back();
      stack.pop_back();
      ++taken;
      const State& state = states_[static_cast<std::size_t>(id)];
      std::size_t& start = starts[static_cast<std::size_t>(id)];
      if (start <= begin) continue;
      if (start == kNone) list.push_back(id);
      start = begin;
      if (state.kind == State::Kind::kMatch && (!best || begin < best->begin || begin == best->begin)) {
        best = Match{begin, at};
      }
      if (state.kind == State::Kind::kSplit) {
        stack.push_back(state.other);
        stack.push_back(state.next);
      }
      if (state.kind == State::Kind::kWordEdge && at_edge) stack.push_back(state.next);
    }
  };
  for (std::size_t at = 0; at <= text.size();) {
    if (taken > steps) return std::nullopt;
    steps -= taken;
    taken = 1;
    const bool ends = at == text.size();
    const auto [c, n] = ends ? std::pair{char32_t{0}, std::size_t{1}} : character_at(text, at);
    const bool edge = (has_before && is_word(before)) != (!ends && is_word(c));
    // What goes on from the characters before, with what is an edge here; then what begins here.
    arriving.clear();
    for (const std::int32_t id : alive) arriving.emplace_back(id, now[static_cast<std::size_t>(id)]);
    for (const std::int32_t id : alive) now[static_cast<std::size_t>(id)] = kNone;
    alive.clear();
    for (const auto& [id, begin] : arriving) {
      if ((!best || begin <= best->begin) && at - begin <= kLongestMatch) enter(id, begin, edge, at, now, alive);
    }
    if (!best) enter(start_, at, edge, at, now, alive);
    for (const std::int32_t id : alive) {
      const State& state = states_[static_cast<std::size_t>(id)];
      const std::size_t begin = now[static_cast<std::size_t>(id)];
      if (ends || state.kind != State::Kind::kSet || (best && begin > best->begin)) continue;
      const Set& set = sets_[static_cast<std::size_t>(state.set)];
      taken += 1 + set.ranges.size() / 8;
      if (!set.has(c)) continue;
      std::size_t& start = then[static_cast<std::size_t>(state.next)];
      if (start == kNone) next_alive.push_back(state.next);
      start = std::min(start, begin);
    }
    for (const std::int32_t id : alive) now[static_cast<std::size_t>(id)] = kNone;
    alive.clear();
    std::swap(now, then);
    std::swap(alive, next_alive);
    const bool is_over = best && std::ranges::none_of(alive, [&](std::int32_t id) {
                           return now[static_cast<std::size_t>(id)] <= best->begin;
                         });
    if (is_over) {
      for (const std::int32_t id : alive) now[static_cast<std::size_t>(id)] = kNone;
      alive.clear();
      matches.push_back(*best);
      at = best->end;
      best.reset();
      // The character before the place where it goes on.
      std::size_t last = at - 1;
      while (last > matches.back().begin && (text[last] & 0xC0) == 0x80) --last;
      before = character_at(text, last).first;
      has_before = true;
      continue;
    }
    before = c;
    has_before = true;
    at += n;
  }
  return matches;
}

}  // namespace rowmax::server
