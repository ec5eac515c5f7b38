// A model is what its file says, and a damaged file is told from one that was cut.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "engine/quant/format.h"
#include "rowmax/engine/session.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine::loading_test {
namespace {

namespace fs = std::filesystem;

class Loading : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "rowmax_loading_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    ASSERT_TRUE(guard_mapped_files().ok());
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path() const { return (folder_ / "m.gguf").string(); }
  void write(const std::vector<std::byte>& bytes) const {
    std::ofstream file(path(), std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(file.good());
  }

 private:
  fs::path folder_;
};

std::vector<std::byte> model_bytes(const char* type, std::int64_t ff) {
  tools::SyntheticSpec spec;
  spec.type = type;
  spec.values = "ternary";
  spec.layers = 1;
  spec.embd = ff > 1000 ? 64 : 256;
  spec.ff = ff;
  auto bytes = tools::synthetic_model_bytes(spec);
  EXPECT_TRUE(bytes.ok()) << bytes.error().message;
  return std::move(bytes).value();
}

std::vector<float> logits_of(Result<Model> model, Executor& executor) {
  EXPECT_TRUE(model.ok()) << model.error().message;
  auto session = Session::create(*model, {}, executor);
  EXPECT_TRUE(session.ok()) << session.error().message;
  const std::vector<TokenId> tokens = {3, 1, 4, 1, 5};
  const BatchItem item{*session->open(), tokens, LogitsFor::kAll};
  EXPECT_TRUE(session->forward({&item, 1}).ok());
  std::vector<float> all;
  for (std::int64_t row = 0; row < session->n_logit_rows(); ++row) {
    all.insert(all.end(), session->logits(row).begin(), session->logits(row).end());
  }
  return all;
}

// Types with a scale behind the tensor, in front of the rows or in blocks, rows in groups, and matrices of several pieces
// (of 8 MiB: their bytes are given back one by one).
TEST_F(Loading, AFileAndItsBytesInMemoryAreOneModel) {
  struct Case {
    const char* type;
    std::int64_t ff;
  };
  for (const Case& c :
       {Case{"F32", 33024}, Case{"F16", 528}, Case{"Q6_K", 512}, Case{"I2_S", 640}, Case{"IQ2_BN_R4", 576}}) {
    const std::vector<std::byte> bytes = model_bytes(c.type, c.ff);
    write(bytes);
    SerialExecutor serial;
    const std::vector<float> wanted =
        logits_of(Model::load(std::move(GgufFile::parse(bytes, "memory")).value(), {}, serial), serial);
    for (const int threads : {1, 2}) {
      const auto pool = make_thread_pool(threads);
      ASSERT_TRUE(pool.ok());
      const std::vector<float> found = logits_of(Model::load(path(), {}, **pool), **pool);
      ASSERT_EQ(found.size(), wanted.size());
      EXPECT_EQ(std::memcmp(found.data(), wanted.data(), wanted.size() * sizeof(float)), 0) << c.type << " " << threads;
    }
  }
}

// Whoever finds it: the place is that in the tensor.
TEST_F(Loading, ADamagedRowHasItsNumberInTheTensor) {
  for (const char* type : {"F16", "Q6_K", "I2_S", "IQ2_BN_R4"}) {
    std::vector<std::byte> bytes = model_bytes(type, 640);
    const auto file = GgufFile::parse(bytes, path());
    ASSERT_TRUE(file.ok()) << file.error().message;
    const GgufTensor* up = file->find_tensor("blk.0.ffn_up.weight");
    ASSERT_NE(up, nullptr);
    const FormatInfo& format = *find_format(std::string_view(type));
    const auto row_bytes = static_cast<std::size_t>(format_row_bytes(format, 256));
    std::memset(bytes.data() + (up->data.data() - bytes.data()) + 36 * row_bytes, 0xFF,
                static_cast<std::size_t>(format.row_group) * row_bytes);
    write(bytes);
    const auto pool = make_thread_pool(2);
    ASSERT_TRUE(pool.ok());
    const auto in_memory = Model::load(std::move(GgufFile::parse(bytes, path())).value(), {}, **pool);
    const auto on_disk = Model::load(path(), {}, **pool);
    ASSERT_FALSE(in_memory.ok()) << type;
    ASSERT_FALSE(on_disk.ok()) << type;
    EXPECT_EQ(on_disk.error().message, in_memory.error().message);
    EXPECT_NE(on_disk.error().message.find("tensor 'blk.0.ffn_up.weight'"), std::string::npos);
    EXPECT_NE(on_disk.error().message.find("(row 36); the file is damaged"), std::string::npos)
        << on_disk.error().message;
  }
}

TEST_F(Loading, AFileThatWasCutIsToldFromDamagedWeights) {
  const std::vector<std::byte> bytes = model_bytes("Q8_0", 544);
  for (const std::size_t left : {bytes.size() / 2, bytes.size() - 1}) {
    write(bytes);
    auto file = GgufFile::open(path());
    ASSERT_TRUE(file.ok()) << file.error().message;
    fs::resize_file(path(), left);
    SerialExecutor executor;
    const auto model = Model::load(std::move(file).value(), {}, executor);
    ASSERT_FALSE(model.ok());
    EXPECT_EQ(model.error().code, ErrorCode::kCorrupt);
    EXPECT_NE(model.error().message.find(path() + ": the file was truncated or replaced"), std::string::npos)
        << model.error().message;
  }
}

}  // namespace
}  // namespace rowmax::engine::loading_test
