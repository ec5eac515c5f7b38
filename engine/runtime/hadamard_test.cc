// Models whose matrices are stored turned (prism.hadamard): the golden models of Hugging Face transformers, folded here
// in fp64 with the Hadamard matrix written out by its definition, must still give transformers' logits.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "engine/runtime/golden_file.h"
#include "rowmax/engine/session.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine::hadamard_test {
namespace {

struct Fold {
  std::int64_t block = 8;
  bool signs = true;
  bool keys = true;                 // false: the metadata is left away
  std::set<std::string> skip = {};  // matrices that stay as they are
};

float sign_of(std::int64_t width, std::int64_t column) {
  const std::uint64_t x = static_cast<std::uint64_t>(width * 1000 + column) * 0x9E3779B97F4A7C15ull;
  return (x >> 63) != 0 ? -1.0f : 1.0f;
}

// W diag(s) H, in fp64, row by row.
std::vector<float> folded(const GgufTensor& tensor, const Fold& fold) {
  const std::int64_t cols = tensor.shape[0], rows = tensor.n_elements() / cols;
  std::vector<float> in(static_cast<std::size_t>(rows * cols)), out(in.size());
  std::memcpy(in.data(), tensor.data.data(), in.size() * sizeof(float));
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t c = 0; c < cols; ++c) {
      double sum = 0;
      for (std::int64_t j = 0; j < fold.block; ++j) {
        const std::int64_t from = c / fold.block * fold.block + j;
        const double h = __builtin_popcountll(static_cast<unsigned long long>(j & (c % fold.block))) % 2 == 0 ? 1 : -1;
        const double s = fold.signs ? static_cast<double>(sign_of(cols, from)) : 1;
        sum += static_cast<double>(in[static_cast<std::size_t>(row * cols + from)]) * s * h;
      }
      out[static_cast<std::size_t>(row * cols + c)] =
          static_cast<float>(sum / std::sqrt(static_cast<double>(fold.block)));
    }
  }
  return out;
}

std::vector<std::byte> fold_file(const GgufFile& file, const Fold& fold) {
  GgufWriter writer;
  for (const auto& [key, value] : file.metadata()) writer.set_value(std::string(key), value);
  const bool tied = file.find_tensor("output.weight") == nullptr;
  std::vector<std::string> names, lookups;
  std::set<std::int64_t> widths;
  for (const GgufTensor& tensor : file.tensors()) {
    const std::string name(tensor.name);
    std::vector<std::byte> bytes(tensor.data.begin(), tensor.data.end());
    if (tensor.shape.size() == 2 && !fold.skip.contains(name)) {
      const std::vector<float> values = folded(tensor, fold);
      std::memcpy(bytes.data(), values.data(), bytes.size());
      if (name == "token_embd.weight") lookups.push_back(name);
      if (name != "token_embd.weight" || tied) names.push_back(name);
      widths.insert(tensor.shape[0]);
    }
    writer.add_tensor(name, tensor.type, tensor.shape, std::move(bytes));
  }
  if (fold.keys) {
    writer.set_uint32("prism.hadamard.version", 1);
    writer.set_uint32("prism.hadamard.block_size", static_cast<std::uint32_t>(fold.block));
    writer.set_string("prism.hadamard.transform", "normalized-sylvester-walsh-hadamard");
    writer.set_string("prism.hadamard.axis", "input-last-dimension");
    writer.set_string("prism.hadamard.sign_mode", fold.signs ? "explicit" : "identity");
    writer.set_strings("prism.hadamard.weight_names", names);
    writer.set_strings("prism.hadamard.inverse_weight_names", lookups);
    if (fold.signs) {
      std::vector<std::int32_t> values;
      for (const std::int64_t width : widths) {
        for (std::int64_t i = 0; i < width; ++i) values.push_back(static_cast<std::int32_t>(sign_of(width, i)));
      }
      writer.set_int32s("prism.hadamard.sign_widths", std::vector<std::int32_t>(widths.begin(), widths.end()));
      writer.set_int32s("prism.hadamard.sign_values", values);
    }
  }
  auto bytes = writer.bytes();
  EXPECT_TRUE(bytes.ok());
  return std::move(bytes).value();
}

// Logits of all positions; `chunk` tokens at a time, 0: all at once.
std::vector<float> logits_of(std::span<const std::byte> bytes, std::span<const TokenId> tokens, Isa isa,
                             std::size_t chunk = 0) {
  SerialExecutor executor;
  ModelOptions options;
  options.isa = isa;
  options.activations = Activations::kF32;
  auto file = GgufFile::parse(bytes, "folded.gguf");
  EXPECT_TRUE(file.ok());
  auto model = Model::load(std::move(*file), options, executor);
  if (!model.ok()) {
    ADD_FAILURE() << model.error().message;
    return {};
  }
  SessionOptions session_options;
  session_options.kv_type = KvType::kF32;
  auto session = Session::create(*model, session_options, executor);
  const SequenceId sequence = *session->open();
  std::vector<float> logits;
  if (chunk == 0) chunk = tokens.size();
  for (std::size_t at = 0; at < tokens.size(); at += chunk) {
    const auto part = tokens.subspan(at, std::min(chunk, tokens.size() - at));
    const BatchItem item{sequence, part, LogitsFor::kAll};
    EXPECT_TRUE(session->forward({&item, 1}).ok());
    for (std::size_t row = 0; row < part.size(); ++row) {
      const auto found = session->logits(static_cast<std::uint32_t>(row));
      logits.insert(logits.end(), found.begin(), found.end());
    }
  }
  return logits;
}

