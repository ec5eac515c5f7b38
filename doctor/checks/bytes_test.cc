#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/half.h"
#include "doctor/checks/patient_test_util.h"
#include "engine/quant/format.h"

namespace rowmax::doctor {
namespace {

using namespace testing_util;

TEST(Bytes, SoundModelsPass) {
  for (const std::string& arch : tools::synthetic_architectures()) {
    for (const std::uint64_t seed : {1, 2, 3, 4, 5, 6}) {
      tools::SyntheticSpec spec = seed == 6 ? tools::odd_spec(arch) : spec_of(arch, seed);
      if (seed == 4) spec.layers = 12;
      const CheckResult result = examine(&check_bytes, model_bytes(spec));
      EXPECT_EQ(result.verdict, Verdict::kPass) << arch << " " << seed << ": " << result.reason;
      EXPECT_GT(result.n_compared, 10000) << arch;
    }
  }
}

TEST(Bytes, SoundModelsOfEveryFormatPass) {
  for (const engine::FormatInfo& format : engine::formats()) {
    const auto [spec, options] = testing_util::spec_of(format);
    const CheckResult result = examine(&check_bytes, model_bytes(spec), options);
    EXPECT_EQ(result.verdict, Verdict::kPass) << format.name << ": " << result.reason;
  }
}

TEST(Bytes, AFileThatEndsTooEarly) {
  Bytes bytes = model_bytes({});
  bytes.resize(bytes.size() - 1000);
  const CheckResult result = examine(&check_bytes, bytes);
  EXPECT_EQ(result.verdict, Verdict::kFail);
  ASSERT_EQ(first_cause(result), "truncation");
  EXPECT_NE(result.reason.find("bytes short"), std::string::npos) << result.reason;
  EXPECT_GT(result.causes[0].confidence, 0.9);
  bytes.resize(200);
  EXPECT_EQ(first_cause(examine(&check_bytes, bytes)), "truncation");
  EXPECT_EQ(first_cause(examine(&check_bytes, Bytes(64, std::byte{7}))), "truncation");
}

// Type 42 in groups of 64, read in groups of 128.
TEST(Bytes, ALayoutThatIsAskedForAndDoesNotFit) {
  tools::SyntheticSpec spec;
  spec.type = "Q2_0";
  DoctorOptions options;
  options.model.gguf.formats = {"Q2_0_128"};
  const CheckResult result = examine(&check_bytes, model_bytes(spec), options);
  EXPECT_EQ(result.verdict, Verdict::kFail);
  ASSERT_EQ(first_cause(result), "ternary_layout");
  EXPECT_NE(result.causes[0].text.find("Q2_0_128"), std::string::npos) << result.causes[0].text;
  // Where the file is cut, too, nothing fits.
  Bytes bytes = model_bytes(spec);
  bytes.resize(bytes.size() - 1000);
  EXPECT_EQ(first_cause(examine(&check_bytes, bytes, options)), "truncation");
}

// What GGUF allows behind the last tensor is its padding, which may be left out.
TEST(Bytes, WhatIsBehindTheLastTensor) {
  const Bytes sound = model_bytes({});
  Bytes bytes = sound;
  bytes.resize(sound.size() + 4099);
  const std::string place = "behind the last tensor, from byte " + std::to_string(sound.size()) + " on";
  CheckResult result = examine(&check_bytes, bytes);
  EXPECT_EQ(result.verdict, Verdict::kPass) << result.reason;
  EXPECT_NE(result.reason.find("4099 bytes of zeros " + place), std::string::npos) << result.reason;
  for (const std::size_t n : {std::size_t{1}, std::size_t{4096}, sound.size()}) {  // the file's beginning once more
    bytes = sound;
    bytes.insert(bytes.end(), sound.begin(), sound.begin() + static_cast<std::ptrdiff_t>(n));
    result = examine(&check_bytes, bytes);
    EXPECT_EQ(result.verdict, Verdict::kFail) << n;
    ASSERT_EQ(first_cause(result), "truncation") << n;
    EXPECT_NE(result.reason.find(std::to_string(n) + " bytes " + place), std::string::npos) << result.reason;
    ASSERT_GE(result.causes[0].evidence.size(), 2u);
    EXPECT_EQ(result.causes[0].evidence[1].second, std::to_string(sound.size()));
  }
}

tools::SyntheticSpec wide(const char* type = "F16") {
  tools::SyntheticSpec spec;
  spec.embd = 256;
  spec.ff = 512;
  spec.layers = 8;
  spec.type = type;
  return spec;
}

void expect_fault(const Bytes& bytes, std::string_view cause, std::string_view tensor) {
  const CheckResult result = examine(&check_bytes, bytes);
  EXPECT_EQ(result.verdict, Verdict::kFail) << cause;
  ASSERT_FALSE(result.causes.empty()) << cause;
  EXPECT_EQ(result.causes.front().id, cause) << result.reason;
  EXPECT_EQ(result.causes.front().place.tensor, tensor) << result.reason;
  EXPECT_FALSE(result.causes.front().evidence.empty() && cause != "weight_zero" && cause != "ternary_scale") << cause;
}

// Space was set aside for the whole file, and the copy ended early.
TEST(Bytes, AnEndOfZeros) {
  const Bytes sound = model_bytes(wide());
  Bytes bytes = sound;
  const std::size_t from =
      static_cast<std::size_t>(tensor_bytes(bytes, "blk.5.ffn_up.weight").data() - bytes.data()) + 100;
  std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(from), bytes.end(), std::byte{0});
  expect_fault(bytes, "truncation", "blk.5.ffn_up.weight");
  // A last tensor of zeros alone is a fault of that tensor.
  bytes = sound;
  const auto file = engine::GgufFile::parse(bytes, "m.gguf");
  const engine::GgufTensor* last = &file->tensors().front();
  for (const engine::GgufTensor& tensor : file->tensors())
    last = tensor.data.data() > last->data.data() ? &tensor : last;
  const auto data = tensor_bytes(bytes, std::string(last->name));
  std::ranges::fill(data, std::byte{0});
  EXPECT_FALSE(names(examine(&check_bytes, bytes), "truncation"));
}

TEST(Bytes, NotANumber) {
  Bytes bytes = model_bytes(wide());
  const std::uint16_t infinity = 0x7C00;
  std::memcpy(tensor_bytes(bytes, "blk.3.ffn_up.weight").data() + (17 * 256 + 9) * 2, &infinity, 2);
  expect_fault(bytes, "weight_nonfinite", "blk.3.ffn_up.weight");
  const CheckResult result = examine(&check_bytes, bytes);
  EXPECT_NE(result.reason.find("row 17, column 9"), std::string::npos) << result.reason;
}

TEST(Bytes, ANumberThatNoModelHas) {
  Bytes bytes = model_bytes(wide());
  const float number = 1e30F;
  std::memcpy(tensor_bytes(bytes, "blk.1.attn_norm.weight").data() + 12, &number, 4);
  expect_fault(bytes, "weight_corrupt", "blk.1.attn_norm.weight");
}

TEST(Bytes, ZerosAndConstants) {
  Bytes whole = model_bytes(wide());
  std::ranges::fill(tensor_bytes(whole, "blk.2.attn_v.weight"), std::byte{0});
  expect_fault(whole, "weight_zero", "blk.2.attn_v.weight");
  Bytes rows = model_bytes(wide());
  std::ranges::fill(tensor_bytes(rows, "blk.2.ffn_gate.weight").subspan(20 * 512, 6 * 512), std::byte{0});
  expect_fault(rows, "weight_zero", "blk.2.ffn_gate.weight");
  Bytes half = model_bytes(wide("Q8_0"));
  const auto data = tensor_bytes(half, "blk.2.ffn_down.weight");
  std::ranges::fill(data.subspan(data.size() / 2), std::byte{0});
  expect_fault(half, "weight_zero", "blk.2.ffn_down.weight");
  // Padding at the end and a dead row are no fault.
  Bytes padded = model_bytes(wide());
  std::ranges::fill(tensor_bytes(padded, "blk.2.ffn_gate.weight").last(10 * 512), std::byte{0});
  std::ranges::fill(tensor_bytes(padded, "blk.2.ffn_up.weight").subspan(20 * 512, 512), std::byte{0});
  EXPECT_EQ(examine(&check_bytes, padded).verdict, Verdict::kPass) << examine(&check_bytes, padded).reason;
}

// Bytes of nothing in the middle of a tensor, whatever its format.
TEST(Bytes, DamagedBlocks) {
  for (const char* type : {"F16", "BF16", "F32", "Q8_0", "Q4_0", "Q4_K", "TQ2_0"}) {
    tools::SyntheticSpec spec = wide(type);
    if (std::string_view(type) == "TQ2_0") spec.values = "ternary";
    Bytes bytes = model_bytes(spec);
    const auto data = tensor_bytes(bytes, "blk.5.ffn_down.weight");
    std::uint32_t state = 99;
    for (std::byte& byte : data.subspan(data.size() / 3, 4096)) {
      state = state * 1664525u + 1013904223u;
      byte = static_cast<std::byte>(state >> 24);
    }
    const CheckResult result = examine(&check_bytes, bytes);
    EXPECT_EQ(result.verdict, Verdict::kFail) << type;
    EXPECT_TRUE(names(result, "weight_corrupt") || names(result, "weight_nonfinite")) << type << ": " << result.reason;
    EXPECT_EQ(result.place.tensor, "blk.5.ffn_down.weight") << type;
  }
}

TEST(Bytes, AHoleOfOneByte) {
  Bytes bytes = model_bytes(wide("Q4_0"));
  const auto data = tensor_bytes(bytes, "blk.5.ffn_up.weight");
  std::ranges::fill(data.subspan(3001, 4096), std::byte{0x20});
  expect_fault(bytes, "weight_corrupt", "blk.5.ffn_up.weight");
}

void scale_f16(std::span<std::byte> data, float factor) {
  for (std::size_t at = 0; at < data.size(); at += 2) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, data.data() + at, 2);
    bits = base::f32_to_f16(factor * base::f16_to_f32(bits));
    std::memcpy(data.data() + at, &bits, 2);
  }
}

