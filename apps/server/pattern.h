// Regular expressions over texts of any bytes: all ways are followed at once, and a search takes at most as many steps as it
// is given.
//
// Letters stand for themselves; . any character but a line end; [a-z], [^a-z]; \d \w \s and \D \W \S (of ASCII), \n \t
// \r, a backslash before any other sign takes it as it is; (...), (?:...), |, *, +, ?, {m}, {m,}, {m,n} (up to 1000).
// \b is a place between a word's letter and another one. A match is the leftmost, of these the longest, of at most 1024
// bytes (which is why the next one can be looked for at its end).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rowmax/result.h"

namespace rowmax::server {

class Pattern {
 public:
  // kInvalidArgument with the place of what is wrong; also for one that matches an empty text, or is too large.
  static Result<Pattern> parse(std::string_view text);

  struct Match {
    std::size_t begin = 0, end = 0;  // bytes
  };
  static constexpr std::size_t kLongestMatch = 1024;
  // One behind the other. A step is a state looked at for a character, some nanoseconds; those that were taken are taken from
  // `steps`. nullopt: there are more in it than that.
  std::optional<std::vector<Match>> find_all(std::string_view text, std::uint64_t& steps) const;

  std::size_t n_parts() const noexcept { return n_parts_; }  // that it was built of

 private:
  friend class PatternParser;
  struct State {
    enum class Kind : std::uint8_t { kSet, kSplit, kWordEdge, kMatch };
    Kind kind = Kind::kMatch;
    std::int32_t next = -1, other = -1;
    std::int32_t set = -1;
  };
  struct Set {
    std::vector<std::pair<char32_t, char32_t>> ranges;
    bool inverted = false;
    bool has(char32_t c) const;
  };

  std::vector<State> states_;
  std::vector<Set> sets_;
  std::int32_t start_ = 0;
  std::size_t n_parts_ = 0;
};

}  // namespace rowmax::server
