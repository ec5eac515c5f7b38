#include "engine/ops/matmul/kernel_check.h"

#include <gtest/gtest.h>

#include <string>

#include "engine/ops/matmul/kernel_tables.h"
#include "engine/ops/matmul/matmul_test_util.h"

namespace rowmax::engine::kernel_check_test {
namespace {

const panel::KernelTable& fastest() {
  const panel::KernelTable* best = nullptr;
  for (const panel::KernelTable& table : panel::kernel_tables()) {
    if (table.supported()) best = &table;
  }
  return *best;
}

TEST(SelfTest, EveryTableOfThisMachinePassesForEveryFormat) {
  for (const FormatInfo& format : formats()) {
    for (const panel::KernelTable& table : panel::kernel_tables()) {
      if (!table.supported()) continue;
      if (table.isa == Isa::kScalar && matmul_test::emulated()) continue;  // plain C++ against itself
      const Status status = panel::check_kernels(format, table.kernels(), table.name);
      EXPECT_TRUE(status.ok()) << status.error().message;
    }
  }
}

// The fastest table and the one that it sends few tokens to, each row changed.
struct Broken {
  panel::Kernels kernels = fastest().kernels();
  panel::Kernels for_fewer = kernels.for_fewer == nullptr ? kernels : *kernels.for_fewer;

  template <class Change>
  explicit Broken(Change&& change) {
    for (panel::PanelKernels& row : kernels.panels) change(row);
    for (panel::PanelKernels& row : for_fewer.panels) change(row);
    if (kernels.for_fewer != nullptr) kernels.for_fewer = &for_fewer;
  }
  Broken(const Broken&) = delete;
};

// Runs the true kernel, then spoils one output of it.
template <bool kMany>
void spoil(const panel::Job& job) noexcept {
  const std::int64_t n_tok = job.token_end - job.token_begin;
  if ((n_tok > 4) != kMany) return;
  float& y = job.y[(job.token_end - 1) * job.ldy + job.panel_end * panel::kRows - panel::kRows];
  y = y * 1.0000002f + 1e-30f;
}
void nothing(const panel::Job&) noexcept {}
template <auto kSpoil>
void wrong_int8(const panel::Job& job) noexcept {
  const auto layout = [&] {
    for (int i = 0; i < panel::Panels::kSize; ++i) {
      if (panel::kernels_scalar().panels[i].rounding == panel::Rounding::kByToken) return i;
    }
    return -1;
  }();
  const panel::PanelKernels& row = fastest().kernels().panels[layout];
  (job.token_end - job.token_begin <= panel::kTokenStep ? row.few : row.many)(job);
  kSpoil(job);
}

// A wrong kernel for many tokens alone, for few tokens alone, and one that does nothing at all.
TEST(SelfTest, WrongKernelsAreRefusedByName) {
  const FormatInfo& format = *find_format(std::string_view("I2_S"));
  for (const panel::JobFn wrong : {&wrong_int8<&spoil<true>>, &wrong_int8<&spoil<false>>, &nothing}) {
    Broken broken([&](panel::PanelKernels& row) {
      if (row.rounding == panel::Rounding::kByToken) row.few = row.many = wrong;
    });
    const Status status = panel::check_kernels(format, broken.kernels, "broken");
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(
        status.error().message.find("self-test: the broken kernels compute products of I2_S weights wrongly (int8"),
        std::string::npos)
        << status.error().message;
    // The other formats do not care.
    EXPECT_TRUE(panel::check_kernels(*find_format(std::string_view("Q8_0")), broken.kernels, "broken").ok());
  }
  Broken broken([](panel::PanelKernels& row) { row.f32 = &nothing; });
  const Status status = panel::check_kernels(format, broken.kernels, "broken");
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message.find("(f32 activations, token 0 of 1, row 0)"), std::string::npos);
}

// Rounding is tested with the products.
TEST(SelfTest, WrongRoundingIsRefused) {
  panel::Kernels broken = fastest().kernels();
  broken.round_by_token = +[](const float* x, std::int64_t ldx, const panel::TokenActivations& out, std::int64_t begin,
                              std::int64_t end) noexcept {
    fastest().kernels().round_by_token(x, ldx, out, begin, end);
    out.codes[17] = static_cast<std::int8_t>(out.codes[17] ^ 1);
  };
  EXPECT_FALSE(panel::check_kernels(*find_format(std::string_view("I2_S")), broken, "broken").ok());
  EXPECT_TRUE(panel::check_kernels(*find_format(std::string_view("Q2_0")), broken, "broken").ok());
}

}  // namespace
}  // namespace rowmax::engine::kernel_check_test
