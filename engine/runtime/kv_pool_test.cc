#include "engine/runtime/kv_pool.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <set>
#include <vector>

namespace rowmax::engine::kv_pool_test {
namespace {

constexpr std::int64_t kKiB = 1024;

// How many pages of the system hold memory, as the system itself says.
std::int64_t resident(const std::byte* begin, std::int64_t n_bytes) {
  const auto os_page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> there((static_cast<std::size_t>(n_bytes) + os_page - 1) / os_page);
  EXPECT_EQ(mincore(const_cast<std::byte*>(begin), static_cast<std::size_t>(n_bytes), there.data()), 0);
  std::int64_t n = 0;
  for (const unsigned char page : there) n += page & 1;
  return n * static_cast<std::int64_t>(os_page);
}

TEST(KvPool, TakesNoMoreThanItsBudgetAndItsPages) {
  auto made = KvPool::create({{8 * kKiB, 4}, {16 * kKiB, 4}}, 40 * kKiB);
  ASSERT_TRUE(made.ok());
  KvPool pool = std::move(*made);
  std::set<std::int32_t> taken;
  for (int i = 0; i < 4; ++i) taken.insert(pool.take(0));
  EXPECT_EQ(taken.size(), 4u);
  EXPECT_FALSE(taken.contains(-1));
  EXPECT_EQ(pool.take(0), -1);  // no page, though 8 KiB are left
  EXPECT_EQ(pool.take(1), -1);  // 16 KiB are not
  EXPECT_EQ(pool.used_bytes(), 32 * kKiB);
  pool.give_back(0, 2);
  EXPECT_GE(pool.take(1), 0);
  EXPECT_EQ(pool.used_bytes(), 40 * kKiB);
  EXPECT_EQ(pool.take(0), -1);
}

TEST(KvPool, APageThatIsGivenBackServesItsGroupAsItIsAndItsMemoryTheOthers) {
  auto made = KvPool::create({{64 * kKiB, 8}, {64 * kKiB, 8}}, 4 * 64 * kKiB);
  ASSERT_TRUE(made.ok());
  KvPool& pool = *made;
  const auto fill = [&](std::size_t group, std::int32_t page) {
    std::memset(pool.pages(group) + page * pool.page_bytes(group), 1, static_cast<std::size_t>(pool.page_bytes(group)));
  };
  const auto resident_of = [&](std::size_t group) { return resident(pool.pages(group), 8 * 64 * kKiB); };
  EXPECT_EQ(resident_of(0), 0);
  std::vector<std::int32_t> first;
  for (int i = 0; i < 4; ++i) {
    first.push_back(pool.take(0));
    fill(0, first.back());
  }
  EXPECT_EQ(resident_of(0), 4 * 64 * kKiB);
  pool.give_back(0, first[1]);
  EXPECT_EQ(pool.take(0), first[1]);
  for (const std::int32_t page : first) pool.give_back(0, page);
  EXPECT_EQ(pool.used_bytes(), 0);
  EXPECT_EQ(pool.resident_bytes(), 4 * 64 * kKiB);
  for (int i = 0; i < 3; ++i) fill(1, pool.take(1));
  EXPECT_EQ(resident_of(1), 3 * 64 * kKiB);
  EXPECT_EQ(resident_of(0), 1 * 64 * kKiB);
  EXPECT_EQ(pool.resident_bytes(), 4 * 64 * kKiB);
}

TEST(KvPool, RefusesWhatNoAddressSpaceHolds) {
  auto made = KvPool::create({{std::int64_t{1} << 40, std::int64_t{1} << 30}}, std::int64_t{1} << 62);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, ErrorCode::kLimit);
}

}  // namespace
}  // namespace rowmax::engine::kv_pool_test
