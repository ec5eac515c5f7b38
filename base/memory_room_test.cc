#include "base/memory_room.h"

#include <gtest/gtest.h>

#include <optional>

#include "base/test_system_files.h"

namespace rowmax::base {
namespace {

// Files as the kernel shows them (Documentation/filesystems/proc.rst, admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst).
class MemoryRoom : public SystemFilesTest {
 protected:
  void write_machine() {
    write("meminfo", "MemTotal:       24000000 kB\nMemFree:         1000000 kB\nMemAvailable:    9000000 kB\n");
  }
  std::optional<std::int64_t> room() {
    return memory_room({.own_groups = root_ / "own", .mount = root_ / "mount", .meminfo = root_ / "meminfo"});
  }
};

constexpr std::int64_t kMachine = 9216000000;  // 9000000 kB

TEST_F(MemoryRoom, IsWhatTheMachineCallsAvailable) {
  write_machine();
  EXPECT_EQ(room(), kMachine);
}

TEST_F(MemoryRoom, Version2TakesTheLeastOfTheGroupAndItsAncestors) {
  write_machine();
  write("own", "0::/user/job\n");
  write("mount/user/job/memory.max", "8000000000\n");
  write("mount/user/job/memory.current", "3000000000\n");
  EXPECT_EQ(room(), 5000000000);
  write("mount/user/memory.max", "4000000000\n");
  write("mount/user/memory.current", "3900000000\n");
  EXPECT_EQ(room(), 100000000);
  write("mount/user/memory.max", "max\n");
  EXPECT_EQ(room(), 5000000000);
  write("mount/user/job/memory.max", "90000000000\n");
  EXPECT_EQ(room(), kMachine);
}

// Those of the model's own file, say, which the kernel drops for others.
TEST_F(MemoryRoom, PagesOfFilesAreRoom) {
  write_machine();
  write("own", "0::/\n");
  write("mount/memory.max", "8000000000\n");
  write("mount/memory.current", "7000000000\n");
  write("mount/memory.stat", "anon 1000\nfile 6000000000\ninactive_file 3500000000\nactive_file 1500000000\nshmem 7\n");
  EXPECT_EQ(room(), 6000000000);
  write("mount/memory.stat", "inactive_file 9000000000\n");  // counted a moment later
  EXPECT_EQ(room(), 8000000000);
}

TEST_F(MemoryRoom, AFullGroupHasNone) {
  write_machine();
  write("own", "0::/\n");
  write("mount/memory.max", "1000\n");
  write("mount/memory.current", "4096\n");
  EXPECT_EQ(room(), 0);
}

TEST_F(MemoryRoom, Version1ReadsTheControllerMemoryOnly) {
  write_machine();
  write("own", "5:memory:/docker/x\n4:cpu,cpuacct:/a\n0::/b\n");
  write("mount/memory/docker/x/memory.limit_in_bytes", "2000000000\n");
  write("mount/memory/docker/x/memory.usage_in_bytes", "1500000000\n");
  write("mount/memory/docker/x/memory.stat", "inactive_file 1\ntotal_inactive_file 250000000\n");
  write("mount/cpu,cpuacct/a/memory.limit_in_bytes", "10\n");
  write("mount/cpu,cpuacct/a/memory.usage_in_bytes", "10\n");
  EXPECT_EQ(room(), 750000000);
  write("mount/memory/docker/x/memory.limit_in_bytes", "9223372036854771712\n");  // none
  EXPECT_EQ(room(), kMachine);
}

TEST_F(MemoryRoom, WithoutTheMachinesWordAGroupsCounts) {
  write("own", "0::/\n");
  write("mount/memory.max", "5000\n");
  write("mount/memory.current", "1000\n");
  EXPECT_EQ(room(), 4000);
}

TEST_F(MemoryRoom, NonsenseIsNoWord) {
  EXPECT_EQ(room(), std::nullopt);  // no such files
  write("meminfo", "MemAvailable:\nMemAvailable: x kB\nMemAvailableX: 5 kB\n");
  write("own", "garbage\n0:\n:::\n0::relative\n");
  write("mount/memory.max", "-5\n");
  write("mount/memory.current", "12abc\n");
  EXPECT_EQ(room(), std::nullopt);
  write("meminfo", "MemAvailable: 9223372036854775807 kB\n");
  EXPECT_EQ(room(), std::nullopt);
}

TEST(MemoryRoomHere, IsSomething) { EXPECT_GT(memory_room().value_or(0), std::int64_t{1} << 20); }

}  // namespace
}  // namespace rowmax::base
