#include "base/cpu_count.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "base/test_system_files.h"

namespace rowmax::base {
namespace {

// Control groups (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/ and scheduler/sched-bwc.rst).
class CpuQuota : public SystemFilesTest {
 protected:
  std::optional<double> quota() { return cpu_quota({.own_groups = root_ / "own", .mount = root_ / "mount"}); }
};

TEST_F(CpuQuota, Version2TakesTheLeastOfTheGroupAndItsAncestors) {
  write("own", "0::/user/job\n");
  write("mount/user/job/cpu.max", "400000 100000\n");
  EXPECT_EQ(quota(), 4.0);
  write("mount/user/cpu.max", "150000 100000\n");
  EXPECT_EQ(quota(), 1.5);
  write("mount/cpu.max", "20000 40000\n");
  EXPECT_EQ(quota(), 0.5);
}

TEST_F(CpuQuota, Version2WithoutALimit) {
  write("own", "0::/\n");
  EXPECT_EQ(quota(), std::nullopt);
  write("mount/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), std::nullopt);
}

TEST_F(CpuQuota, InsideAContainerTheGroupIsTheMount) {
  write("own", "0::/\n");
  write("mount/cpu.max", "250000 100000\n");
  EXPECT_EQ(quota(), 2.5);
}

TEST_F(CpuQuota, Version1ReadsTheControllerCpuOnly) {
  write("own", "5:memory:/a\n4:cpu,cpuacct:/docker/x\n3:cpuset:/b\n");
  write("mount/cpu,cpuacct/docker/x/cpu.cfs_quota_us", "300000\n");
  write("mount/cpu,cpuacct/docker/x/cpu.cfs_period_us", "100000\n");
  write("mount/cpuset/b/cpu.cfs_quota_us", "1000\n");
  write("mount/cpuset/b/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 3.0);
  write("mount/cpu,cpuacct/docker/x/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(quota(), std::nullopt);
}

TEST_F(CpuQuota, NonsenseIsNoLimit) {
  EXPECT_EQ(quota(), std::nullopt);  // no such file
  write("own", "garbage\n0:\n:::\n0::relative\n");
  write("mount/cpu.max", "-5 0\n");
  write("mountrelative/cpu.max", "x\n");
  EXPECT_EQ(quota(), std::nullopt);
}

// CPUs (Documentation/admin-guide/cputopology.rst).
class PhysicalCores : public SystemFilesTest {
 protected:
  // A machine whose every package has n_cores of n_threads each. Linux numbers the first thread of every core, then the
  // second ones.
  void machine(int n_packages, int n_cores, int n_threads, const std::string& list = "core_cpus_list") {
    const int n_all = n_packages * n_cores;
    for (int cpu = 0; cpu < n_all * n_threads; ++cpu) {
      const std::string topology = "cpu" + std::to_string(cpu) + "/topology/";
      const int core = cpu % n_all;
      std::string siblings = std::to_string(core);
      for (int thread = 1; thread < n_threads; ++thread) siblings += "," + std::to_string(core + thread * n_all);
      write(topology + "core_id", std::to_string(core % n_cores) + "\n");
      write(topology + "physical_package_id", std::to_string(core / n_cores) + "\n");
      write(topology + list, siblings + "\n");
    }
  }
  int cores(int first, int end) {
    std::vector<int> cpus(static_cast<std::size_t>(end - first));
    std::iota(cpus.begin(), cpus.end(), first);
    return physical_cores(cpus, root_.string());
  }
};

TEST_F(PhysicalCores, SiblingsCountOnceOnTwoNodesOf96CoresWithTwoThreads) {
  machine(2, 96, 2);
  EXPECT_EQ(cores(0, 384), 192);
  EXPECT_EQ(cores(0, 96), 96);     // taskset to one node, first threads
  EXPECT_EQ(cores(96, 288), 192);  // the other node's first threads and the first node's second
  EXPECT_EQ(cores(191, 193), 2);   // the last core and the first one's second thread
}

TEST_F(PhysicalCores, MoreCpusThanAMaskOfTheLibraryHolds) {
  machine(4, 160, 2);
  EXPECT_EQ(cores(0, 1280), 640);
}

TEST_F(PhysicalCores, FourThreadsACoreAndNone) {
  machine(1, 8, 4, "thread_siblings_list");
  EXPECT_EQ(cores(0, 32), 8);
  EXPECT_EQ(cores(32, 34), 2);  // not described
  EXPECT_EQ(physical_cores({}, root_.string()), 1);
}

// A die of a package may number its cores as the other one does; only the lists of siblings differ.
TEST_F(PhysicalCores, NumbersThatRepeatFromDieToDie) {
  for (int cpu = 0; cpu < 4; ++cpu) {
    const std::string topology = "cpu" + std::to_string(cpu) + "/topology/";
    write(topology + "core_id", std::to_string(cpu % 2) + "\n");
    write(topology + "physical_package_id", "0\n");
    write(topology + "die_id", std::to_string(cpu / 2) + "\n");
    write(topology + "core_cpus_list", std::to_string(cpu) + "\n");
  }
  EXPECT_EQ(cores(0, 4), 4);
}

TEST(UsableCores, AtLeastOne) { EXPECT_GE(usable_cores(), 1); }

}  // namespace
}  // namespace rowmax::base
