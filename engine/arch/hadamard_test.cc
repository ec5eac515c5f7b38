// What of prism.hadamard.* is taken and what is refused. The effect on logits: engine/runtime/hadamard_test.cc.
#include "engine/arch/hadamard.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "engine/arch/architecture.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine::hadamard_test {
namespace {

using Change = std::function<void(GgufWriter&)>;

constexpr const char* kNames = "prism.hadamard.weight_names";
constexpr const char* kLookups = "prism.hadamard.inverse_weight_names";

// qwen3 with 64 and 160 columns; attention is 4 heads of 32, so attn_output has 128.
class HadamardKeys : public testing::Test {
 protected:
  Result<ReadModel> read(const Change& change, bool untied = true) {
    tools::SyntheticSpec spec;
    spec.arch = "qwen3";
    spec.untied = untied;
    auto writer = tools::make_synthetic_model(spec);
    EXPECT_TRUE(writer.ok());
    writer->set_uint32("prism.hadamard.version", 1);
    writer->set_uint32("prism.hadamard.block_size", 32);
    writer->set_string("prism.hadamard.transform", "normalized-sylvester-walsh-hadamard");
    writer->set_string("prism.hadamard.axis", "input-last-dimension");
    writer->set_string("prism.hadamard.sign_mode", "explicit");
    writer->set_int32s("prism.hadamard.sign_widths", {160, 64});
    std::vector<std::int32_t> signs(160 + 64, 1);
    signs[3] = signs[160 + 5] = -1;
    writer->set_int32s("prism.hadamard.sign_values", signs);
    writer->set_strings(kNames, {"blk.0.attn_q.weight", "blk.1.ffn_down.weight", "blk.1.ffn_up.weight"});
    writer->set_strings(kLookups, {"token_embd.weight"});
    change(*writer);
    auto bytes = writer->bytes();
    EXPECT_TRUE(bytes.ok()) << bytes.error().message;
    bytes_ = std::move(*bytes);
    const auto file = GgufFile::parse(bytes_, "m.gguf");
    EXPECT_TRUE(file.ok());
    return read_model(*file, {});
  }
  // `key` (behind the prefix) is replaced by whatever `change` sets, and the error names it.
  void expect_refused(const std::string& key, ErrorCode code, const std::string& text, const Change& change = {},
                      bool untied = true) {
    const std::string full = "prism.hadamard." + key;
    const auto model = read(
        [&](GgufWriter& writer) {
          writer.remove(full);
          if (change) change(writer);
        },
        untied);
    ASSERT_FALSE(model.ok()) << key << " " << text;
    EXPECT_EQ(model.error().code, code) << model.error().message;
    for (const std::string& part : {std::string("m.gguf"), full, text}) {
      EXPECT_NE(model.error().message.find(part), std::string::npos) << part << " in: " << model.error().message;
    }
  }
  static Change text(const std::string& key, const std::string& value) {
    return [=](GgufWriter& writer) { writer.set_string("prism.hadamard." + key, value); };
  }
  static Change number(const std::string& key, std::uint32_t value) {
    return [=](GgufWriter& writer) { writer.set_uint32("prism.hadamard." + key, value); };
  }
  static Change numbers(const std::string& key, const std::vector<std::int32_t>& values) {
    return [=](GgufWriter& writer) { writer.set_int32s("prism.hadamard." + key, values); };
  }
  static Change names(const char* key, const std::vector<std::string>& values) {
    return [=](GgufWriter& writer) { writer.set_strings(key, values); };
  }

