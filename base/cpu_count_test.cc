#include "base/cpu_count.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace rowmax::base {
namespace {

namespace fs = std::filesystem;

// A tree of control groups as the kernel shows it (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/ and
// scheduler/sched-bwc.rst).
class CpuQuota : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(::testing::TempDir()) /
            ("cgroup_" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const std::string& name, const std::string& text) {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }
  std::optional<double> quota() { return cpu_quota({.own_groups = root_ / "own", .mount = root_ / "mount"}); }

  fs::path root_;
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

TEST(UsableCores, AtLeastOne) { EXPECT_GE(usable_cores(), 1); }

}  // namespace
}  // namespace rowmax::base
