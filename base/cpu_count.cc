#include "base/cpu_count.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cmath>
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

// The first word of a file's first line; second: what follows it.
std::string first_word(const std::string& path, std::string* second = nullptr) {
  const std::string text = read_system_file(path);
  std::string_view rest = text;
  const std::string_view line = next_line(rest).value_or("");
  const std::size_t end = std::min(line.find(' '), line.size());
  if (second != nullptr) *second = line.substr(std::min(end + 1, line.size()));
  return std::string(line.substr(0, end));
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

}  // namespace

std::optional<double> cpu_quota(const SystemFiles& files) {
  std::optional<double> quota;
  for_own_groups(files, "cpu",
                 [&](const std::string& folder, bool version_2) { quota = least(quota, quota_of(folder, version_2)); });
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
  const std::optional<double> quota = cpu_quota();
  if (!quota || *quota >= cores) return cores;
  return std::max(1, static_cast<int>(std::ceil(*quota)));
}

}  // namespace rowmax::base
