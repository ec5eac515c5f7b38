// For tests of checks that compute: models of every architecture, and models about which the file is made to say
// something else than what was loaded, as if the engine had it wrong.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "doctor/check.h"
#include "doctor/checks/patient_test_util.h"

namespace rowmax::doctor::testing_util {

using CheckFunction = Result<CheckResult> (*)(Patient&);

// The model is loaded; what is changed from then on, only the checks see.
class Planted {
 public:
  explicit Planted(const tools::SyntheticSpec& spec) : Planted(model_bytes(spec)) {}
  explicit Planted(Bytes of) : bytes(std::move(of)) {
    options.model.isa = supported_isas().back();
    open_ = [this](const engine::GgufOptions& gguf) { return engine::GgufFile::parse(bytes, "m.gguf", gguf); };
    patient_ = std::make_unique<Patient>(open_, options, executor_);
    const auto model = patient_->model();
    EXPECT_TRUE(model.ok()) << model.error().message;
  }
  CheckResult run(CheckFunction check) {
    auto result = check(*patient_);
    EXPECT_TRUE(result.ok()) << result.error().message;
    return result.ok() ? std::move(result).value() : CheckResult{};
  }

  Bytes bytes;
  DoctorOptions options;

 private:
  SerialExecutor executor_;
  OpenFile open_;
  std::unique_ptr<Patient> patient_;
};

// Every architecture: two K/V heads of two query heads each, and three heads on one of odd sizes.
inline std::vector<tools::SyntheticSpec> sound_specs(std::uint64_t seed = 1) {
  std::vector<tools::SyntheticSpec> specs;
  for (const std::string& arch : tools::synthetic_architectures()) {
    tools::SyntheticSpec spec;
    spec.arch = arch;
    specs.push_back(spec);
    specs.push_back(tools::odd_spec(arch));
    for (tools::SyntheticSpec* made : {&specs.back(), &specs[specs.size() - 2]}) made->seed = seed;
  }
  specs.push_back(tools::odd_spec("qwen3"));
  specs.back().product_norms = true;
  specs.back().seed = seed;
  return specs;
}

inline void expect_pass(CheckFunction check, const tools::SyntheticSpec& spec) {
  const CheckResult result = Planted(spec).run(check);
  EXPECT_EQ(result.verdict, Verdict::kPass) << spec.arch << ", " << spec.heads << " heads, seed " << spec.seed << ": "
                                            << result.reason << " (" << first_cause(result) << ")";
  EXPECT_GT(result.n_compared, 0);
}

inline void expect_all_pass(CheckFunction check) {
  for (const tools::SyntheticSpec& spec : sound_specs()) expect_pass(check, spec);
}

inline void expect_cause(const CheckResult& result, std::string_view cause) {
  EXPECT_EQ(result.verdict, Verdict::kFail) << result.reason;
  EXPECT_EQ(first_cause(result), cause) << result.reason;
  for (const Cause& found : result.causes) {
    EXPECT_TRUE(std::ranges::any_of(cause_table(), [&](const CauseInfo& info) { return info.id == found.id; }));
    EXPECT_NE(found.text, "");
    EXPECT_NE(found.command, "");
    EXPECT_GT(found.confidence, 0);
  }
}

}  // namespace rowmax::doctor::testing_util
