// The parts of the check "kernels" that its test needs: products of a tensor's rows by any table of kernels.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "doctor/check.h"
#include "doctor/checks/products.h"
#include "engine/ops/matmul/matmul.h"
#include "engine/ops/matmul/panel.h"

namespace rowmax::doctor {

// Some rows of a tensor, packed for products and decoded, and input to multiply them with.
struct ProductTrial {
  std::string tensor;
  const engine::FormatInfo* format = nullptr;
  std::int64_t cols = 0;
  std::vector<std::int64_t> rows;  // of the tensor
  std::vector<float> decoded;      // [n_rows, cols]
  engine::PackedMatrix packed;
  std::vector<float> x;
  // What every kernel must give, [token][row]: of rounded activations, of exact ones, and the bits of the latter.
  std::vector<ExpectedProduct> rounded, exact;
  std::vector<float> f32;
  std::int64_t n_rows() const noexcept { return static_cast<std::int64_t>(rows.size()); }
};
// tensor: a matrix. Errors as engine::pack().
Result<ProductTrial> make_product_trial(const engine::GgufTensor& tensor, Executor& executor);

struct ProductsFound {
  double worst = 0;  // of the bound; infinite for a number that is none
  std::int64_t row = -1;
  std::string where;
  std::int64_t n_compared = 0;
};
// Every product by these kernels, with few tokens and many, of both kinds of activations. kOutOfMemory is its only error.
Result<ProductsFound> compare_products(const ProductTrial& trial, const engine::panel::Kernels& kernels,
                                       std::string_view variant);

}  // namespace rowmax::doctor
