#include "base/control_groups.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

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

std::string read_system_file(const std::string& path) {
  constexpr std::size_t kMost = std::size_t{1} << 20;
  struct Closed {
    int fd;
    ~Closed() {
      if (fd >= 0) ::close(fd);
    }
  };
  const Closed file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  std::string text;
  char part[4096];
  for (ssize_t n = 0; file.fd >= 0 && text.size() < kMost && (n = ::read(file.fd, part, sizeof part)) > 0;) {
    text.append(part, static_cast<std::size_t>(n));
  }
  return text;
}

std::optional<std::string_view> next_line(std::string_view& text) {
  if (text.empty()) return std::nullopt;
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

void for_own_groups(const SystemFiles& files, std::string_view controller,
                    const std::function<void(const std::string& folder, bool version_2)>& use) {
  const std::string groups = read_system_file(files.own_groups);
  std::string_view rest = groups;
  // Lines "id:controllers:path"; version 2 has the id 0 and no controllers.
  while (const std::optional<std::string_view> line = next_line(rest)) {
    const std::size_t first = line->find(':');
    const std::size_t second = line->find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers(line->substr(first + 1, second - first - 1));
    const bool version_2 = controllers.empty();
    if (!version_2 && !names(controllers, controller)) continue;
    const std::string root = version_2 ? files.mount : files.mount + "/" + controllers;
    std::string path(line->substr(second + 1));
    for (;;) {
      if (path == "/") path.clear();
      use(root + path, version_2);
      if (path.empty()) break;
      path.resize(path.find_last_of('/') == std::string::npos ? 0 : path.find_last_of('/'));
    }
  }
}

}  // namespace rowmax::base