// The largest difference, as a share of the range of the golden logits.
double distance(std::span<const float> logits, const Golden& golden) {
  const auto [low, high] = std::minmax_element(golden.logits.begin(), golden.logits.end());
  double worst = 0;
  for (std::size_t r = 0; r < golden.rows.size(); ++r) {
    for (std::size_t v = 0; v < golden.n_vocab; ++v) {
      const double got = logits[golden.rows[r] * golden.n_vocab + v];
      worst = std::max(worst, std::fabs(got - golden.logits[r * golden.n_vocab + v]));
    }
  }
  return worst / (static_cast<double>(*high) - *low);
}

class FoldedModel : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string base = std::string(ROWMAX_SOURCE_DIR) + "/tests/golden/" + GetParam();
    golden_ = read_golden(base + ".golden");
    ASSERT_FALSE(golden_.rows.empty()) << base;
    auto file = GgufFile::open(base + ".gguf");
    ASSERT_TRUE(file.ok());
    file_.emplace(std::move(*file));
  }
  double distance_of(const Fold& fold) const {
    const auto logits = logits_of(fold_file(*file_, fold), golden_.tokens, supported_isas().back());
    return logits.empty() ? HUGE_VAL : distance(logits, golden_);
  }
  Golden golden_;
  std::optional<GgufFile> file_;
};

TEST_P(FoldedModel, HasTheLogitsOfTransformers) {
  EXPECT_LE(distance_of({.signs = true}), 5e-6);
  EXPECT_LE(distance_of({.signs = false}), 5e-6);
  EXPECT_LE(distance_of({.block = 2}), 5e-6);
}

TEST_P(FoldedModel, IsAnotherModelWithoutTheRotation) {
  EXPECT_GE(distance_of({.keys = false}), 0.05);
  EXPECT_GE(distance_of({.signs = false, .keys = false}), 0.05);
}

// The fold belongs to the matrix: of products with one input some may be folded and others not.
TEST_P(FoldedModel, AnyMatrixMayStayAsItIs) {
  EXPECT_LE(distance_of({.skip = {"blk.0.attn_k.weight", "blk.0.ffn_up.weight", "blk.1.attn_q.weight",
                                  "blk.1.attn_output.weight", "blk.1.ffn_down.weight", "token_embd.weight"}}),
            5e-6);
  EXPECT_LE(distance_of({.skip = {"blk.0.attn_q.weight", "blk.0.attn_v.weight", "output.weight"}}), 5e-6);
}

TEST_P(FoldedModel, HasTheSameBitsInChunksAndOnEveryIsa) {
  const auto bytes = fold_file(*file_, {});
  const auto tokens = std::span(golden_.tokens).first(40);
  const auto want = logits_of(bytes, tokens, Isa::kScalar);
  for (const Isa isa : supported_isas()) {
    for (const std::size_t chunk : {std::size_t{0}, std::size_t{7}}) {
      const auto got = logits_of(bytes, tokens, isa, chunk);
      ASSERT_EQ(got.size(), want.size());
      EXPECT_EQ(std::memcmp(got.data(), want.data(), want.size() * sizeof(float)), 0) << isa_name(isa) << " " << chunk;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, FoldedModel, testing::Values("llama3rope", "qwen3", "gemma3", "bitnet"),
                         [](const auto& info) { return std::string(info.param); });

// Blocks that fill whole tiles of the transform.
TEST(FoldedSynthetic, LargeBlocksGiveTheUnfoldedLogits) {
  tools::SyntheticSpec spec;
  spec.arch = "qwen3";
  spec.embd = 256;
  spec.head_dim = 64;
  spec.ff = 512;
  spec.layers = 1;
  spec.untied = true;
  const auto plain = tools::synthetic_model_bytes(spec);
  ASSERT_TRUE(plain.ok());
  const auto file = GgufFile::parse(*plain, "plain.gguf");
  const std::vector<TokenId> tokens = {5, 17, 101, 3, 77, 200, 13, 9};
  const auto want = logits_of(*plain, tokens, supported_isas().back());
  const auto got = logits_of(fold_file(*file, {.block = 256}), tokens, supported_isas().back());
  const auto wrong = logits_of(fold_file(*file, {.block = 256, .keys = false}), tokens, supported_isas().back());
  ASSERT_EQ(got.size(), want.size());
  double most = 0, difference = 0, without = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    most = std::max(most, std::fabs(static_cast<double>(want[i])));
    difference = std::max(difference, std::fabs(static_cast<double>(got[i]) - want[i]));
    without = std::max(without, std::fabs(static_cast<double>(wrong[i]) - want[i]));
  }
  EXPECT_LE(difference, 1e-5 * most);
  EXPECT_GE(without, 0.2 * most);
}

}  // namespace
}  // namespace rowmax::engine::hadamard_test
