#include "engine/convert/hf_transforms.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/fp_env.h"
#include "base/math/f64.h"

namespace rowmax::engine {
namespace {

// Each number by itself.
template <class Change>
void map_numbers(TensorRows& tensor, Change change) {
  tensor.read = [read = std::move(tensor.read), cols = tensor.cols(), change](std::int64_t row, std::int64_t n,
                                                                              float* out) {
    read(row, n, out);
    for (std::int64_t i = 0; i < n * cols; ++i) out[i] = change(out[i]);
  };
  tensor.format = nullptr;
}

}  // namespace

void take_rows(TensorRows& tensor, Source source) {
  tensor.read = [read = std::move(tensor.read), cols = tensor.cols(), source = std::move(source)](
                    std::int64_t row, std::int64_t n, float* out) {
    for (std::int64_t i = 0; i < n; ++i) read(source(row + i), 1, out + i * cols);
  };
  tensor.format = nullptr;
}

void take_columns(TensorRows& tensor, Source source) {
  std::vector<std::int64_t> from;
  for (std::int64_t column = 0; column < tensor.cols(); ++column) from.push_back(source(column));
  tensor.read = [read = std::move(tensor.read), from = std::move(from)](std::int64_t row, std::int64_t n, float* out) {
    std::vector<float> values(from.size());
    for (std::int64_t i = 0; i < n; ++i) {
      read(row + i, 1, values.data());
      for (const std::int64_t column : from) *out++ = values[static_cast<std::size_t>(column)];
    }
  };
  tensor.format = nullptr;
}

void add_one(TensorRows& tensor) {
  map_numbers(tensor, [](float x) { return x + 1.0f; });
}

void multiply(TensorRows& tensor, float factor) {
  map_numbers(tensor, [factor](float x) { return factor * x; });
}

void negate_exp(TensorRows& tensor) {
  map_numbers(tensor, [](float x) { return static_cast<float>(-base::exp_f64(static_cast<double>(x))); });
}

void ternarise(TensorRows& tensor, Executor& executor) {
  const std::int64_t cols = tensor.cols();
  std::vector<double> sums(static_cast<std::size_t>(tensor.rows()));
  std::vector<std::vector<float>> buffers(static_cast<std::size_t>(executor.concurrency()));
  for (auto& buffer : buffers) buffer.resize(static_cast<std::size_t>(cols));
  parallel_for(executor, tensor.rows(), [&](std::int64_t row, int worker) {
    const base::ScopedFpEnv fp_env;
    std::vector<float>& values = buffers[static_cast<std::size_t>(worker)];
    tensor.read(row, 1, values.data());
    double sum = 0;
    for (const float value : values) sum += static_cast<double>(std::fabs(value));
    sums[static_cast<std::size_t>(row)] = sum;
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  const double mean = total / static_cast<double>(cols * tensor.rows());
  const float inverse = 1.0f / std::max(static_cast<float>(mean), 1e-5f);
  const float scale = 1.0f / inverse;
  map_numbers(tensor, [inverse, scale](float x) {
    // Half to even at +-0.5 is 0: what is above is 1.
    const float scaled = x * inverse;
    return scaled > 0.5f ? scale : scaled < -0.5f ? -scale : 0.0f;
  });
  tensor.from = "master";
}

}  // namespace rowmax::engine
