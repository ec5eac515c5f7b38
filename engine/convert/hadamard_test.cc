// Folding. The oracle is the definition: the Hadamard matrix written out, in fp64, and the logits of the model that was
// not folded.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "engine/convert/test_folder.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine {
namespace {

std::vector<float> floats_of(const GgufTensor& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.n_elements()));
  EXPECT_EQ(tensor.data.size(), values.size() * sizeof(float)) << tensor.name;
  std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  return values;
}

class FoldTest : public FolderTest {
 protected:
  void write_model(const std::string& arch, bool untied = false) {
    tools::SyntheticSpec spec;
    spec.arch = arch;
    spec.untied = untied;
    spec.layers = arch == "gemma3" ? 7 : arch.starts_with("qwen35") || arch.starts_with("lfm2") ? 4 : 2;
    if (arch.ends_with("moe")) spec.expert_ff = 96;
    if (arch == "qwen35moe") spec.shared_ff = 32;
    auto writer = tools::make_synthetic_model(spec);
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    ASSERT_TRUE(writer->write(path("in.gguf")).ok());
  }
  Result<ConvertReport> fold(std::int64_t block, const std::string& in = "in.gguf", const std::string& type = "F32",
                             const std::string& out = "out.gguf") {
    ConvertOptions options;
    options.types.type = type;
    options.overwrite = true;
    options.hadamard_block = block;
    return quantize_gguf(path(in), path(out), options, serial_);
  }
  std::vector<float> logits_of(const std::string& name) {
    return FolderTest::logits_of(path(name), {5, 17, 101, 3, 77, 200, 13, 9, 9, 40});
  }
};

TEST_F(FoldTest, WeightsAreThoseOfTheDefinition) {
  constexpr std::int64_t kBlock = 16;
  write_model("llama", true);
  ASSERT_TRUE(fold(kBlock).ok());
  const auto before = GgufFile::open(path("in.gguf")), after = GgufFile::open(path("out.gguf"));
  ASSERT_TRUE(after.ok());
  const GgufArray* widths = *after->get_int_array("prism.hadamard.sign_widths");
  const GgufArray* values = *after->get_int_array("prism.hadamard.sign_values");
  EXPECT_EQ(values->element_type, GgufType::kI8);
  EXPECT_EQ(*after->get_string("prism.hadamard.sign_mode"), "explicit");
  const auto products = (*after->get_array("prism.hadamard.weight_names", GgufType::kString))->strings;
  const auto lookups = (*after->get_array("prism.hadamard.inverse_weight_names", GgufType::kString))->strings;
  EXPECT_EQ(products.size(), 2u * 7 + 1);
  EXPECT_EQ(lookups, std::vector<std::string_view>{"token_embd.weight"});
  for (const GgufTensor& tensor : before->tensors()) {
    SCOPED_TRACE(tensor.name);
    const auto plain = floats_of(tensor), turned = floats_of(*after->find_tensor(tensor.name));
    if (tensor.shape.size() == 1) {
      EXPECT_EQ(plain, turned);
      continue;
    }
    const bool listed = std::ranges::count(products, tensor.name) + std::ranges::count(lookups, tensor.name) == 1;
    EXPECT_TRUE(listed);
    const std::int64_t cols = tensor.shape[0];
    std::size_t signs = 0;  // where this width's begin
    for (std::size_t i = 0; i < widths->size && widths->as_int(i) != cols; ++i) {
      signs += static_cast<std::size_t>(widths->as_int(i));
    }
    for (std::size_t at = 0; at < plain.size(); ++at) {
      const std::int64_t column = static_cast<std::int64_t>(at) % cols, in_block = column % kBlock;
      double want = 0;
      for (std::int64_t j = 0; j < kBlock; ++j) {
        const auto from = static_cast<std::size_t>(column - in_block + j);
        const double h = __builtin_popcountll(static_cast<unsigned long long>(j & in_block)) % 2 == 0 ? 1 : -1;
        want += static_cast<double>(plain[at - static_cast<std::size_t>(column) + from]) *
                values->as_double(signs + from) * h;
      }
      ASSERT_NEAR(turned[at], want / 4, 1e-6 * std::fabs(want) + 1e-9) << at;  // sqrt(16)
    }
  }
  double sum = 0;
  for (std::size_t i = 0; i < values->size; ++i) sum += values->as_double(i);
  EXPECT_LT(std::fabs(sum), 0.3 * static_cast<double>(values->size)) << "signs should be mixed";
}

