#include "base/cpu_count.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <set>
#include <string_view>
#include <vector>

namespace rowmax::base {
namespace {

// The CPUs this process may run on. Masks are as long as the kernel's (a machine may have more than CPU_SETSIZE CPUs).
std::vector<int> allowed_cpus() {
  for (int n_cpus = CPU_SETSIZE; n_cpus <= 1 << 20; n_cpus *= 2) {
    cpu_set_t* mask = CPU_ALLOC(n_cpus);
    if (mask == nullptr) return {};
    const std::size_t n_bytes = CPU_ALLOC_SIZE(n_cpus);
    CPU_ZERO_S(n_bytes, mask);
    const bool fits = sched_getaffinity(0, n_bytes, mask) == 0;
    std::vector<int> cpus;
    for (int cpu = 0; fits && cpu < n_cpus; ++cpu) {
      if (CPU_ISSET_S(cpu, n_bytes, mask)) cpus.push_back(cpu);
    }
    CPU_FREE(mask);
    if (fits) return cpus;
  }
  return {};
}

std::optional<double> number_in(std::string_view text) {
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || !(value > 0)) return std::nullopt;
  return value;
}

std::string first_word(const std::string& path, std::string* second = nullptr) {
  std::ifstream file(path);
  std::string word, next;
  file >> word >> next;
  if (second != nullptr) *second = next;
  return word;
}

// One group's own quota; folder: where its files lie.
std::optional<double> quota_of(const std::string& folder, bool version_2) {
  std::string period_text;
  std::string quota_text;
  if (version_2) {
    quota_text = first_word(folder + "/cpu.max", &period_text);
  } else {
    quota_text = first_word(folder + "/cpu.cfs_quota_us");
    period_text = first_word(folder + "/cpu.cfs_period_us");
  }
  const std::optional<double> quota = number_in(quota_text);  // "max" and -1: none
  const std::optional<double> period = number_in(period_text);
  if (!quota || !period) return std::nullopt;
  return *quota / *period;
}

std::optional<double> least(std::optional<double> a, std::optional<double> b) {
  if (!a) return b;
  return b ? std::min(*a, *b) : a;
}

// "cpu,cpuacct" names the controller cpu.
bool names_cpu(std::string_view controllers) {
  while (!controllers.empty()) {
    const std::size_t comma = std::min(controllers.find(','), controllers.size());
    if (controllers.substr(0, comma) == "cpu") return true;
    controllers.remove_prefix(std::min(comma + 1, controllers.size()));
  }
  return false;
}

}  // namespace

std::optional<double> cpu_quota(const std::string& own_groups, const std::string& mount) {
  std::optional<double> quota;
  std::ifstream groups(own_groups);
  // Lines "id:controllers:path"; version 2 has the id 0 and no controllers.
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool version_2 = controllers.empty();
    if (!version_2 && !names_cpu(controllers)) continue;
    const std::string root = version_2 ? mount : mount + "/" + controllers;
    std::string path = line.substr(second + 1);
    for (;;) {
      if (path == "/") path.clear();
      quota = least(quota, quota_of(root + path, version_2));
      if (path.empty()) break;
      path.resize(path.find_last_of('/') == std::string::npos ? 0 : path.find_last_of('/'));
    }
  }
  return quota;
}

int physical_cores(std::span<const int> cpus, const std::string& system) {
  std::set<std::string> cores;
  for (const int cpu : cpus) {
    const std::string folder = system + "/cpu" + std::to_string(cpu) + "/topology/";
    std::string siblings = first_word(folder + "core_cpus_list");
    if (siblings.empty()) siblings = first_word(folder + "thread_siblings_list");  // before Linux 5.3
    // A CPU that the system says nothing of is a core of its own.
    cores.insert(siblings.empty() ? std::to_string(cpu) : siblings);
  }
  return static_cast<int>(std::max<std::size_t>(1, cores.size()));
}

int usable_cores() {
  const int cores = physical_cores(allowed_cpus(), "/sys/devices/system/cpu");
  const std::optional<double> quota = cpu_quota("/proc/self/cgroup", "/sys/fs/cgroup");
  if (!quota || *quota >= cores) return cores;
  return std::max(1, static_cast<int>(std::ceil(*quota)));
}

}  // namespace rowmax::base
