#include "base/folder_names.h"

#include <dirent.h>

#include <memory>
#include <string_view>

namespace rowmax::base {
namespace {

struct Close {
  void operator()(DIR* folder) const noexcept { ::closedir(folder); }
};

}  // namespace

std::vector<std::string> names_in_folder(const std::string& folder) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, Close> entries(::opendir(folder.empty() ? "." : folder.c_str()));
  while (const dirent* entry = entries != nullptr ? ::readdir(entries.get()) : nullptr) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

}  // namespace rowmax::base
