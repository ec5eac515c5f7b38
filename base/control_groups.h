// The control groups of this process, as the kernel shows them in files.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace rowmax::base {

// Where these files lie; tests have folders of their own.
struct SystemFiles {
  std::string own_groups = "/proc/self/cgroup";  // names the groups
  std::string mount = "/sys/fs/cgroup";
  std::string meminfo = "/proc/meminfo";
};

// The text of such a file, "" where it cannot be read. Not by a stream, which turns a lack of memory into an end of file.
std::string read_system_file(const std::string& path);
// Takes the next line off the text, without its end; nullopt where there is none.
std::optional<std::string_view> next_line(std::string_view& text);

// Calls use(folder, version_2) for the group that holds this process and for each of its ancestors, of version 2 and of
// version 1's `controller`.
void for_own_groups(const SystemFiles& files, std::string_view controller,
                    const std::function<void(const std::string& folder, bool version_2)>& use);

}  // namespace rowmax::base
