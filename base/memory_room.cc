#include "base/memory_room.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>

namespace rowmax::base {
namespace {

using Amount = std::optional<std::int64_t>;

Amount least(Amount a, Amount b) {
  if (!a) return b;
  return b ? std::min(*a, *b) : a;
}

Amount number_in(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

Amount number_in_file(const std::string& path) {
  const std::string text = read_system_file(path);
  std::string_view rest = text;
  return number_in(next_line(rest).value_or(""));  // "max": none
}

// Of lines "name number ...".
Amount number_behind(const std::string& path, std::string_view name) {
  const std::string text = read_system_file(path);
  std::string_view rest = text;
  while (const std::optional<std::string_view> line = next_line(rest)) {
    if (!line->starts_with(name) || line->size() == name.size()) continue;
    const std::size_t begin = line->find_first_not_of(' ', name.size());
    if (begin == std::string_view::npos || begin == name.size()) continue;
    return number_in(line->substr(begin, line->find(' ', begin) - begin));
  }
  return std::nullopt;
}

// What the limit of one group leaves; folder: where its files lie.
Amount room_in(const std::string& folder, bool version_2) {
  const Amount limit = number_in_file(folder + (version_2 ? "/memory.max" : "/memory.limit_in_bytes"));
  const Amount used = number_in_file(folder + (version_2 ? "/memory.current" : "/memory.usage_in_bytes"));
  if (!limit || !used) return std::nullopt;
  std::int64_t of_files = 0;  // which the kernel drops where it needs their room
  for (const std::string name : {"inactive_file", "active_file"}) {
    of_files += number_behind(folder + "/memory.stat", version_2 ? name : "total_" + name).value_or(0);
  }
  return std::max<std::int64_t>(0, *limit - std::max<std::int64_t>(0, *used - of_files));
}

}  // namespace

Amount memory_room(const SystemFiles& files) {
  Amount room = number_behind(files.meminfo, "MemAvailable:");
  if (room && __builtin_mul_overflow(*room, std::int64_t{1024}, &*room)) room = std::nullopt;  // kB
  for_own_groups(files, "memory",
                 [&](const std::string& folder, bool version_2) { room = least(room, room_in(folder, version_2)); });
  return room;
}

}  // namespace rowmax::base
