// A file that loses its bytes while it is mapped.
#include "engine/io/fault_guard.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "engine/io/mapped_file.h"
#include "rowmax/engine/gguf.h"

namespace rowmax::engine {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kFloats = 1 << 18;  // many pages of any size

class FaultGuard : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "rowmax_fault_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    std::vector<std::byte> ones(4 * kFloats, std::byte{0x3F});
    GgufWriter writer;
    writer.set_string("general.architecture", "llama");
    writer.add_tensor("w", 0, {kFloats}, std::move(ones));
    ASSERT_TRUE(writer.write(path()).ok());
    ASSERT_TRUE(guard_mapped_files().ok());
    ASSERT_TRUE(guard_mapped_files().ok());  // once is enough
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path() const { return (folder_ / "m.gguf").string(); }
  fs::path folder_;
};

TEST_F(FaultGuard, WhatIsGoneReadsAsZerosAndIsTold) {
  auto file = GgufFile::open(path());
  ASSERT_TRUE(file.ok()) << file.error().message;
  const auto data = file->find_tensor("w")->data;
  EXPECT_EQ(data.back(), std::byte{0x3F});
  EXPECT_TRUE(file->check_intact().ok());
  fs::resize_file(path(), fs::file_size(path()) / 2);
  EXPECT_EQ(data.back(), std::byte{0});
  EXPECT_EQ(data.front(), std::byte{0x3F});
  // Its old length back does not make it whole again.
  fs::resize_file(path(), fs::file_size(path()) * 2);
  const Status status = file->check_intact();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(status.error().message.find(path() + ": the file was truncated or replaced"), std::string::npos);
  // Another map of the same file knows nothing of it, moved or not.
  auto other = GgufFile::open(path());
  ASSERT_TRUE(other.ok()) << other.error().message;
  const GgufFile moved = std::move(*other);
  EXPECT_TRUE(moved.check_intact().ok());
}

TEST_F(FaultGuard, ACutInsideTheLastPageIsToldToo) {
  const auto file = GgufFile::open(path());
  ASSERT_TRUE(file.ok());
  fs::resize_file(path(), fs::file_size(path()) - 1);
  EXPECT_FALSE(file->check_intact().ok());
}

TEST_F(FaultGuard, FilesNobodyWatchesFaultAsBefore) {
  const auto die = [&] {
    const auto map = MappedFile::open(path());
    fs::resize_file(path(), 1);
    const volatile std::byte* last = &map->bytes().back();
    static_cast<void>(*last);
  };
  EXPECT_DEATH(die(), "");  // by SIGBUS, or by the sanitizer that catches it
}

TEST_F(FaultGuard, PlacesAreUsedAgain) {
  const std::byte bytes[1] = {};
  WatchedRange* first = watch_range(bytes, 1);
  unwatch_range(*first);
  EXPECT_EQ(watch_range(bytes, 1), first);
  WatchedRange* second = watch_range(bytes, 1);
  EXPECT_NE(second, first);
  EXPECT_FALSE(was_damaged(*second));
  unwatch_range(*second);
  unwatch_range(*first);
}

}  // namespace
}  // namespace rowmax::engine
