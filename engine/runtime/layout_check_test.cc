// On the story model that comes with rowmax: as it is, with its codes moved to the places of other layouts, and with
// codes that mean nothing.

#include "rowmax/engine/layout_check.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "engine/quant/format.h"

namespace rowmax::engine::layout_check_test {
namespace {

const std::string kModel = std::string(ROWMAX_SOURCE_DIR) + "/models/stories.gguf";
enum class Weights { kTrue, kShuffled };

std::vector<std::byte> bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> chars((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<std::byte> bytes(chars.size());
  std::memcpy(bytes.data(), chars.data(), chars.size());
  return bytes;
}

// A copy of the story model whose I2_S tensors are laid out as `layout`.
std::string write_as(std::string_view layout, Weights weights) {
  const FormatInfo& from = *find_format(std::string_view("I2_S"));
  const FormatInfo& to = *find_format(layout);
  std::vector<std::byte> bytes = bytes_of(kModel);
  const std::vector<std::byte> original = bytes;
  auto file = GgufFile::parse(original, "stories");
  EXPECT_TRUE(file.ok());
  std::mt19937 random(7);
  int n_moved = 0;
  for (const GgufTensor& tensor : file->tensors()) {
    if (tensor.format != &from) continue;
    const std::int64_t cols = tensor.shape[0], rows = tensor.shape[1];
    std::vector<float> values(static_cast<std::size_t>(rows * cols));
    from.decode({tensor.data.data(), rows, cols}, 0, rows, values.data());
    if (weights == Weights::kShuffled) std::shuffle(values.begin(), values.end(), random);
    encode_tensor(to, values.data(), rows, cols, bytes.data() + (tensor.data.data() - original.data()));
    ++n_moved;
  }
  EXPECT_GT(n_moved, 0);
  const std::string path = testing::TempDir() + "rowmax_layout_" + std::to_string(::getpid()) + std::string(layout) +
                           (weights == Weights::kTrue ? "" : "_shuffled") + ".gguf";
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  EXPECT_TRUE(out.flush().good());
  return path;
}

LayoutCheck check(const std::string& path, std::vector<std::string> formats = {}) {
  auto pool = make_thread_pool(2);
  ModelOptions options;
  options.isa = supported_isas().back();
  options.gguf.formats = std::move(formats);
  auto model = Model::load(path, options, **pool);
  EXPECT_TRUE(model.ok()) << model.error().message;
  const auto result = check_layout(
      *model, [&](const GgufOptions& gguf) { return GgufFile::open(path, gguf); }, **pool);
  EXPECT_TRUE(result.ok());
  EXPECT_EQ(model->options().gguf.formats, options.gguf.formats) << "there again, as it was";
  EXPECT_GT(model->weight_bytes(), 0);
  return *result;
}

TEST(LayoutCheck, IsContentWithTheRightLayout) {
  const LayoutCheck found = check(kModel);
  EXPECT_EQ(found.taken, "I2_S");
  EXPECT_EQ(found.better, "");
  EXPECT_LT(found.loss, 0.85 * found.chance) << "a model of the language, with some room below the bound";
}

TEST(LayoutCheck, NamesTheLayoutThatMakesSense) {
  for (const char* layout : {"I2_S_64", "I2_S_ROW4"}) {
    const std::string path = write_as(layout, Weights::kTrue);
    const LayoutCheck found = check(path);
    EXPECT_EQ(found.taken, "I2_S");
    EXPECT_GT(found.loss, found.chance);
    EXPECT_EQ(found.better, layout);
    EXPECT_EQ(found.better_loss, check(kModel).loss) << "the same weights";
    EXPECT_EQ(check(path, {layout}).taken, "") << "the user has chosen";
    std::remove(path.c_str());
  }
}

TEST(LayoutCheck, IsQuietAboutWeightsThatMeanNothing) {
  const std::string path = write_as("I2_S", Weights::kShuffled);
  const LayoutCheck found = check(path);
  EXPECT_GT(found.loss, 0.9 * found.chance) << "else the other layouts were not even tried";
  EXPECT_EQ(found.better, "");
  std::remove(path.c_str());
}

TEST(LayoutCheck, DoesNothingWhereTheFileLeavesNoDoubt) {
  const LayoutCheck found = check(std::string(ROWMAX_SOURCE_DIR) + "/tests/golden/llama_bias.gguf");
  EXPECT_EQ(found.taken, "");
  EXPECT_EQ(found.loss, 0.0);
}

TEST(LayoutCheck, ContentHashTellsLayoutsAndFilesApart) {
  const std::string path = write_as("I2_S_64", Weights::kTrue);
  const std::uint64_t own = gguf_content_hash(*GgufFile::open(kModel));
  EXPECT_EQ(gguf_content_hash(*GgufFile::open(kModel, {{"I2_S_64"}})), own) << "of the bytes, not of how they are read";
  EXPECT_NE(gguf_content_hash(*GgufFile::open(path)), own);
  std::remove(path.c_str());
}

}  // namespace
}  // namespace rowmax::engine::layout_check_test
