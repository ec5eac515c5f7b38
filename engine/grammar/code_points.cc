#include "engine/grammar/code_points.h"

#include <algorithm>

namespace rowmax::engine::grammar {
namespace {

constexpr CodePointRange kSurrogates = {0xD800, 0xDFFF};
constexpr std::array<std::uint32_t, 4> kLastOfSize = {0x7F, 0x7FF, 0xFFFF, kLastCodePoint};

int utf8_size(std::uint32_t code_point) {
  int size = 1;
  while (code_point > kLastOfSize[static_cast<std::size_t>(size - 1)]) ++size;
  return size;
}

std::array<std::uint8_t, 4> encode(std::uint32_t code_point, int size) {
  constexpr std::array<std::uint8_t, 4> kLead = {0x00, 0xC0, 0xE0, 0xF0};
  std::array<std::uint8_t, 4> bytes = {};
  for (int k = size - 1; k > 0; --k, code_point >>= 6) {
    bytes[static_cast<std::size_t>(k)] = static_cast<std::uint8_t>(0x80 | (code_point & 0x3F));
  }
  bytes[0] = static_cast<std::uint8_t>(kLead[static_cast<std::size_t>(size - 1)] | code_point);
  return bytes;
}

// low and high have the same number of bytes. Cuts at the places where a last part of the bytes is not full.
void append_sequences(std::vector<ByteSequence>& out, std::uint32_t low, std::uint32_t high) {
  const int size = utf8_size(low);
  for (int tail = 1; tail < size; ++tail) {
    const std::uint32_t mask = (1u << (6 * tail)) - 1;
    if ((low & ~mask) == (high & ~mask)) continue;
    if ((low & mask) != 0) {
      append_sequences(out, low, low | mask);
      append_sequences(out, (low | mask) + 1, high);
      return;
    }
    if ((high & mask) != mask) {
      append_sequences(out, low, (high & ~mask) - 1);
      append_sequences(out, high & ~mask, high);
      return;
    }
  }
  out.push_back({size, encode(low, size), encode(high, size)});
}

}  // namespace

CodePointSet normalised(CodePointSet ranges) {
  std::ranges::sort(ranges, {}, &CodePointRange::low);
  CodePointSet out;
  const auto add = [&](std::uint32_t low, std::uint32_t high) {
    if (low > high) return;
    if (!out.empty() && low <= out.back().high + 1) {
      out.back().high = std::max(out.back().high, high);
    } else {
      out.push_back({low, high});
    }
  };
  for (const CodePointRange& range : ranges) {
    const std::uint32_t high = std::min(range.high, kLastCodePoint);
    add(range.low, std::min(high, kSurrogates.low - 1));
    add(std::max(range.low, kSurrogates.high + 1), high);
  }
  return out;
}

CodePointSet complement(const CodePointSet& set) {
  CodePointSet out;
  std::uint32_t next = 0;
  for (const CodePointRange& range : set) {
    if (range.low > next) out.push_back({next, range.low - 1});
    next = range.high + 1;
  }
  if (next <= kLastCodePoint) out.push_back({next, kLastCodePoint});
  return normalised(std::move(out));
}

CodePointSet intersection(const CodePointSet& a, const CodePointSet& b) {
  CodePointSet out;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const std::uint32_t low = std::max(a[i].low, b[j].low);
    const std::uint32_t high = std::min(a[i].high, b[j].high);
    if (low <= high) out.push_back({low, high});
    a[i].high < b[j].high ? ++i : ++j;
  }
  return out;
}

bool contains(const CodePointSet& set, std::uint32_t code_point) {
  return std::ranges::any_of(set,
                             [&](const auto& range) { return range.low <= code_point && code_point <= range.high; });
}

CodePointSet all_code_points() { return normalised({{0, kLastCodePoint}}); }

std::vector<ByteSequence> utf8_sequences(const CodePointSet& set) {
  std::vector<ByteSequence> out;
  for (const CodePointRange& range : set) {
    std::uint32_t low = range.low;
    for (const std::uint32_t last : kLastOfSize) {
      if (low > last || low > range.high) continue;
      append_sequences(out, low, std::min(last, range.high));
      low = last + 1;
    }
  }
  return out;
}

void append_utf8(std::string& out, std::uint32_t code_point) {
  const int size = utf8_size(code_point);
  const auto bytes = encode(code_point, size);
  out.append(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(size));
}

DecodedCodePoint decode_utf8(std::string_view text, std::size_t at) {
  if (at >= text.size()) return {};
  const auto lead = static_cast<std::uint8_t>(text[at]);
  if (lead < 0x80) return {lead, 1};
  const int size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 0;
  if (size == 0 || lead > 0xF4 || text.size() - at < static_cast<std::size_t>(size)) return {};
  std::uint32_t value = lead & (0x7Fu >> size);
  for (int k = 1; k < size; ++k) {
    const auto byte = static_cast<std::uint8_t>(text[at + static_cast<std::size_t>(k)]);
    if ((byte & 0xC0) != 0x80) return {};
    value = value << 6 | (byte & 0x3F);
  }
  if (value > kLastCodePoint || (value >= kSurrogates.low && value <= kSurrogates.high)) return {};
  if (utf8_size(value) != size) return {};
  return {value, static_cast<std::size_t>(size)};
}

}  // namespace rowmax::engine::grammar
