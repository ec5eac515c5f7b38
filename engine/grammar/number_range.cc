#include "engine/grammar/number_range.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <tuple>
#include <vector>

namespace rowmax::engine::grammar {
namespace {

constexpr std::size_t kMaxDigits = 40;

// Magnitudes from low to high as a graph: a state is a place among the digits, and whether all digits before it were
// those of low, and of high.
class Magnitudes {
 public:
  Magnitudes(Syntax& syntax, const DecimalBound& low, const std::optional<DecimalBound>& high, bool fractions)
      : syntax_(syntax), low_(low), high_(high), fractions_(fractions) {
    fraction_places_ = std::max(low.fraction.size(), high ? high->fraction.size() : 0);
  }

  NodeId build() {
    const std::size_t shortest = low_.whole.size();
    const std::size_t longest = high_ ? high_->whole.size() : shortest + 1;
    for (std::size_t n = shortest; n <= longest; ++n) add_whole(n);
    return syntax_.graph(n_states_, arcs_);
  }

 private:
  struct Ties {
    bool low = false, high = false;
    auto operator<=>(const Ties&) const = default;
  };
  enum class Part { kWhole, kPoint, kFraction };
  using Key = std::tuple<Part, std::size_t, std::size_t, Ties>;  // part, digits of the whole, place

  std::uint32_t state(const Key& key) {
    const auto [place, is_new] = states_.try_emplace(key, n_states_);
    if (is_new) {
      ++n_states_;
      open_.push_back(key);
    }
    return place->second;
  }

  // Numbers with n digits before the point. Without an upper bound the last n stands for all longer ones too.
  void add_whole(std::size_t n) {
    const bool endless = !high_ && n > low_.whole.size();
    const Ties ties = {n == low_.whole.size(), high_ && n == high_->whole.size()};
    if (endless) {
      const NodeId digits = syntax_.repeat(digit('0', '9'), static_cast<std::uint32_t>(n - 1), kUnbounded);
      const NodeId whole = syntax_.sequence({digit('1', '9'), digits});
      arcs_.push_back({0, whole, state({Part::kPoint, 0, 0, {}})});
    } else {
      arcs_.push_back({0, syntax_.empty(), state({Part::kWhole, n, 0, ties})});
    }
    while (!open_.empty()) {
      const Key key = open_.back();
      open_.pop_back();
      grow(key);
    }
  }

  void grow(const Key& key) {
    const Part part = std::get<0>(key);
    const std::size_t n = std::get<1>(key), at = std::get<2>(key);
    const Ties ties = std::get<3>(key);
    const std::uint32_t from = states_.at(key);
    if (part == Part::kWhole && at < n) {
      add_digits(from, at == 0 && n > 1 ? '1' : '0', at_or_zero(low_.whole, at),
                 high_ ? at_or_zero(high_->whole, at) : '9', ties, [&](Ties next) {
                   return at + 1 == n ? Key{Part::kPoint, 0, 0, next} : Key{part, n, at + 1, next};
                 });
      return;
    }
    if (part != Part::kFraction || at > 0) {
      if (may_end(part == Part::kPoint ? 0 : at, ties)) arcs_.push_back({from, syntax_.empty(), 1});
    }
    if (part == Part::kPoint) {
      if (fractions_) arcs_.push_back({from, syntax_.literal("."), state({Part::kFraction, 0, 0, ties})});
      return;
    }
    // One place behind all digits of the bounds stands for all that follow.
    const std::size_t next_at = std::min(at + 1, fraction_places_ + 1);
    add_digits(from, '0', at_or_zero(low_.fraction, at), high_ ? at_or_zero(high_->fraction, at) : '9', ties,
               [&](Ties next) {
                 return Key{Part::kFraction, 0, next_at, next};
               });
  }

