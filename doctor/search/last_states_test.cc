// Trained models know the next token in their last states, whatever their head makes of them; random ones do not.
#include "doctor/search/last_states.h"

#include <gtest/gtest.h>

#include "doctor/check.h"
#include "doctor/checks/patient_test_util.h"
#include "doctor/test_patient.h"

namespace rowmax::doctor {
namespace {

LastStates states(Bytes bytes) {
  TestPatient test(std::move(bytes));
  const auto found = look_at_last_states(test.patient);
  EXPECT_TRUE(found.ok()) << found.error().message;
  return found.ok() ? *found : LastStates{};
}

Bytes without_head(const Bytes& bytes) {
  testing_util::Rewrite rewrite;
  rewrite.drop_tensor = [](std::string_view tensor) { return tensor == "output.weight"; };
  return testing_util::rewritten(bytes, rewrite);
}

TEST(LastStates, OfTrainedModelsKnowTheNext) {
  for (const char* name : {"llama", "qwen2", "gemma3", "qwen35", "qwen3moe"}) {
    EXPECT_TRUE(states(file_bytes(std::string("tests/golden/doctor/") + name + ".gguf")).know_the_next()) << name;
  }
  const Bytes llama = file_bytes("tests/golden/doctor/llama.gguf");
  EXPECT_DOUBLE_EQ(states(without_head(llama)).alike, states(llama).alike) << "what the head is makes no difference";
}

TEST(LastStates, OfRandomModelsDoNot) {
  for (const std::string& arch : tools::synthetic_architectures()) {
    for (const std::uint64_t seed : {1, 2, 3}) {
      const LastStates found = states(random_bytes(arch, seed));
      EXPECT_FALSE(found.know_the_next()) << arch << " " << seed << ": " << found.alike;
    }
  }
}

TEST(Conventions, AHeadThatWasLostIsNotTied) {
  DoctorOptions options;
  options.budget_seconds = 2;
  const CheckResult result =
      testing_util::examine(&check_conventions, without_head(file_bytes("tests/golden/doctor/llama.gguf")), options);
  EXPECT_EQ(result.verdict, Verdict::kFail) << result.reason;
  EXPECT_EQ(testing_util::first_cause(result), "tied_head") << result.reason;
}

}  // namespace
}  // namespace rowmax::doctor
