#include "engine/template/text.h"

#include <algorithm>

namespace rowmax::engine::jinja {

void Text::append(std::string_view text, bool tainted) {
  if (text.empty()) return;
  bytes.append(text);
  if (!runs.empty() && runs.back().tainted == tainted) {
    runs.back().end = bytes.size();
  } else {
    runs.push_back({bytes.size(), tainted});
  }
}

void Text::append_slice(const Text& other, std::size_t begin, std::size_t end) {
  if (begin >= end) return;
  auto run = std::upper_bound(other.runs.begin(), other.runs.end(), begin,
                              [](std::size_t position, const TextRun& r) { return position < r.end; });
  for (; begin < end; ++run) {
    const std::size_t stop = std::min(end, run->end);
    append(std::string_view(other.bytes).substr(begin, stop - begin), run->tainted);
    begin = stop;
  }
}

Text Text::slice(std::size_t begin, std::size_t end) const {
  Text out;
  out.append_slice(*this, begin, end);
  return out;
}

bool Text::tainted_at(std::size_t position) const {
  auto run =
      std::upper_bound(runs.begin(), runs.end(), position, [](std::size_t p, const TextRun& r) { return p < r.end; });
  return run != runs.end() && run->tainted;
}

bool Text::any_tainted() const {
  return std::any_of(runs.begin(), runs.end(), [](const TextRun& run) { return run.tainted; });
}

Utf8Char utf8_at(std::string_view text, std::size_t position) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
  const std::uint32_t first = byte(position);
  if (first < 0x80) return {first, 1};
  const std::size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  const Utf8Char stray{0xDC00 + first, 1};
  if (first < 0xC2 || first > 0xF4 || position + size > text.size()) return stray;
  std::uint32_t code = first & (0x7Fu >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(position + i) & 0xC0) != 0x80) return stray;
    code = code << 6 | (byte(position + i) & 0x3F);
  }
  const bool overlong = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
  if (overlong || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return stray;
  return {code, size};
}

void append_utf8(std::string* out, std::uint32_t code) {
  const auto put = [&](std::uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

std::size_t utf8_length(std::string_view text) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < text.size(); ++n) i += utf8_at(text, i).size;
  return n;
}

std::vector<std::size_t> utf8_offsets(std::string_view text) {
  std::vector<std::size_t> offsets;
  offsets.reserve(text.size() + 1);
  for (std::size_t i = 0; i < text.size(); i += utf8_at(text, i).size) offsets.push_back(i);
  offsets.push_back(text.size());
  return offsets;
}

constexpr std::size_t kShortNeedle = 16;

Finder::Finder(std::string_view needle) : needle_(needle) {
  if (needle.size() <= kShortNeedle) return;
  borders_.assign(needle.size(), 0);
  for (std::size_t i = 1, k = 0; i < needle.size(); ++i) {
    while (k > 0 && needle[i] != needle[k]) k = borders_[k - 1];
    k += needle[i] == needle[k] ? 1 : 0;
    borders_[i] = k;
  }
}

std::size_t Finder::find(std::string_view haystack, std::size_t from) const {
  if (borders_.empty()) return haystack.find(needle_, from);
  for (std::size_t i = from, k = 0; i < haystack.size(); ++i) {
    while (k > 0 && haystack[i] != needle_[k]) k = borders_[k - 1];
    k += haystack[i] == needle_[k] ? 1 : 0;
    if (k == needle_.size()) return i + 1 - k;
  }
  return std::string_view::npos;
}

bool is_python_space(std::uint32_t c) {
  return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

}  // namespace rowmax::engine::jinja
