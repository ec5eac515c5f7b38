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

std::vector<std::string> files_below(const std::string& folder) {
  std::vector<std::string> files;
  std::vector<std::pair<std::string, int>> left;
  left.emplace_back(folder, 0);
  while (!left.empty()) {
    const auto [path, depth] = std::move(left.back());
    left.pop_back();
    const std::unique_ptr<DIR, Close> entries(opendir(path.c_str()));
    if (entries == nullptr) continue;
    while (const dirent* entry = readdir(entries.get())) {
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      std::string below = path + "/" + entry->d_name;
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
