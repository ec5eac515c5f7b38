#include "doctor/checks/tensor_stats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include "engine/ops/matmul/matmul_test_util.h"

namespace rowmax::doctor {
namespace {

using engine::FormatInfo;
using engine::GgufTensor;

constexpr std::int64_t kRows = 300, kCols = 1024;  // more than one piece

GgufTensor tensor_of(const FormatInfo& format, const std::vector<std::byte>& bytes) {
  GgufTensor tensor;
  tensor.name = "blk.7.ffn_up.weight";
  tensor.type = format.id;
  tensor.format = &format;
  tensor.shape = {kCols, kRows};
  tensor.data = bytes;
  return tensor;
}

// Against plain sums over the whole tensor, decoded at once.
TEST(TensorStats, SumsOfEveryFormat) {
  SerialExecutor serial;
  auto pool = make_thread_pool(2);
  ASSERT_TRUE(pool.ok());
  for (const FormatInfo& format : engine::formats()) {
    const auto bytes = engine::matmul_test::random_tensor(format, kRows, kCols, 11);
    std::vector<float> values(kRows * kCols);
    format.decode({bytes.data(), kRows, kCols}, 0, kRows, values.data());
    double squares = 0, row_squares = 0, col_squares = 0;
    std::int64_t n_zero = 0;
    for (std::int64_t i = 0; i < kRows * kCols; ++i) {
      const auto x = static_cast<double>(values[static_cast<std::size_t>(i)]);
      squares += x * x;
      n_zero += x == 0 ? 1 : 0;
      if (i / kCols == 123) row_squares += x * x;
      if (i % kCols == 45) col_squares += x * x;
    }
    const TensorStats stats = look_at(tensor_of(format, bytes), 1, serial);
    EXPECT_EQ(stats.layer, 7);
    EXPECT_EQ(stats.kind, "ffn_up.weight");
    EXPECT_NEAR(stats.rms, std::sqrt(squares / (kRows * kCols)), 1e-9) << format.name;
    EXPECT_EQ(stats.n_zero, n_zero) << format.name;
    EXPECT_NEAR(stats.row_rms[123], std::sqrt(row_squares / kCols), 1e-6) << format.name;
    EXPECT_NEAR(stats.col_rms[45], std::sqrt(col_squares / kRows), 1e-6) << format.name;
    EXPECT_EQ(stats.invalid.row, -1) << format.name;
    const TensorStats threaded = look_at(tensor_of(format, bytes), 1, **pool);
    EXPECT_EQ(stats.rms, threaded.rms) << format.name;
    EXPECT_EQ(stats.col_rms, threaded.col_rms) << format.name;
    const TensorStats every_third = look_at(tensor_of(format, bytes), 3, serial);
    EXPECT_EQ(every_third.n_rows(), 100);
    EXPECT_EQ(every_third.row_rms[41], stats.row_rms[123]) << format.name;
  }
}

TEST(TensorStats, NotANumberIsFoundInRowsThatAreNotDecoded) {
  const FormatInfo& format = *engine::find_format("F16");
  auto bytes = engine::matmul_test::random_tensor(format, kRows, kCols, 12);
  const std::uint16_t nan = 0x7E00;
  std::memcpy(bytes.data() + (211 * kCols + 37) * 2, &nan, 2);
  SerialExecutor serial;
  const TensorStats stats = look_at(tensor_of(format, bytes), 10, serial);
  EXPECT_EQ(stats.invalid.row, 211);
  EXPECT_EQ(stats.invalid_col, 37);
  EXPECT_TRUE(std::isfinite(stats.rms));
}

TEST(TensorStats, LongRunsOfOneByte) {
  const FormatInfo& format = *engine::find_format("Q4_0");
  auto bytes = engine::matmul_test::random_tensor(format, kRows, kCols, 13);
  SerialExecutor serial;
  EXPECT_EQ(look_at(tensor_of(format, bytes), 1, serial).run.begin, -1);
  std::fill_n(bytes.begin() + 5001, 4096, std::byte{0x5A});
  bytes[5000] = bytes[9097] = std::byte{1};
  const ByteRun run = look_at(tensor_of(format, bytes), 1, serial).run;
  EXPECT_EQ(run.begin, 5001);
  EXPECT_EQ(run.size, 4096);
  EXPECT_EQ(run.byte, std::byte{0x5A});
}

}  // namespace
}  // namespace rowmax::doctor