  std::vector<std::byte> bytes_;
};

TEST_F(HadamardKeys, MarksTheListedMatricesAndNoOthers) {
  const auto model = read([](GgufWriter&) {});
  ASSERT_TRUE(model.ok()) << model.error().message;
  const auto& layers = model->sources.layers;
  const Hadamard* wide = layers[1][W::kFfnDown].hadamard;
  const Hadamard* narrow = layers[0][W::kAttnQ].hadamard;
  ASSERT_NE(wide, nullptr);
  ASSERT_NE(narrow, nullptr);
  EXPECT_EQ(wide->block, 32);
  ASSERT_EQ(wide->signs.size(), 160u);
  ASSERT_EQ(narrow->signs.size(), 64u);
  EXPECT_EQ(wide->signs[3], -1);
  EXPECT_EQ(wide->signs[5], 1);
  EXPECT_EQ(narrow->signs[5], -1);
  EXPECT_EQ(layers[1][W::kFfnUp].hadamard, narrow);
  EXPECT_EQ(model->sources.token_embedding.hadamard, narrow);
  EXPECT_EQ(model->sources.output.hadamard, nullptr);
  EXPECT_EQ(layers[1][W::kFfnGate].hadamard, nullptr);
  EXPECT_EQ(layers[0][W::kFfnDown].hadamard, nullptr);
  bool told = false;
  for (const ModelFact& fact : model->description.facts) told = told || fact.name == "hadamard";
  EXPECT_TRUE(told);
}

TEST_F(HadamardKeys, NoKeysNoRotation) {
  tools::SyntheticSpec spec;
  const auto bytes = tools::synthetic_model_bytes(spec);
  const auto model = read_model(*GgufFile::parse(*bytes, "m.gguf"), {});
  ASSERT_TRUE(model.ok());
  EXPECT_TRUE(model->sources.hadamards.empty());
  EXPECT_EQ(model->sources.layers[0][W::kAttnQ].hadamard, nullptr);
}

TEST_F(HadamardKeys, IdentityHasNoSigns) {
  const auto model = read([](GgufWriter& writer) {
    for (const char* key : {"sign_mode", "sign_widths", "sign_values"}) {
      writer.remove(std::string("prism.hadamard.") + key);
    }
    writer.set_string("prism.hadamard.sign_mode", "identity");
  });
  ASSERT_TRUE(model.ok()) << model.error().message;
  ASSERT_NE(model->sources.layers[0][W::kAttnQ].hadamard, nullptr);
  EXPECT_TRUE(model->sources.layers[0][W::kAttnQ].hadamard->signs.empty());
  expect_refused("sign_widths", ErrorCode::kCorrupt, "identity", [](GgufWriter& writer) {
    writer.remove("prism.hadamard.sign_mode");
    writer.set_string("prism.hadamard.sign_mode", "identity");
    writer.set_int32s("prism.hadamard.sign_widths", {160, 64});
  });
}

TEST_F(HadamardKeys, UnknownValuesAreRefused) {
  const auto unsupported = ErrorCode::kUnsupported;
  expect_refused("version", unsupported, "expected 1, found 2", number("version", 2));
  expect_refused("transform", unsupported, "'haar'", text("transform", "haar"));
  expect_refused("axis", unsupported, "'output'", text("axis", "output"));
  expect_refused("sign_mode", unsupported, "'random'", text("sign_mode", "random"));
  expect_refused("tied_output", unsupported, "version 1", number("tied_output", 1));
  expect_refused("gdn_v_grouped", unsupported, "found true",
                 [](GgufWriter& writer) { writer.set_bool("prism.hadamard.gdn_v_grouped", true); });
  EXPECT_TRUE(read([](GgufWriter& writer) { writer.set_bool("prism.hadamard.gdn_v_grouped", false); }).ok());
  expect_refused("weight_names", unsupported, "'blk.7.attn_q.weight'", names(kNames, {"blk.7.attn_q.weight"}));
  expect_refused("weight_names", unsupported, "'blk.0.attn_norm.weight'", names(kNames, {"blk.0.attn_norm.weight"}));
  expect_refused("weight_names", unsupported, "'token_embd.weight'", names(kNames, {"token_embd.weight"}));
  expect_refused("inverse_weight_names", unsupported, "'output.weight'", names(kLookups, {"output.weight"}));
}

TEST_F(HadamardKeys, EveryKeyIsNeeded) {
  for (const char* key : {"version", "block_size", "transform", "axis", "sign_mode", "weight_names"}) {
    expect_refused(key, ErrorCode::kCorrupt, "missing");
  }
  for (const char* key : {"sign_widths", "sign_values"}) expect_refused(key, ErrorCode::kCorrupt, "missing");
}

TEST_F(HadamardKeys, SignsAndBlocksMustAgreeWithTheTensors) {
  const auto corrupt = ErrorCode::kCorrupt;
  for (const std::uint32_t bad : {0u, 24u, 33u, 1u << 21}) {
    expect_refused("block_size", corrupt, "power of two", number("block_size", bad));
  }
  expect_refused("block_size", corrupt, "160 columns of 'blk.1.ffn_down.weight'", number("block_size", 64));
  expect_refused("sign_widths", corrupt, "64 columns", numbers("sign_widths", {160, 63, 1}));
  expect_refused("sign_widths", corrupt, "sum", numbers("sign_widths", {160, 65}));
  expect_refused("sign_widths", corrupt, "sum", numbers("sign_widths", {160, -64}));
  expect_refused("sign_widths", corrupt, "twice", numbers("sign_widths", {64, 64, 96}));
  expect_refused("sign_values", corrupt, "found 224", [](GgufWriter& writer) {
    writer.remove("prism.hadamard.sign_widths");
    writer.set_int32s("prism.hadamard.sign_widths", {160});
    writer.set_int32s("prism.hadamard.sign_values", std::vector<std::int32_t>(224, 1));
  });
  std::vector<std::int32_t> zero(160 + 64, 1);
  zero[200] = 0;
  expect_refused("sign_values", corrupt, "at 200", numbers("sign_values", zero));
  expect_refused("weight_names", corrupt, "listed twice",
                 names(kNames, {"blk.0.attn_q.weight", "blk.0.attn_q.weight"}));
  expect_refused("weight_names", corrupt, "found none", [](GgufWriter& writer) {
    writer.remove(kLookups);
    writer.set_strings(kNames, {});
  });
}

TEST_F(HadamardKeys, ATiedMatrixIsTurnedForBothUsesOrNone) {
  expect_refused("weight_names", ErrorCode::kCorrupt, "inverse_weight_names alone",
                 names(kNames, {"blk.0.attn_q.weight"}), false);
  expect_refused(
      "inverse_weight_names", ErrorCode::kCorrupt, "weight_names alone",
      [](GgufWriter& writer) {
        writer.remove(kNames);
        writer.set_strings(kNames, {"token_embd.weight"});
      },
      false);
  const auto model = read(
      [](GgufWriter& writer) {
        writer.remove(kNames);
        writer.set_strings(kNames, {"token_embd.weight"});
      },
      false);
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_NE(model->sources.output.hadamard, nullptr);
  EXPECT_EQ(model->sources.output.hadamard, model->sources.token_embedding.hadamard);
}

}  // namespace
}  // namespace rowmax::engine::hadamard_test