  static char at_or_zero(const std::string& digits, std::size_t at) { return at < digits.size() ? digits[at] : '0'; }
  // Whether a number may end behind these places of its fraction.
  bool may_end(std::size_t places, Ties ties) const {
    if (ties.low && (places < low_.fraction.size() || !low_.inclusive)) return false;
    return !ties.high || places < high_->fraction.size() || high_->inclusive;
  }

  NodeId digit(char from, char to) {
    return syntax_.chars({{static_cast<std::uint32_t>(from), static_cast<std::uint32_t>(to)}});
  }
  template <class Next>
  void add_digits(std::uint32_t from, char least, char low, char high, Ties ties, Next&& next) {
    const char first = ties.low ? std::max(least, low) : least;
    const char last = ties.high ? high : '9';
    for (char c = first; c <= last;) {
      const Ties after = {ties.low && c == low, ties.high && c == high};
      // All digits strictly between the bounds' are alike.
      char end = c;
      if (!after.low && !after.high) end = ties.high ? static_cast<char>(high - 1) : '9';
      arcs_.push_back({from, digit(c, end), state(next(after))});
      c = static_cast<char>(end + 1);
    }
  }

  Syntax& syntax_;
  const DecimalBound& low_;
  const std::optional<DecimalBound>& high_;
  bool fractions_;
  std::size_t fraction_places_ = 0;
  std::uint32_t n_states_ = 2;
  std::map<Key, std::uint32_t> states_;
  std::vector<Key> open_;
  std::vector<Arc> arcs_;
};

bool is_zero(const DecimalBound& bound) { return bound.whole == "0" && bound.fraction.empty(); }

int compare_magnitudes(const DecimalBound& a, const DecimalBound& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size() ? -1 : 1;
  const int whole = a.whole.compare(b.whole);
  const int order = whole != 0 ? whole : a.fraction.compare(b.fraction);
  return order < 0 ? -1 : order > 0 ? 1 : 0;
}

}  // namespace

std::optional<DecimalBound> decimal_bound(double value, bool inclusive) {
  if (!std::isfinite(value)) return std::nullopt;
  char text[400];
  const double magnitude = std::abs(value);
  const auto end = std::to_chars(text, text + sizeof(text), magnitude, std::chars_format::fixed);
  if (end.ec != std::errc()) return std::nullopt;
  const std::string digits(text, end.ptr);
  if (digits.size() > kMaxDigits) return std::nullopt;
  const std::size_t point = digits.find('.');
  DecimalBound bound = {value < 0, digits.substr(0, point), "", inclusive};
  if (point != std::string::npos) bound.fraction = digits.substr(point + 1);
  return bound;
}

DecimalBound decimal_bound(std::int64_t value) {
  const std::string digits = std::to_string(value);
  return {value < 0, digits.substr(value < 0 ? 1 : 0), "", true};
}

int compare(const DecimalBound& a, const DecimalBound& b) {
  const bool a_negative = a.negative && !is_zero(a), b_negative = b.negative && !is_zero(b);
  if (a_negative != b_negative) return a_negative ? -1 : 1;
  return a_negative ? compare_magnitudes(b, a) : compare_magnitudes(a, b);
}

NodeId number_range(Syntax& syntax, const std::optional<DecimalBound>& low, const std::optional<DecimalBound>& high,
                    bool fractions) {
  const DecimalBound zero = {};
  std::vector<NodeId> choices;
  if (low && high && compare(*low, *high) > 0) return syntax.never();
  if (!high || compare(*high, zero) >= 0) {
    const DecimalBound from = low && compare(*low, zero) >= 0 ? *low : zero;
    choices.push_back(Magnitudes(syntax, from, high, fractions).build());
  }
  if (!low || compare(*low, zero) < 0) {
    DecimalBound from = high && compare(*high, zero) < 0 ? *high : zero;
    if (is_zero(from)) from.inclusive = false;
    choices.push_back(syntax.sequence({syntax.literal("-"), Magnitudes(syntax, from, low, fractions).build()}));
  }
  return syntax.choice(choices);
}

}  // namespace rowmax::engine::grammar
