#include "doctor/checks/kernels.h"

#include <gtest/gtest.h>

#include "doctor/checks/patient_test_util.h"
#include "engine/ops/matmul/kernel_tables.h"

namespace rowmax::doctor {
namespace {

using namespace testing_util;
namespace panel = engine::panel;

TEST(Kernels, EveryFormatOfThisMachineAgreesWithItsDefinition) {
  for (const engine::FormatInfo& format : engine::formats()) {
    const auto [spec, options] = spec_of(format);
    const CheckResult result = examine(&check_kernels, model_bytes(spec), options);
    EXPECT_EQ(result.verdict, Verdict::kPass) << format.name << ": " << result.reason;
    EXPECT_GT(result.n_compared, 1000) << format.name;
    EXPECT_LE(result.measured, 1) << format.name;
  }
}

TEST(Kernels, OddShapesOfEveryArchitecture) {
  for (const std::string& arch : tools::synthetic_architectures()) {
    const CheckResult result = examine(&check_kernels, model_bytes(tools::odd_spec(arch)));
    EXPECT_EQ(result.verdict, Verdict::kPass) << arch << ": " << result.reason;
  }
}

// Writes nothing at all; or computes as it should and then spoils one output of the job.
void nothing(const panel::Job&) noexcept {}
thread_local const panel::PanelKernels* true_kernels = nullptr;
void off_by_a_quarter(const panel::Job& job) noexcept {
  (job.token_end - job.token_begin <= panel::kTokenStep ? true_kernels->few : true_kernels->many)(job);
  float& y = job.y[(job.token_end - 1) * job.ldy + job.panel_begin * panel::kRows];
  y += 0.25f * (y < 0 ? -1.0f : 1.0f) + 0.25f * y;
}

const panel::Kernels& broken(panel::JobFn job) {
  static panel::Kernels kernels;
  kernels = panel::kernels_scalar();
  for (panel::PanelKernels& row : kernels.panels) row.few = row.many = job;
  return kernels;
}

TEST(Kernels, WrongKernelsAreFound) {
  tools::SyntheticSpec spec;
  spec.embd = 256;
  spec.heads = 4;
  spec.type = "Q4_0";
  const Bytes bytes = model_bytes(spec);
  const auto file = engine::GgufFile::parse(bytes, "m.gguf");
  ASSERT_TRUE(file.ok());
  SerialExecutor executor;
  const auto trial = make_product_trial(*file->find_tensor("blk.0.attn_q.weight"), executor);
  ASSERT_TRUE(trial.ok()) << trial.error().message;
  true_kernels = &panel::kernels_scalar().panels[trial->packed.layout()];
  EXPECT_LE(compare_products(*trial, panel::kernels_scalar(), "scalar")->worst, 1);
  for (const panel::JobFn job : {&nothing, &off_by_a_quarter}) {
    const auto found = compare_products(*trial, broken(job), "broken");
    ASSERT_TRUE(found.ok());
    EXPECT_GT(found->worst, 1);
    EXPECT_NE(found->where.find("of blk.0.attn_q.weight (Q4_0) with broken kernels"), std::string::npos)
        << found->where;
  }
}

TEST(Kernels, AFileThatIsNoneIsInconclusive) {
  const CheckResult result = examine(&check_kernels, Bytes(100));
  EXPECT_EQ(result.verdict, Verdict::kInconclusive);
}

}  // namespace
}  // namespace rowmax::doctor
