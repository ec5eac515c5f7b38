// Items of the matcher, and two tables that find them. Their hashes are keyed (base/seeded_hash.h): a grammar is somebody
// else's.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace rowmax::engine::grammar {

// A place in a rule, and what is behind the rule.
struct Item {
  std::uint32_t state = 0;
  std::uint32_t need = 0, left = 0;  // of the counted repetition it is in; left may be kUnbounded
  std::uint32_t frame = 0;
  auto operator<=>(const Item&) const = default;
};

// A set that is emptied often.
class ItemSet {
 public:
  ItemSet();
  bool insert(const Item& item, bool mark);  // false: it was there
  void clear();
  std::size_t size() const { return size_; }

 private:
  struct Slot {
    Item item;
    std::uint32_t stamp = 0;  // of the last use; the mark is its lowest bit
  };
  std::size_t place(const Item& item, bool mark) const;
  void grow();

  std::vector<Slot> slots_;
  std::size_t size_ = 0;
  std::uint32_t stamp_ = 2;
  std::uint64_t key_[3] = {};
};

// Numbers of lists of items, by their content. The caller keeps the lists.
class NumberTable {
 public:
  NumberTable();
  static std::uint64_t hash(std::span<const Item> items, bool mark);
  // The number for which same(number) holds, or `fresh`, which is then remembered.
  template <class Same>
  std::uint32_t find_or_add(std::uint64_t hash, std::uint32_t fresh, Same&& same) {
    if ((size_ + 1) * 2 > slots_.size()) grow();
    for (std::size_t i = hash & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
      if (slots_[i].number == kFree) {
        slots_[i] = {hash, fresh};
        ++size_;
        return fresh;
      }
      if (slots_[i].hash == hash && same(slots_[i].number)) return slots_[i].number;
    }
  }
  void clear();
  std::size_t bytes() const { return slots_.size() * sizeof(Slot); }

 private:
  static constexpr std::uint32_t kFree = 0xFFFFFFFF;
  struct Slot {
    std::uint64_t hash = 0;
    std::uint32_t number = kFree;
  };
  void grow();

  std::vector<Slot> slots_;
  std::size_t size_ = 0;
};

}  // namespace rowmax::engine::grammar
