#include "engine/ops/matmul/kernel_check.h"

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "engine/ops/matmul/matmul.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

// Three panels, the last one in part; whole blocks and row groups of every format; two chunks of the f32 path.
constexpr std::int64_t kRows = 36, kCols = 512;
constexpr std::int64_t kTokens[] = {1, 2, 4, 17, 35};
constexpr std::int64_t kMaxTokens = 35;

// Numbers in -1 .. 1; every second one is nearly 0, so that ternary formats hold all of their codes.
std::vector<float> some_numbers(std::int64_t n, std::uint32_t seed) {
  std::vector<float> numbers(static_cast<std::size_t>(n));
  std::uint32_t state = seed;
  for (float& number : numbers) {
    state = state * 1664525u + 1013904223u;
    number = static_cast<float>(static_cast<std::int32_t>(state)) * 0x1p-31f;
    if ((state >> 8 & 1u) != 0) number *= 0x1p-6f;
  }
  return numbers;
}

struct Trial {
  PackedMatrix weights;
  std::vector<float> x;
  base::Buffer workspace;

  std::vector<std::uint32_t> run(const panel::Kernels& kernels, std::int64_t n_tok, Activations activations) {
    constexpr std::uint32_t kPoison = 0x7FA5A5A5;  // a NaN that no kernel writes
    std::vector<std::uint32_t> y(static_cast<std::size_t>(n_tok * kRows), kPoison);
    std::vector<float> out(y.size());
    std::memcpy(out.data(), y.data(), y.size() * sizeof(float));
    const MatmulTerm term{&weights, out.data(), kRows};
    SerialExecutor executor;
    matmul({&term, 1}, x.data(), kCols, n_tok, activations, {workspace.data(), workspace.size()}, kernels, executor);
    std::memcpy(y.data(), out.data(), y.size() * sizeof(float));
    return y;
  }
};

Result<Trial> make_trial(const FormatInfo& format) {
  const std::vector<float> values = some_numbers(kRows * kCols, 1);
  std::vector<std::byte> tensor(static_cast<std::size_t>(format_tensor_bytes(format, kRows, kCols)));
  encode_tensor(format, values.data(), kRows, kCols, tensor.data());
  SerialExecutor executor;
  Trial trial;
  ROWMAX_TRY(weights, pack(format, tensor, kRows, kCols, executor));
  trial.weights = std::move(weights);
  trial.x = some_numbers(kMaxTokens * kCols, 2);
  ROWMAX_TRY(workspace, base::Buffer::allocate(matmul_workspace_bytes(kMaxTokens, kCols)));
  trial.workspace = std::move(workspace);
  return trial;
}

}  // namespace

Status panel::check_kernels(const FormatInfo& format, const Kernels& kernels, std::string_view name) {
  return base::guarded([&]() -> Status {
    static_assert(kCols % 256 == 0 && kRows % 4 == 0);
    ROWMAX_TRY(trial, make_trial(format));
    for (const Activations activations : {Activations::kInt8, Activations::kF32}) {
      const auto expected = trial.run(kernels_scalar(), kMaxTokens, activations);  // a token's bits know no company
      for (const std::int64_t n_tok : kTokens) {
        const auto found = trial.run(kernels, n_tok, activations);
        for (std::size_t i = 0; i < found.size(); ++i) {
          if (found[i] == expected[i]) continue;
          return Error{ErrorCode::kUnsupported,
                       "self-test: the " + std::string(name) + " kernels compute products of " + format.name +
                           " weights wrongly (" + (activations == Activations::kInt8 ? "int8" : "f32") +
                           " activations, token " + std::to_string(i / kRows) + " of " + std::to_string(n_tok) +
                           ", row " + std::to_string(i % kRows) +
                           "): this build, this CPU or its emulator is broken; --kernels and --isa choose others"};
        }
      }
    }
    return {};
  });
}

}  // namespace rowmax::engine
