#include "engine/grammar/item_set.h"

#include <string_view>
#include <utility>

#include "base/seeded_hash.h"

namespace rowmax::engine::grammar {
namespace {

constexpr std::size_t kFirstSlots = 64;

}  // namespace

ItemSet::ItemSet() : slots_(kFirstSlots) {
  for (std::uint64_t i = 0; i < 3; ++i) key_[i] = base::seeded_hash(i) | 1;
}

std::size_t ItemSet::place(const Item& item, bool mark) const {
  const std::uint64_t a = (std::uint64_t{item.state} << 32 | item.frame) * key_[0];
  const std::uint64_t b = (std::uint64_t{item.need} << 32 | item.left) * key_[1];
  const std::uint64_t mixed = ((a ^ a >> 32) + (b ^ b >> 29) + mark) * key_[2];
  return (mixed >> 20) & (slots_.size() - 1);
}

bool ItemSet::insert(const Item& item, bool mark) {
  if ((size_ + 1) * 2 > slots_.size()) grow();
  std::size_t i = place(item, mark);
  const std::uint32_t stamp = stamp_ | static_cast<std::uint32_t>(mark);
  for (; (slots_[i].stamp | 1) == (stamp_ | 1); i = (i + 1) & (slots_.size() - 1)) {
    if (slots_[i].stamp == stamp && slots_[i].item == item) return false;
  }
  slots_[i] = {item, stamp};
  ++size_;
  return true;
}

void ItemSet::clear() {
  size_ = 0;
  stamp_ += 2;
  if (stamp_ == 0) {
    slots_.assign(slots_.size(), {});
    stamp_ = 2;
  }
}

void ItemSet::grow() {
  std::vector<Slot> before(slots_.size() * 2);
  std::swap(before, slots_);
  size_ = 0;
  const std::uint32_t stamp = stamp_;
  for (const Slot& slot : before) {
    if ((slot.stamp | 1) == (stamp | 1)) insert(slot.item, (slot.stamp & 1) != 0);
  }
}

NumberTable::NumberTable() : slots_(kFirstSlots) {}

std::uint64_t NumberTable::hash(std::span<const Item> items, bool mark) {
  // Never a null pointer, not even for no bytes.
  const char* const begin = items.empty() ? "" : reinterpret_cast<const char*>(items.data());
  return base::seeded_hash(std::string_view(begin, items.size_bytes())) ^ static_cast<std::uint64_t>(mark);
}

void NumberTable::clear() {
  slots_.assign(kFirstSlots, {});
  size_ = 0;
}

void NumberTable::grow() {
  std::vector<Slot> before(slots_.size() * 2);
  std::swap(before, slots_);
  for (const Slot& slot : before) {
    if (slot.number == kFree) continue;
    std::size_t i = slot.hash & (slots_.size() - 1);
    while (slots_[i].number != kFree) i = (i + 1) & (slots_.size() - 1);
    slots_[i] = slot;
  }
}

}  // namespace rowmax::engine::grammar