TEST(Bytes, AFewRowsOfAnotherSize) {
  Bytes bytes = model_bytes(wide());
  scale_f16(tensor_bytes(bytes, "blk.4.ffn_up.weight").subspan(100 * 512, 3 * 512), 200.0f);
  expect_fault(bytes, "weight_corrupt", "blk.4.ffn_up.weight");
  const CheckResult result = examine(&check_bytes, bytes);
  EXPECT_EQ(result.causes.size(), 1);  // it does not count as scaled, too
  EXPECT_EQ(result.causes[0].evidence[1].second, "100");
}

TEST(Bytes, OneTensorOfAnotherSize) {
  for (const float factor : {8.0f, 0.125f}) {
    Bytes bytes = model_bytes(wide());
    scale_f16(tensor_bytes(bytes, "blk.4.attn_k.weight"), factor);
    expect_fault(bytes, "weight_scaled", "blk.4.attn_k.weight");
  }
}

TEST(Bytes, TernaryScales) {
  tools::SyntheticSpec spec = wide("I2_S");
  spec.arch = "bitnet-b1.58";
  spec.values = "ternary";
  const Bytes sound = model_bytes(spec);
  ASSERT_EQ(examine(&check_bytes, sound).verdict, Verdict::kPass) << examine(&check_bytes, sound).reason;
  for (const float scale : {0.0f, -1.0f, 1e-19f, 40.0f, std::nanf("")}) {
    Bytes bytes = sound;
    const auto data = tensor_bytes(bytes, "blk.3.ffn_up.weight");
    std::memcpy(data.data() + data.size() - 32, &scale, 4);
    const CheckResult result = examine(&check_bytes, bytes);
    EXPECT_EQ(result.verdict, Verdict::kFail) << scale;
    EXPECT_EQ(result.place.tensor, "blk.3.ffn_up.weight") << scale;
    EXPECT_TRUE(names(result, "ternary_scale") || names(result, "weight_nonfinite")) << scale << result.reason;
  }
  Bytes code_3 = sound;
  tensor_bytes(code_3, "blk.3.ffn_up.weight")[77] = std::byte{0xC0};
  EXPECT_EQ(first_cause(examine(&check_bytes, code_3)), "ternary_scale");
  spec.values = "binary";  // as a quantiser leaves weights that were not ternary
  EXPECT_EQ(first_cause(examine(&check_bytes, model_bytes(spec))), "ternary_scale");
}

}  // namespace
}  // namespace rowmax::doctor
