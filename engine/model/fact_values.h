// What the rows of spec_facts.cc and rope_facts.cc are made of: values as text, and which layers have them.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "engine/model/spec.h"

namespace rowmax::engine {

using Values = std::set<std::string>;
using LayerTest = bool (*)(const LayerSpec& layer);

// ---- numbers

// The shortest text that gives the number again.
template <class Number>
std::string text_of(Number value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return {text, end};
}

inline bool parse(const std::string& text, double& value) {
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  return result.ec == std::errc() && result.ptr == text.data() + text.size() && std::isfinite(value);
}

// As f32, which it is computed with.
inline bool parse_single(const std::string& text, float& single) {
  double value = 0;
  if (!parse(text, value)) return false;
  single = static_cast<float>(value);
  return std::isfinite(single) && (value == 0 || single != 0);
}

inline bool parse_count(const std::string& text, double low, double high, std::int64_t& count) {
  double value = 0;
  if (!parse(text, value) || value < low || value > high || value != std::floor(value)) return false;
  count = static_cast<std::int64_t>(value);
  return true;
}

enum class Low : std::uint8_t { kZero, kAboveZero, kAny };
inline bool parse_from(const std::string& text, Low low, float& value) {
  return parse_single(text, value) && (low == Low::kAny || value > 0 || (low == Low::kZero && value == 0));
}

// ---- words

template <class Enum, std::size_t kN>
struct Words {
  std::pair<const char*, Enum> words[kN];
  std::string name(Enum value) const {
    for (const auto& [word, meaning] : words) {
      if (meaning == value) return word;
    }
    return "?";
  }
  const Enum* find(const std::string& text) const {
    for (const auto& [word, meaning] : words) {
      if (text == word) return &meaning;
    }
    return nullptr;
  }
};

// ---- layers

inline bool attends(const LayerSpec& layer) { return layer.attends(); }

template <class Get>
Values of_layers(const ModelSpec& spec, LayerTest has, Get get) {
  Values out;
  for (const LayerSpec& layer : spec.layers) {
    if (has(layer)) out.insert(get(layer));
  }
  return out;
}
template <class Set>
bool in_layers(ModelSpec& spec, LayerTest has, Set set) {
  for (LayerSpec& layer : spec.layers) {
    if (has(layer)) set(layer);
  }
  return true;
}

// The fewest of what layers that have it have.
template <class Count>
std::int64_t least_of(const ModelSpec& spec, LayerTest has, Count count) {
  std::int64_t least = 1 << 20;
  for (const LayerSpec& layer : spec.layers) {
    if (has(layer)) least = std::min(least, count(layer));
  }
  return least;
}

}  // namespace rowmax::engine
