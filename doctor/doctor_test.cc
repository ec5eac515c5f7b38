#include "rowmax/doctor/doctor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "doctor/checks/patient_test_util.h"
#include "doctor/diagnosis.h"
#include "doctor/test_patient.h"
#include "rowmax/doctor/portrait.h"

namespace rowmax::doctor {
namespace {

Report examine(Bytes bytes, DoctorOptions options = {}) {
  TestPatient test(std::move(bytes), std::move(options));
  auto report = diagnose(test.open, test.options, test.executor);
  EXPECT_TRUE(report.ok()) << report.error().message;
  return std::move(report).value();
}

TEST(Doctor, FindsTheStoryModelHealthy) {
  const Report report = examine(stories_bytes());
  EXPECT_EQ(report.verdict, Verdict::kPass) << report.diagnosis;
  EXPECT_TRUE(report.causes.empty());
  EXPECT_EQ(report.checks.size(), check_table().size());
  for (const CheckResult& check : report.checks) {
    EXPECT_TRUE(check.n_compared > 0 || check.id == "first_divergence") << check.id;
    EXPECT_FALSE(check.reason.empty()) << check.id;
  }
}

TEST(Doctor, NamesAWrongConventionFirst) {
  DoctorOptions options;
  options.model.edits = {{"rope_pairing", "adjacent"}};
  const Report report = examine(stories_bytes(), options);
  ASSERT_EQ(report.verdict, Verdict::kFail);
  ASSERT_FALSE(report.causes.empty());
  EXPECT_EQ(report.causes.front().id, "rope_pairing");
  EXPECT_GT(report.causes.front().confidence, 0.9);
  EXPECT_NE(report.diagnosis.find("rope_pairing=halves"), std::string::npos) << report.diagnosis;
}

TEST(Doctor, OfTheFileAloneComputesNothing) {
  DoctorOptions options;
  options.depth = Depth::kFile;
  const Report report = examine(stories_bytes(), options);
  for (std::size_t i = 0; i < report.checks.size(); ++i) {
    EXPECT_EQ(report.checks[i].verdict == Verdict::kSkipped, check_table()[i].depth == Depth::kEngine);
  }
}

TEST(Doctor, ATruncatedFileIsADiagnosis) {
  Bytes bytes = stories_bytes();
  bytes.resize(bytes.size() / 2);
  const Report report = examine(std::move(bytes));
  EXPECT_FALSE(report.load_error.empty());
  EXPECT_NE(report.verdict, Verdict::kPass);
}

TEST(Doctor, WhatTheEngineRefusesIsNotHealthy) {
  Report report;
  report.checks.push_back(CheckResult::pass("bytes", 10));
  report.load_error = "no room in memory";
  conclude(report);
  EXPECT_EQ(report.verdict, Verdict::kInconclusive);
  EXPECT_NE(report.diagnosis.find("the engine refuses the model"), std::string::npos) << report.diagnosis;
}

// What the engine does not know is no fault of the file.
TEST(Doctor, SaysNothingOfAnArchitectureThatNobodyHereKnows) {
  testing_util::Rewrite rewrite;
  rewrite.drop_key = [](std::string_view key) { return key == "general.architecture"; };
  rewrite.add = [](engine::GgufWriter& writer) { writer.set_string("general.architecture", "foobar"); };
  TestPatient test(testing_util::rewritten(stories_bytes(), rewrite));
  const auto report = diagnose(test.open, test.options, test.executor);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(report.error().message.find("'foobar'"), std::string::npos) << report.error().message;
}

TEST(Doctor, RefusesOptionsThatAreNone) {
  TestPatient test(stories_bytes());
  test.options.only = {"convention"};
  auto report = diagnose(test.open, test.options, test.executor);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(report.error().message.find("conventions"), std::string::npos);
  test.options.only = {};
  test.options.budget_seconds = 0;
  EXPECT_FALSE(diagnose(test.open, test.options, test.executor).ok());
}

TEST(Doctor, CanBeCancelled) {
  TestPatient test(stories_bytes());
  test.options.progress = [](std::string_view, double) { return false; };
  const auto report = diagnose(test.open, test.options, test.executor);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, ErrorCode::kCancelled);
}

TEST(Doctor, EveryCheckAndCauseIsThereOnce) {
  std::set<std::string_view> checks, causes;
  std::set<int> numbers;
  for (const CheckInfo& info : check_table()) {
    EXPECT_TRUE(checks.insert(info.id).second) << info.id;
    EXPECT_TRUE(numbers.insert(info.number).second) << info.id;
  }
  for (const CauseInfo& info : cause_table()) EXPECT_TRUE(causes.insert(info.id).second) << info.id;
}

TEST(Doctor, ItsPageNamesEveryCheckAndCause) {
  std::ifstream file(std::string(ROWMAX_SOURCE_DIR) + "/docs/doctor.md");
  const std::string page{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  for (const CheckInfo& info : check_table()) {
    EXPECT_NE(page.find("| `" + std::string(info.id) + "` | " + std::to_string(info.number)), std::string::npos)
        << info.id;
  }
  for (const CauseInfo& info : cause_table()) {
    EXPECT_NE(page.find("| `" + std::string(info.id) + "` | " + std::string(info.words)), std::string::npos) << info.id;
  }
}

TEST(Report, APassThatComparedNothingIsNone) {
  EXPECT_EQ(CheckResult::pass("x", 0).verdict, Verdict::kInconclusive);
  EXPECT_EQ(CheckResult::pass("x", 1).verdict, Verdict::kPass);
}

TEST(Diagnosis, TwoChecksAreSurerThanOne) {
  Report report;
  for (const double confidence : {0.5, 0.6}) {
    CheckResult check = CheckResult::fail("bytes", 1, "why");
    check.causes.push_back({.id = "weight_zero", .place = {.layer = 3}, .text = "text", .confidence = confidence});
    report.checks.push_back(std::move(check));
  }
  report.checks.back().causes.push_back({.id = "rope_base", .text = "other", .confidence = 0.7});
  report.checks.push_back(CheckResult::pass("head", 7));
  conclude(report);
  EXPECT_EQ(report.verdict, Verdict::kFail);
  ASSERT_EQ(report.causes.size(), 2U);
  EXPECT_EQ(report.causes[0].id, "weight_zero");
  EXPECT_DOUBLE_EQ(report.causes[0].confidence, 0.8);
}

TEST(Diagnosis, ALayerAndATensorOfItAreOneFinding) {
  const Place layer{.layer = 3}, tensor{.layer = 3, .tensor = "blk.3.ffn_up.weight"}, other{.layer = 2};
  for (const bool layer_first : {false, true}) {
    Report report;
    for (const Place& place : {layer_first ? layer : tensor, layer_first ? tensor : layer, other}) {
      CheckResult check = CheckResult::fail("bytes", 1, "why");
      check.causes.push_back({.id = "weight_corrupt", .place = place, .text = "text", .confidence = 0.5});
      report.checks.push_back(std::move(check));
    }
    conclude(report);
    ASSERT_EQ(report.causes.size(), 2U);
    EXPECT_EQ(report.causes[0].place.tensor, tensor.tensor);
    EXPECT_DOUBLE_EQ(report.causes[0].confidence, 0.75);
    EXPECT_EQ(report.causes[1].place.layer, 2);
  }
}

TEST(Diagnosis, WhatSaysNothingIsNotHealthy) {
  Report report;
  report.checks = {CheckResult::pass("bytes", 3), CheckResult::inconclusive("head", "no")};
  conclude(report);
  EXPECT_EQ(report.verdict, Verdict::kInconclusive);
}

TEST(Diagnosis, WhatIsSuspectedIsNoFault) {
  Report report;
  report.checks = {CheckResult::pass("bytes", 3), CheckResult::inconclusive("conventions", "no")};
  report.checks[0].causes.push_back({.id = "rope_base", .text = "a check that passes has none", .confidence = 0.9});
  report.checks[1].causes.push_back({.id = "rotation", .text = "Turned.", .confidence = 0.5});
  conclude(report);
  EXPECT_EQ(report.verdict, Verdict::kInconclusive);
  ASSERT_EQ(report.causes.size(), 1U);
  EXPECT_EQ(report.causes[0].id, "rotation");
  EXPECT_NE(report.diagnosis.find("Turned."), std::string::npos) << report.diagnosis;
  report.checks.push_back(CheckResult::fail("head", 1, "why"));
  conclude(report);
  EXPECT_TRUE(report.causes.empty());  // what failed speaks alone
}

// A turned model whose random signs are lost: nothing shows them, but that it is turned the file says.
TEST(Doctor, SuspectsSignsThatAreLost) {
  const Bytes sound = file_bytes("tests/golden/doctor/qwen2_turned.gguf");
  const auto file = engine::GgufFile::parse(sound, "m.gguf");
  ASSERT_TRUE(file.ok());
  const engine::GgufArray* signs = *file->get_int_array("prism.hadamard.sign_values");
  engine::GgufWriter writer;
  for (const auto& [key, value] : file->metadata()) {
    if (key != "prism.hadamard.sign_values") writer.set_value(std::string(key), value);
  }
  writer.set_int32s("prism.hadamard.sign_values", std::vector<std::int32_t>(signs->size, 1));
  for (const engine::GgufTensor& tensor : file->tensors()) {
    writer.add_tensor(std::string(tensor.name), tensor.type, tensor.shape, {tensor.data.begin(), tensor.data.end()});
  }
  TestPatient test(std::move(writer.bytes()).value());
  test.options.only = {"conventions"};
  test.options.budget_seconds = 0.5;
  const auto report = diagnose(test.open, test.options, test.executor);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->verdict, Verdict::kInconclusive);
  ASSERT_EQ(report->causes.size(), 1U);
  EXPECT_EQ(report->causes[0].id, "rotation");
  EXPECT_EQ(report->causes[0].place.key, "prism.hadamard.sign_values");
  EXPECT_LT(report->causes[0].confidence, 0.7);
}

TEST(Portrait, ShowsEveryLayerAndWeightsThatAddUpToOne) {
  TestPatient test(stories_bytes());
  const auto model = test.patient.model();
  ASSERT_TRUE(model.ok());
  const auto portrait =
      portray(**model, "Once upon a time, there was a fox.", {.max_tokens = 8, .max_maps = 5}, test.executor);
  ASSERT_TRUE(portrait.ok()) << portrait.error().message;
  EXPECT_EQ(portrait->tokens.size(), 8U);
  EXPECT_EQ(portrait->layers.size(), 4U);
  ASSERT_GE(portrait->maps.size(), 4U);
  EXPECT_LE(portrait->maps.size(), 5U);
  for (const AttentionMap& map : portrait->maps) {
    for (std::int64_t row = 0; row < 8; ++row) {
      double sum = 0;
      for (std::int64_t key = 0; key < 8; ++key) {
        const float weight = map.weights[static_cast<std::size_t>(row * 8 + key)];
        sum += weight;
        EXPECT_TRUE(key <= row || weight == 0.0F);
      }
      EXPECT_NEAR(sum, 1, 1e-5);
    }
  }
  for (const LayerPortrait& layer : portrait->layers) {
    EXPECT_GT(layer.residual_max, layer.residual_rms);
    EXPECT_GE(layer.entropy_max, layer.entropy_mean);
    EXPECT_LT(layer.score_min, layer.score_max);
  }
}

}  // namespace
}  // namespace rowmax::doctor
