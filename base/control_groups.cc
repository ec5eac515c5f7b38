#include "base/control_groups.h"

#include <algorithm>
#include <fstream>

namespace rowmax::base {
namespace {

// "cpu,cpuacct" names the controller cpu.
bool names(std::string_view controllers, std::string_view controller) {
  while (!controllers.empty()) {
    const std::size_t comma = std::min(controllers.find(','), controllers.size());
    if (controllers.substr(0, comma) == controller) return true;
    controllers.remove_prefix(std::min(comma + 1, controllers.size()));
  }
  return false;
}

}  // namespace

void for_own_groups(const SystemFiles& files, std::string_view controller,
                    const std::function<void(const std::string& folder, bool version_2)>& use) {
  std::ifstream groups(files.own_groups);
  // Lines "id:controllers:path"; version 2 has the id 0 and no controllers.
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool version_2 = controllers.empty();
    if (!version_2 && !names(controllers, controller)) continue;
    const std::string root = version_2 ? files.mount : files.mount + "/" + controllers;
    std::string path = line.substr(second + 1);
    for (;;) {
      if (path == "/") path.clear();
      use(root + path, version_2);
      if (path.empty()) break;
      path.resize(path.find_last_of('/') == std::string::npos ? 0 : path.find_last_of('/'));
    }
  }
}

}  // namespace rowmax::base
