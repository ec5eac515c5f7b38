// Strings of the template interpreter: UTF-8 bytes that remember where each came from.
//
// A Text is its bytes and a list of runs, each tainted (it came from the caller's values: a message, a tool, ...) or
// not (it stood in the template). Every operation of the interpreter builds its result by copying slices, so runs stay
// exact through concatenation, trimming, slicing, splitting, joining, replacing, escaping, tojson and formatting.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rowmax::engine::jinja {

struct TextRun {
  std::size_t end;  // one past the run's last byte; runs are ascending, adjacent runs differ in taint
  bool tainted;
};

struct Text {
  std::string bytes;
  std::vector<TextRun> runs;

  Text() = default;
  Text(std::string_view text, bool tainted) { append(text, tainted); }

  void append(std::string_view text, bool tainted);
  void append(const Text& other) { append_slice(other, 0, other.bytes.size()); }
  // Bytes begin..end of other, with their taint.
  void append_slice(const Text& other, std::size_t begin, std::size_t end);
  Text slice(std::size_t begin, std::size_t end) const;
  bool tainted_at(std::size_t position) const;
  bool any_tainted() const;
  std::size_t heap_bytes() const { return bytes.size() + runs.size() * sizeof(TextRun); }
};

// One code point of UTF-8 text. A byte that starts no valid sequence counts as one character of its own (code point
// 0xDC00 + byte, as Python's surrogateescape), so that every input has a length.
struct Utf8Char {
  std::uint32_t code_point;
  std::size_t size;
};
Utf8Char utf8_at(std::string_view text, std::size_t position);
void append_utf8(std::string* out, std::uint32_t code_point);
std::size_t utf8_length(std::string_view text);
// Byte offsets of every character, and the size at the end: length + 1 entries.
std::vector<std::size_t> utf8_offsets(std::string_view text);
bool is_python_space(std::uint32_t code_point);  // str.isspace of one character

// Finds a text in others, in linear time whatever the bytes are (std::string::find is quadratic at worst).
class Finder {
 public:
  explicit Finder(std::string_view needle);
  // Of looking for all places, in bytes of plain work.
  static std::size_t work(std::string_view haystack, std::string_view needle) {
    return 3 * haystack.size() + 4 * needle.size();
  }
  // The first place at or after `from`, or npos.
  std::size_t find(std::string_view haystack, std::size_t from) const;

 private:
  std::string_view needle_;
  std::vector<std::size_t> borders_;  // Knuth-Morris-Pratt; empty for needles short enough for the plain search
};

}  // namespace rowmax::engine::jinja
