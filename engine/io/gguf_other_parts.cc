#include "engine/io/gguf_other_parts.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>
#include <variant>

#include "base/folder_names.h"
#include "engine/io/gguf_parse.h"
#include "engine/io/gguf_split.h"
#include "engine/io/mapped_file.h"
#include "engine/io/text.h"

namespace rowmax::engine {
namespace {

constexpr std::size_t kTailBytes = std::string_view("-00000-of-00000.gguf").size();

bool says(const GgufContent& content, std::string_view key, std::uint64_t number) {
  const GgufValue* found = find_key(content, key);
  if (found == nullptr) return false;
  if (const auto* value = std::get_if<std::uint64_t>(&found->value)) return *value == number;
  const auto* value = std::get_if<std::int64_t>(&found->value);
  return value != nullptr && *value >= 0 && static_cast<std::uint64_t>(*value) == number;
}

bool is_part(const std::string& path, const PartNumbers& numbers) {
  if (numbers.part < 1 || numbers.part > numbers.count) return false;
  struct stat named = {};
  if (::lstat(path.c_str(), &named) != 0 || !S_ISREG(named.st_mode)) return false;
  auto map = MappedFile::open(path);
  if (!map.ok() || !map->watch().ok()) return false;
  const auto content = parse_gguf(map->bytes(), path, {});
  return content.ok() && map->check_intact().ok() && says(*content, "split.no", numbers.part - 1) &&
         says(*content, "split.count", numbers.count);
}

}  // namespace

OtherParts find_other_parts(std::string_view prefix, std::uint64_t count) {
  const std::filesystem::path folder = std::filesystem::path(prefix).parent_path();
  const std::string name = std::filesystem::path(prefix).filename().string();
  OtherParts out;
  for (const std::string& found : base::names_in_folder(folder.string())) {
    if (!found.starts_with(name)) continue;
    const auto numbers = part_numbers(std::string_view(found).substr(name.size()));
    if (!numbers || found.size() != name.size() + kTailBytes || numbers->count == count) continue;
    std::string path = (folder / found).string();
    (is_part(path, *numbers) ? out.parts : out.unlike).push_back(std::move(path));
  }
  std::ranges::sort(out.parts);
  std::ranges::sort(out.unlike);
  return out;
}

Status remove_other_part(const std::string& path) {
  const auto numbers = part_numbers(path);
  if (!numbers || !is_part(path, *numbers)) return {};
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  return Error{ErrorCode::kIo, concat(path, ": cannot remove: ", std::generic_category().message(errno))};
}

}  // namespace rowmax::engine
