// How many threads are worth starting.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "base/control_groups.h"

namespace rowmax::base {

// Physical cores among the CPUs this process may run on (siblings of one core only compete for its vector units), at
// most as many as the control group's quota of processor time, rounded up. At least 1.
int usable_cores();

// Cores that the CPUs belong to, at least 1: siblings name the same list of siblings, whatever else repeats from package to
// package or die to die (core_id does). system: where the system describes CPUs, as /sys/devices/system/cpu
// (Documentation/admin-guide/cputopology.rst).
int physical_cores(std::span<const int> cpus, const std::string& system);

// The quota of the control groups that hold this process, in CPUs, the least of the group's and its ancestors'
// (version 2: cpu.max; version 1: cpu.cfs_quota_us and cpu.cfs_period_us). nullopt where there is none.
std::optional<double> cpu_quota(const SystemFiles& files = {});

}  // namespace rowmax::base
