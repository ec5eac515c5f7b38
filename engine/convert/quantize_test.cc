// GGUF to GGUF. The encoders have their own oracle (engine/quant); here the oracle for the errors is fp64 over both
// files' values.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <vector>

#include "engine/convert/encode.h"
#include "engine/convert/test_folder.h"
#include "engine/quant/format.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine {
namespace {

class Quantize : public FolderTest {
 protected:
  // A file with matrices of 512 (a block of the longest type) and 160 columns.
  void SetUp() override {
    FolderTest::SetUp();
    tools::SyntheticSpec spec;
    spec.embd = 512;
    spec.ff = 160;
    spec.layers = 1;
    auto writer = tools::make_synthetic_model(spec);
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    ASSERT_TRUE(writer->write(path("in.gguf")).ok());
  }
  // A file with one ternary matrix, one that is ternary block by block of 64, and an embedding that is not.
  void write_ternary() {
    GgufWriter writer;
    writer.set_string("general.architecture", "llama");
    const auto add = [&](const char* name, auto value) {
      std::vector<std::byte> bytes(4 * 256 * 8);
      for (int i = 0; i < 256 * 8; ++i) {
        const float x = value(i);
        std::memcpy(bytes.data() + 4 * i, &x, 4);
      }
      writer.add_tensor(name, 0, {256, 8}, std::move(bytes));
    };
    const auto trit = [](int i) { return static_cast<float>((i * 7 + i / 5) % 3 - 1); };
    add("blk.0.ffn_up.weight", [&](int i) { return 0.0375f * trit(i); });
    add("blk.0.ffn_down.weight", [&](int i) { return (i / 64 % 2 == 0 ? 0.5f : 0.0625f) * trit(i); });
    add("token_embd.weight", [&](int i) { return static_cast<float>(i % 17) - 8; });
    ASSERT_TRUE(writer.write(path("ternary.gguf")).ok());
  }
  Result<ConvertReport> quantize(const std::string& type, const TypeRules& rules = {}, const char* in = "in.gguf") {
    ConvertOptions options;
    options.types = rules;
    options.types.type = type;
    options.overwrite = true;
    return quantize_gguf(path(in), path("out.gguf"), options, serial_);
  }
  std::size_t n_files() const {
    namespace fs = std::filesystem;
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  std::string type_of(const char* tensor) const {
    const auto file = GgufFile::open(path("out.gguf"));
    return std::string(gguf_tensor_format_name(*file->find_tensor(tensor)));
  }
};

TEST_F(Quantize, EveryTypeAndItsErrors) {
  const auto in = GgufFile::open(path("in.gguf"));
  ASSERT_TRUE(in.ok());
  for (const FormatInfo& format : formats()) {
    SCOPED_TRACE(format.name);
    TypeRules rules;
    rules.lossy = true;
    rules.output_type = format.name;
    if (format.needs_importance) {
      expect_error(quantize(format.name, rules), ErrorCode::kUnsupported, {format.name, "importance matrix", "Q2_K"});
      continue;
    }
    const auto report = quantize(format.name, rules);
    ASSERT_TRUE(report.ok()) << report.error().message;
    GgufOptions as;
    if (format.only_by_name) as.formats = {format.name};
    const auto out = GgufFile::open(path("out.gguf"), as);
    ASSERT_TRUE(out.ok()) << out.error().message;
    ASSERT_EQ(out->tensors().size(), in->tensors().size());
    for (std::size_t t = 0; t < in->tensors().size(); ++t) {
      const GgufTensor& tensor = out->tensors()[t];
      ASSERT_EQ(tensor.name, in->tensors()[t].name);
      if (tensor.shape.size() == 1) {
        EXPECT_STREQ(tensor.format->name, "F32") << tensor.name;
      }
      const std::vector<float> x = values_of(in->tensors()[t]), y = values_of(tensor);
      double difference = 0, size = 0, most = 0, largest = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double d = static_cast<double>(x[i]) - static_cast<double>(y[i]);
        difference += d * d;
        size += static_cast<double>(x[i]) * static_cast<double>(x[i]);
        most = std::max(most, std::fabs(d));
        largest = std::max(largest, std::fabs(static_cast<double>(x[i])));
      }
      EXPECT_NEAR(report->tensors[t].rms_error, std::sqrt(difference / size), 1e-12) << tensor.name;
      EXPECT_NEAR(report->tensors[t].max_error, most / largest, 1e-12) << tensor.name;
      EXPECT_EQ(report->tensors[t].bytes, tensor.data.size());
    }
    const auto query = std::ranges::find(report->tensors, "blk.0.attn_q.weight", &ConvertedTensor::name);
    ASSERT_NE(query, report->tensors.end());
    EXPECT_EQ(query->to, format.name);
  }
}

// Stacked experts and small projections: every type that has rows by themselves; what decides stays as it was.
TEST_F(Quantize, ExpertsInEveryType) {
  tools::SyntheticSpec spec;
  spec.arch = "qwen35moe";
  spec.embd = spec.expert_ff = spec.shared_ff = 512;
  spec.experts = 2;
  spec.interval = 2;
  spec.layers = 1;
  spec.delta_dim = 128;
  auto writer = tools::make_synthetic_model(spec);
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  ASSERT_TRUE(writer->write(path("in.gguf")).ok());
  const auto in = GgufFile::open(path("in.gguf"));
  const std::vector<TokenId> tokens = {5, 17, 101, 3, 77, 200};
  for (const FormatInfo& format : formats()) {
    SCOPED_TRACE(format.name);
    if (format.needs_importance) continue;
    TypeRules rules;
    rules.lossy = true;
    auto report = quantize(format.name, rules);
    ASSERT_TRUE(report.ok()) << report.error().message;
    const bool apart = format.tail_bytes == 0;  // one scale for all experts would be wrong
    EXPECT_EQ(has_notice(*report, "experts that each need a scale"), !apart);
    for (const ConvertedTensor& tensor : report->tensors) {
      const std::string_view name = std::string_view(tensor.name).substr(tensor.name.starts_with("blk.0.") ? 6 : 0);
      if (name == "ffn_up_exps.weight" || name == "ffn_down_exps.weight") {
        EXPECT_EQ(tensor.to, apart ? format.name : "Q2_0");
        EXPECT_EQ(tensor.shape, (std::vector<std::int64_t>{512, 512, 2}));
      }
      if (name == "attn_qkv.weight" || name == "ssm_out.weight" || name == "ffn_up_shexp.weight") {
        EXPECT_EQ(tensor.to, format.name);
      }
    }
    for (const char* name :
         {"blk.0.ffn_gate_inp.weight", "blk.0.ffn_gate_inp_shexp.weight", "blk.0.ssm_conv1d.weight"}) {
      const auto row = std::ranges::find(report->tensors, name, &ConvertedTensor::name);
      ASSERT_NE(row, report->tensors.end()) << name;
      EXPECT_EQ(row->to, "F32") << name;
    }
    for (const char* name : {"blk.0.ssm_alpha.weight", "blk.0.ssm_beta.weight"}) {
      const auto row = std::ranges::find(report->tensors, name, &ConvertedTensor::name);
      ASSERT_NE(row, report->tensors.end()) << name;
      EXPECT_EQ(row->to, format.block_elements == 1 ? format.name : "F32") << name;
    }
    if (format.only_by_name) continue;
    // The file stands for its values: written out in F32 they give the same logits.
    std::filesystem::rename(path("out.gguf"), path("packed.gguf"));
    ASSERT_TRUE(quantize("F32", {}, "packed.gguf").ok());
    EXPECT_LE(distance(logits_of(path("out.gguf"), tokens), logits_of(path("packed.gguf"), tokens)), 2e-5);
  }
  TypeRules rules;
  rules.lossy = true;
  spec.expert_ff = 258;  // both experts' rows together are whole groups of four, those of one are not
  writer = tools::make_synthetic_model(spec);
  ASSERT_TRUE(writer.ok() && writer->write(path("in.gguf")).ok());
  const auto grouped = quantize("IQ2_BN_R4", rules);
  ASSERT_TRUE(grouped.ok()) << grouped.error().message;
  rules.overrides = {{"ssm_(alpha|beta)", "Q8_0"}};
  ASSERT_TRUE(quantize("Q4_0", rules).ok());
  EXPECT_EQ(type_of("blk.0.ssm_alpha.weight"), "Q8_0");
}

TEST_F(Quantize, KeysStayAndTheFileTypeChanges) {
  ASSERT_TRUE(quantize("Q4_0").ok());
  const auto in = GgufFile::open(path("in.gguf")), out = GgufFile::open(path("out.gguf"));
  EXPECT_EQ(*out->get_uint("general.file_type"), 2u);
  EXPECT_EQ(*out->get_uint("general.quantization_version"), 2u);
  for (const auto& [key, value] : in->metadata()) {
    if (key == "general.file_type" || key == "general.quantization_version") continue;
    ASSERT_NE(out->find(key), nullptr) << key;
    EXPECT_EQ(out->find(key)->type, value.type) << key;
  }
  EXPECT_EQ((*out->get_array("tokenizer.ggml.tokens", GgufType::kString))->strings,
            (*in->get_array("tokenizer.ggml.tokens", GgufType::kString))->strings);
}

TEST_F(Quantize, TheSameBytesForAnyNumberOfThreads) {
  ASSERT_TRUE(quantize("Q6_K").ok());
  const std::string one = content(path("out.gguf"));
  auto pool = make_thread_pool(3);
  ASSERT_TRUE(pool.ok());
  ConvertOptions options;
  options.types.type = "Q6_K";
  ASSERT_TRUE(quantize_gguf(path("in.gguf"), path("three.gguf"), options, **pool).ok());
  EXPECT_EQ(content(path("three.gguf")), one);
}

TEST_F(Quantize, RulesOfTypes) {
  TypeRules rules;
  rules.overrides = {{"ffn_", "Q5_0"}, {"ffn_up", "Q8_0"}};
  ASSERT_TRUE(quantize("Q4_0", rules).ok());
  EXPECT_EQ(type_of("blk.0.ffn_gate.weight"), "Q5_0");
  EXPECT_EQ(type_of("blk.0.ffn_up.weight"), "Q8_0");
  EXPECT_EQ(type_of("blk.0.attn_q.weight"), "Q4_0");
  EXPECT_EQ(type_of("token_embd.weight"), "Q6_K");  // tied: the head
  rules = {};
  rules.embedding_type = "Q4_1";
  ASSERT_TRUE(quantize("Q4_0", rules).ok());
  EXPECT_EQ(type_of("token_embd.weight"), "Q4_1");
  rules.output_type = "Q8_0";
  expect_error(quantize("Q4_0", rules), ErrorCode::kInvalidArgument, {"one matrix for both"});
  rules = {};
  rules.overrides = {{"no_such", "Q5_0"}};
  expect_error(quantize("Q4_0", rules), ErrorCode::kInvalidArgument, {"no_such", "no matrix's name"});
  rules.overrides = {{"(", "Q5_0"}};
  expect_error(quantize("Q4_0", rules), ErrorCode::kInvalidArgument, {"'('", "no regular expression"});
  rules.overrides = {{"ffn", "Q5_9"}};
  expect_error(quantize("Q4_0", rules), ErrorCode::kInvalidArgument, {"--tensor", "Q4_0", "'Q5_9'"});
  expect_error(quantize("Q9"), ErrorCode::kInvalidArgument, {"type", "Q8_0", "'Q9'"});
}

TEST_F(Quantize, OneTypeIdStandsForOneLayoutInAFile) {
  TypeRules rules;
  rules.lossy = true;
  rules.overrides = {{"attn_k", "Q2_0_128"}};
  expect_error(quantize("Q2_0", rules), ErrorCode::kInvalidArgument, {"Q2_0_128", "Q2_0", "type 42"});
}

TEST_F(Quantize, RowsThatAreNoWholeBlocks) {
  const auto report = quantize("Q4_K");
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(type_of("blk.0.attn_q.weight"), "Q4_K");
  EXPECT_EQ(type_of("blk.0.ffn_down.weight"), "Q5_0");  // 160 columns
  EXPECT_TRUE(has_notice(*report, "1 tensors have rows that are no whole blocks of Q4_K: Q5_0"));
}

TEST_F(Quantize, WhatIsThereStaysAndQuantisedInputIsTold) {
  TypeRules rules;
  rules.output_type = "Q8_0";
  auto report = quantize("Q8_0", rules);
  ASSERT_TRUE(report.ok());
  EXPECT_FALSE(has_notice(*report, "quantised already"));
  std::filesystem::rename(path("out.gguf"), path("q8.gguf"));
  report = quantize("Q8_0", rules, "q8.gguf");
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(content(path("out.gguf")), content(path("q8.gguf")));  // copied
  EXPECT_FALSE(has_notice(*report, "quantised already"));
  report = quantize("Q4_0", rules, "q8.gguf");
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(has_notice(*report, "quantised already"));
}

TEST_F(Quantize, TernaryTypesAreForTernaryWeights) {
  expect_error(quantize("TQ2_0"), ErrorCode::kUnsupported,
               {"tensor 'blk.0", "-s, 0 or s", "TQ2_0", "rms error", "--force"});
  TypeRules lossy;
  lossy.lossy = true;
  auto report = quantize("TQ2_0", lossy);
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(has_notice(*report, "is not ternary: TQ2_0 loses rms error"));
  EXPECT_EQ(type_of("token_embd.weight"), "F16");

  write_ternary();
  TypeRules rules;
  rules.overrides = {{"ffn_down", "Q2_0"}};  // scales that differ every 64 weights
  for (const char* type : {"TQ1_0", "TQ2_0", "Q2_0", "PTQ1_0", "PQ2_0", "I2_S"}) {
    SCOPED_TRACE(type);
    report = quantize(type, rules, "ternary.gguf");
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_EQ(type_of("blk.0.ffn_up.weight"), type);
    EXPECT_EQ(type_of("token_embd.weight"), "F16");
    for (const ConvertedTensor& tensor : report->tensors) EXPECT_LE(tensor.max_error, 0x1p-11) << tensor.name;
  }
  EXPECT_EQ(report->tensors[0].max_error, 0);  // I2_S keeps its scale in f32
  expect_error(quantize("TQ2_0", {}, "ternary.gguf"), ErrorCode::kUnsupported,
               {"ternary.gguf", "blk.0.ffn_down.weight", "block"});
  expect_error(quantize("I2_S", {}, "ternary.gguf"), ErrorCode::kUnsupported,
               {"blk.0.ffn_down.weight", "one s for each tensor"});
  // A binary type has no zero.
  expect_error(quantize("Q1_0", {}, "ternary.gguf"), ErrorCode::kUnsupported, {"blk.0.ffn_up.weight"});
}

TEST(TernaryFormats, AreThoseOfThreeValues) {
  std::string found;
  for (const FormatInfo& format : formats()) {
    if (is_ternary_format(format)) found += std::string(format.name) + " ";
  }
  for (const char* name : {"I2_S ", "TQ1_0 ", "TQ2_0 ", "Q1_0 ", "Q2_0 ", "PQ2_0 ", "PTQ1_0 "}) {
    EXPECT_NE(found.find(name), std::string::npos) << name << "is not in " << found;
  }
  for (const char* name : {"F16", "Q4_", "Q5_", "Q6_", "Q8_", "K "})
    EXPECT_EQ(found.find(name), std::string::npos) << found;
}

TEST_F(Quantize, OutputsThatMustNotBeWritten) {
  ConvertOptions options;
  options.types.type = "Q8_0";
  const std::string before = content(path("in.gguf"));
  save(path("there.gguf"), "mine");
  expect_error(quantize_gguf(path("in.gguf"), path("there.gguf"), options, serial_), ErrorCode::kInvalidArgument,
               {"there.gguf", "exists", "--force"});
  EXPECT_EQ(content(path("there.gguf")), "mine");
  options.overwrite = true;
  std::filesystem::create_hard_link(path("in.gguf"), path("link.gguf"));
  std::filesystem::create_symlink(path("in.gguf"), path("soft.gguf"));
  for (const char* name : {"in.gguf", "link.gguf", "soft.gguf"}) {
    expect_error(quantize_gguf(path("in.gguf"), path(name), options, serial_), ErrorCode::kInvalidArgument,
                 {"the output is the input"});
  }
  expect_error(quantize_gguf(path("in.gguf"), folder_.string(), options, serial_), ErrorCode::kInvalidArgument,
               {"folder"});
  expect_error(quantize_gguf(path("none.gguf"), path("out.gguf"), options, serial_), ErrorCode::kNotFound,
               {"none.gguf"});
  EXPECT_EQ(content(path("in.gguf")), before);
  EXPECT_TRUE(quantize_gguf(path("in.gguf"), path("there.gguf"), options, serial_).ok());
}

TEST_F(Quantize, AModelInTwoFilesGivesTheFileOfTheWholeOne) {
  const auto whole = GgufFile::open(path("in.gguf"));
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  const std::size_t n = whole->tensors().size();
  const char* const names[] = {"in-00001-of-00002.gguf", "in-00002-of-00002.gguf"};
  for (std::uint32_t part = 0; part < 2; ++part) {
    GgufWriter writer;
    if (part == 0) {
      for (const auto& [key, value] : whole->metadata()) writer.set_value(std::string(key), value);
    }
    writer.set_uint32("split.no", part);
    writer.set_uint32("split.count", 2);
    writer.set_uint32("split.tensors.count", static_cast<std::uint32_t>(n));
    for (std::size_t i = part == 0 ? 0 : n / 2; i < (part == 0 ? n / 2 : n); ++i) {
      const GgufTensor& tensor = whole->tensors()[i];
      writer.add_tensor(std::string(tensor.name), tensor.type, tensor.shape, {tensor.data.begin(), tensor.data.end()});
    }
    ASSERT_TRUE(writer.write(path(names[part])).ok());
  }
  ASSERT_TRUE(quantize("Q8_0").ok());
  const std::string expected = content(path("out.gguf"));
  for (const char* name : names) {
    const auto report = quantize("Q8_0", {}, name);
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_EQ(content(path("out.gguf")), expected) << name;
  }
  ConvertOptions options;
  options.types.type = "Q8_0";
  options.overwrite = true;
  expect_error(quantize_gguf(path(names[0]), path(names[1]), options, serial_), ErrorCode::kInvalidArgument,
               {names[1], "the output is the input"});
}

TEST_F(Quantize, InterruptedNothingIsWritten) {
  ConvertOptions options;
  options.types.type = "Q8_0";
  int calls = 0;
  std::uint64_t last = 0;
  options.progress = [&](const ConvertProgress& at) {
    EXPECT_GE(at.done, last);
    EXPECT_LE(at.done, at.total);
    last = at.done;
    return ++calls < 5;
  };
  const std::size_t files = n_files();
  expect_error(quantize_gguf(path("in.gguf"), path("out.gguf"), options, serial_), ErrorCode::kCancelled,
               {"interrupted"});
  EXPECT_EQ(n_files(), files);
}

TEST_F(Quantize, WeightsThatAreNoNumbersOrTooLarge) {
  const auto write = [&](float value) {
    GgufWriter writer;
    std::vector<float> values(64, 1.0f);
    values[40] = value;
    const auto bytes = std::as_bytes(std::span(values));
    writer.add_tensor("blk.0.ffn_up.weight", 0, {32, 2}, {bytes.begin(), bytes.end()});
    ASSERT_TRUE(writer.write(path("bad.gguf")).ok());
  };
  write(std::nanf(""));
  expect_error(quantize("Q8_0", {}, "bad.gguf"), ErrorCode::kCorrupt,
               {"bad.gguf", "blk.0.ffn_up.weight", "row 1", "finite"});
  write(1e6f);
  expect_error(quantize("F16", {}, "bad.gguf"), ErrorCode::kNumericFault,
               {"blk.0.ffn_up.weight", "row 1", "too large for F16"});
  EXPECT_TRUE(quantize("BF16", {}, "bad.gguf").ok());
}

}  // namespace
}  // namespace rowmax::engine