TEST_F(FoldTest, TheFoldedModelHasTheLogitsOfTheOther) {
  for (const bool untied : {true, false}) {
    for (const char* arch : {"llama", "qwen2", "qwen3", "gemma2", "gemma3", "bitnet-b1.58", "qwen3moe", "qwen35",
                             "qwen35moe", "lfm2", "lfm2moe", "phi3", "gemma4_moe"}) {
      SCOPED_TRACE(arch);
      write_model(arch, untied);
      ASSERT_TRUE(fold(32).ok());
      const auto plain = logits_of("in.gguf");
      EXPECT_LE(distance(plain, logits_of("out.gguf")), 2e-5);
      // The same bytes without the keys: read as a plain model, it is another one.
      replace_in(path("out.gguf"), "prism.hadamard.", "other.hadamard.");
      EXPECT_GE(distance(plain, logits_of("out.gguf")), 0.1);
    }
  }
}

TEST_F(FoldTest, ATiedEmbeddingStaysAsItIs) {
  write_model("qwen3");
  const auto report = fold(32);
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(has_notice(*report, "token_embd.weight is the head too"));
  const auto before = GgufFile::open(path("in.gguf")), after = GgufFile::open(path("out.gguf"));
  EXPECT_EQ(floats_of(*before->find_tensor("token_embd.weight")), floats_of(*after->find_tensor("token_embd.weight")));
}

TEST_F(FoldTest, OtherTypesAndThreadsAndQuantisingLater) {
  write_model("llama", true);
  ASSERT_TRUE(fold(32, "in.gguf", "Q8_0", "q8.gguf").ok());
  EXPECT_LE(distance(logits_of("in.gguf"), logits_of("q8.gguf")), 0.1);
  ASSERT_TRUE(fold(32).ok());
  ASSERT_TRUE(fold(0, "out.gguf", "Q8_0", "later.gguf").ok());  // keys go with the file
  EXPECT_EQ(content(path("later.gguf")), content(path("q8.gguf")));
  auto pool = make_thread_pool(3);
  ConvertOptions options;
  options.types.type = "Q8_0";
  options.hadamard_block = 32;
  ASSERT_TRUE(quantize_gguf(path("in.gguf"), path("three.gguf"), options, **pool).ok());
  EXPECT_EQ(content(path("three.gguf")), content(path("q8.gguf")));
}

TEST_F(FoldTest, FoldersFoldToo) {
  ConvertOptions options;
  options.types.type = "F32";
  const std::string folder = hf_folder("llama");
  ASSERT_TRUE(convert_folder(folder, path("in.gguf"), options, serial_).ok());
  options.hadamard_block = 4;
  ASSERT_TRUE(convert_folder(folder, path("out.gguf"), options, serial_).ok());
  EXPECT_LE(distance(logits_of("in.gguf"), logits_of("out.gguf")), 2e-5);
}

