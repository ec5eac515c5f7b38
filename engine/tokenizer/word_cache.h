// The tokens of words already seen in one call of encode: texts repeat their words, and a look here is several times
// faster than merging. Direct-mapped and bounded; a clash only costs the merging again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace rowmax::engine {

class WordCache {
 public:
  struct Entry {
    std::string_view word;  // into the text being encoded; empty when free
    std::size_t begin = 0;  // where its ids lie in the result so far
    std::size_t n_ids = 0;
  };
  explicit WordCache(std::size_t text_bytes) : entries_(text_bytes < kSmallText ? kFewEntries : kEntries) {}

  // The entry for the word (it may hold another one), or nullptr when the word is too long to be kept.
  Entry* find(std::string_view word) noexcept {
    if (word.size() > kMaxWord) return nullptr;
    std::uint64_t hash = word.size() * 0x9E3779B97F4A7C15u;
    for (std::size_t at = 0; at < word.size(); at += 8) {
      std::uint64_t block = 0;
      std::memcpy(&block, word.data() + at, word.size() - at < 8 ? word.size() - at : 8);
      hash = (hash ^ block) * 0xD6E8FEB86659FD93u;
      hash ^= hash >> 32;
    }
    return &entries_[hash & (entries_.size() - 1)];
  }

 private:
  static constexpr std::size_t kSmallText = 4096;
  static constexpr std::size_t kFewEntries = 128;
  static constexpr std::size_t kEntries = 8192;
  static constexpr std::size_t kMaxWord = 48;
  std::vector<Entry> entries_;  // a power of two
};

}  // namespace rowmax::engine
