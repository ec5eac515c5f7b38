// No memory while a model's name becomes a file: every allocation fails once, and the call says kOutOfMemory.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "apps/store/digest.h"
#include "apps/store/hub_cache.h"
#include "apps/store/hub_listing.h"
#include "apps/store/hub_name.h"
#include "apps/store/model_catalog.h"
#include "tests/memory/test_failing_memory.h"

namespace rowmax::memory_test {
namespace {

namespace fs = std::filesystem;

const std::string kCommit(40, 'a'), kDigest(64, 'b');

std::string listing_json() {
  std::string json = R"({"sha": ")" + kCommit + R"(", "siblings": [)";
  for (int part = 1; part <= 3; ++part) {
    if (part > 1) json += ", ";
    json += R"({"rfilename": "m-0000)" + std::to_string(part) + R"(-of-00003.gguf", "size": 10, "lfs": {"sha256": ")" +
            kDigest + R"(", "size": 10}, "blobId": ")" + kCommit + R"("})";
  }
  return json + "]}";
}

class StoreOutOfMemory : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "rowmax_memory_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST_F(StoreOutOfMemory, Names) {
  fail_each_allocation("parse_hub_name", [](Fault& fault) -> Result<std::string> {
    const auto name = fault.during([] {
      return store::parse_hub_name("hf:some-owner/a-repository-of-theirs@some-branch/folder/model-file.gguf");
    });
    if (!name.ok()) return name.error();
    return store::to_string(*name);
  });
}

TEST_F(StoreOutOfMemory, Listings) {
  const std::string json = listing_json();
  const std::string source = "the listing of a repository";
  const auto name = store::parse_hub_name("hf:owner/repository/m-00001-of-00003.gguf");
  ASSERT_TRUE(name.ok());
  fail_each_allocation("parse_listing, choose_files", [&](Fault& fault) -> Result<std::string> {
    const auto files = fault.during([&]() -> Result<std::vector<store::HubFile>> {
      auto listing = store::parse_listing(json, source);
      if (!listing.ok()) return std::move(listing).error();
      return store::choose_files(*listing, *name);
    });
    if (!files.ok()) return files.error();
    std::string text;
    for (const store::HubFile& file : *files) text += file.path + file.digest + std::to_string(file.bytes);
    return text;
  });
}

TEST_F(StoreOutOfMemory, FilesInTheCache) {
  const auto name = store::parse_hub_name("hf:owner/repository");
  ASSERT_TRUE(name.ok());
  const store::HubPaths paths = store::hub_paths(folder_.string(), "owner/repository", kCommit, "m.gguf", kDigest);
  fs::create_directories(fs::path(paths.blob).parent_path());
  std::ofstream(paths.blob) << "GGUF";
  const std::string cache = folder_.string();
  fail_each_allocation("link_snapshot, cached_hub_file", [&](Fault& fault) -> Result<std::string> {
    fs::remove_all(fs::path(paths.folder) / "snapshots");
    fs::remove_all(fs::path(paths.folder) / "refs");
    return fault.during([&]() -> Result<std::string> {
      if (Status linked = store::link_snapshot(paths, *name, kCommit); !linked.ok()) return linked.error();
      auto path = store::cached_hub_file(cache, *name);
      if (!path.ok()) return path;
      auto digest = store::linked_digest(*path);
      if (!digest.ok()) return digest;
      return digest;
    });
  });
}

TEST_F(StoreOutOfMemory, NamesOfModels) {
  const std::string name = "hf:an-owner/a-repository-that-is-not-there";
  fail_each_allocation("resolve_model", [&](Fault& fault) -> Result<std::string> {
    const auto found = fault.during([&] { return store::resolve_model(name); });
    if (found.ok()) return *found;
    if (found.error().code == ErrorCode::kNotFound) return found.error().message;
    return found.error();
  });
}

TEST_F(StoreOutOfMemory, Checksums) {
  if (!store::can_download()) GTEST_SKIP() << "built without libcrypto";
  const std::string path = (folder_ / "file").string();
  std::ofstream(path) << "abc";
  fail_each_allocation("file_digest", [&](Fault& fault) -> Result<std::string> {
    return fault.during([&] { return store::file_digest(path, store::DigestKind::kSha256); });
  });
}

}  // namespace
}  // namespace rowmax::memory_test