// Experts and delta nets: the large matrices are turned, what decides is not.
TEST_F(FoldTest, WhatIsTurned) {
  write_model("qwen35moe", true);
  ASSERT_TRUE(fold(32).ok());
  const auto file = GgufFile::open(path("out.gguf"));
  const auto names = (*file->get_array("prism.hadamard.weight_names", GgufType::kString))->strings;
  const auto listed = [&](const char* name) { return std::ranges::count(names, name) == 1; };
  for (const char* name : {"blk.0.attn_qkv.weight", "blk.0.attn_gate.weight", "blk.0.ssm_out.weight",
                           "blk.3.attn_q.weight", "blk.3.attn_output.weight", "blk.1.ffn_gate_exps.weight",
                           "blk.1.ffn_down_exps.weight", "blk.1.ffn_up_shexp.weight", "output.weight"}) {
    EXPECT_TRUE(listed(name)) << name;
  }
  for (const char* name : {"blk.0.ssm_alpha.weight", "blk.0.ssm_beta.weight", "blk.0.ssm_conv1d.weight",
                           "blk.0.ffn_gate_inp.weight", "blk.0.ffn_gate_inp_shexp.weight"}) {
    ASSERT_NE(file->find_tensor(name), nullptr) << name;
    EXPECT_FALSE(listed(name)) << name;
  }
  EXPECT_EQ(file->find("prism.hadamard.gdn_v_grouped"), nullptr);
}

// As the published files have it: the columns of ssm_out.weight in the model's own order of value heads.
TEST_F(FoldTest, GroupedValueHeadsKeepTheirMeaning) {
  const std::string turned = ROWMAX_SOURCE_DIR "/tests/golden/qwen35_turned.gguf";
  std::filesystem::copy(turned, path("turned.gguf"));
  ASSERT_TRUE(fold(0, "turned.gguf", "F16", "half.gguf").ok());
  EXPECT_TRUE(*GgufFile::open(path("half.gguf"))->get_bool("prism.hadamard.gdn_v_grouped"));
  const auto plain = logits_of("turned.gguf");
  EXPECT_LE(distance(plain, logits_of("half.gguf")), 2e-2);
  expect_error(fold(16, "turned.gguf"), ErrorCode::kInvalidArgument, {"turned already"});
}

// A layer that guesses a token ahead is not run, and its matrices are not listed.
TEST_F(FoldTest, DraftLayersStayAsTheyAre) {
  ConvertOptions options;
  options.types.type = "F32";
  const std::string folder = hf_folder("qwen35moe");
  ASSERT_TRUE(convert_folder(folder, path("in.gguf"), options, serial_).ok());
  options.hadamard_block = 4;
  const auto report = convert_folder(folder, path("out.gguf"), options, serial_);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_LE(distance(logits_of("in.gguf"), logits_of("out.gguf")), 2e-5);
  const auto before = GgufFile::open(path("in.gguf")), after = GgufFile::open(path("out.gguf"));
  for (const GgufTensor& tensor : before->tensors()) {
    if (tensor.name.starts_with("blk.4.")) {
      EXPECT_EQ(values_of(tensor), values_of(*after->find_tensor(tensor.name))) << tensor.name;
    }
  }
}

TEST_F(FoldTest, Refusals) {
  write_model("qwen3", true);  // 64, 128 and 160 columns
  for (const std::int64_t bad : {std::int64_t{-2}, std::int64_t{3}, std::int64_t{24}, std::int64_t{1} << 40}) {
    expect_error(fold(bad), ErrorCode::kInvalidArgument, {"--hadamard", "power of two"});
  }
  expect_error(fold(64), ErrorCode::kInvalidArgument, {"160 columns", "ffn_down", "found 64"});
  EXPECT_FALSE(std::filesystem::exists(path("out.gguf")));
  ASSERT_TRUE(fold(32).ok());
  expect_error(fold(32, "out.gguf", "F32", "twice.gguf"), ErrorCode::kInvalidArgument, {"out.gguf", "turned already"});
  GgufWriter empty;
  empty.set_string("general.architecture", "llama");
  empty.add_tensor("output_norm.weight", 0, {4}, std::vector<std::byte>(16));
  ASSERT_TRUE(empty.write(path("empty.gguf")).ok());
  expect_error(fold(2, "empty.gguf"), ErrorCode::kUnsupported, {"no matrix"});
}

}  // namespace
}  // namespace rowmax::engine
