#include "apps/store/file_list.h"

#include <dirent.h>
#include <sys/stat.h>

#include <memory>
#include <string_view>
#include <utility>

namespace rowmax::store {
namespace {

struct Close {
  void operator()(DIR* folder) const noexcept { closedir(folder); }
};

constexpr int kMaxDepth = 16;

}  // namespace

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, Close> entries(opendir(folder.c_str()));
  while (const dirent* entry = entries != nullptr ? readdir(entries.get()) : nullptr) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

std::vector<std::string> files_below(const std::string& folder) {
  std::vector<std::string> files;
  std::vector<std::pair<std::string, int>> left;
  left.emplace_back(folder, 0);
  while (!left.empty()) {
    const auto [path, depth] = std::move(left.back());
    left.pop_back();
    for (const std::string& name : names_in(path)) {
      std::string below = path + "/" + name;
      struct stat facts = {};
      if (lstat(below.c_str(), &facts) != 0) continue;
      if (S_ISDIR(facts.st_mode)) {
        if (depth < kMaxDepth) left.emplace_back(std::move(below), depth + 1);
        continue;
      }
      if (S_ISLNK(facts.st_mode) && stat(below.c_str(), &facts) != 0) continue;
      if (S_ISREG(facts.st_mode)) files.push_back(std::move(below));
    }
  }
  return files;
}

}  // namespace rowmax::store
