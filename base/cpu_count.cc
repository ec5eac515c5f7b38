#include "base/cpu_count.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <set>
#include <string_view>
#include <utility>

namespace rowmax::base {
namespace {

int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
  std::set<std::pair<int, int>> cores;
  int logical = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    ++logical;
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    int package = -1, core = -1;
    std::ifstream(folder + "physical_package_id") >> package;
    std::ifstream(folder + "core_id") >> core;
    if (core >= 0) cores.emplace(package, core);
  }
  if (!cores.empty()) return static_cast<int>(cores.size());
  return logical > 0 ? logical : 1;
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

}  // namespace

std::optional<double> cpu_quota(const SystemFiles& files) {
  std::optional<double> quota;
  for_own_groups(files, "cpu",
                 [&](const std::string& folder, bool version_2) { quota = least(quota, quota_of(folder, version_2)); });
  return quota;
}

int usable_cores() {
  const int cores = physical_cores();
  const std::optional<double> quota = cpu_quota();
  if (!quota || *quota >= cores) return cores;
  return std::max(1, static_cast<int>(std::ceil(*quota)));
}

}  // namespace rowmax::base
