// Rows of the file itself, multiplied by every variant of the kernels that this machine can run, against the definition
// in f64. The engine's own self-test takes numbers that it made; real rows have the scales, minima and outliers that a
// format's arithmetic may be wrong for.
#include "doctor/checks/kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "base/buffer.h"
#include "base/fp_env.h"
#include "engine/ops/matmul/kernel_tables.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::Activations;
using engine::FormatInfo;
using engine::GgufTensor;

// Three panels of 16 rows, the last one in part, and whole groups of every format that mixes rows.
constexpr std::int64_t kMostRows = 36;
// Few tokens and many go different ways; 19 is no multiple of any of their steps.
constexpr std::int64_t kTokens[] = {1, 19};
constexpr std::int64_t kMostTokens = 19;

const char* activations_name(Activations activations) { return activations == Activations::kInt8 ? "int8" : "f32"; }

std::vector<float> multiply(const ProductTrial& trial, const engine::panel::Kernels& kernels, std::int64_t n_tok,
                            Activations activations, std::span<std::byte> workspace) {
  // What a kernel leaves out stays NaN, which is within no bound.
  std::vector<float> y(static_cast<std::size_t>(n_tok * trial.n_rows()), std::numeric_limits<float>::quiet_NaN());
  const engine::MatmulTerm term{&trial.packed, y.data(), trial.n_rows()};
  SerialExecutor executor;
  engine::matmul({&term, 1}, trial.x.data(), trial.cols, n_tok, activations, workspace, kernels, executor);
  return y;
}

}  // namespace

Result<ProductTrial> make_product_trial(const GgufTensor& tensor, Executor& executor) {
  const FormatInfo& format = *tensor.format;
  ProductTrial trial;
  trial.tensor = tensor.name;
  trial.format = &format;
  trial.cols = tensor.shape[0];
  const std::int64_t n_all = tensor.n_elements() / trial.cols, group = format.row_group;
  const std::int64_t n_groups = std::min(n_all / group, kMostRows / group);
  const std::int64_t group_bytes = group * engine::format_row_bytes(format, trial.cols);
  std::vector<std::byte> bytes;
  for (std::int64_t g = 0; g < n_groups; ++g) {  // from all over the tensor, the first and the last among them
    const std::int64_t from = n_groups == 1 ? 0 : g * (n_all / group - 1) / (n_groups - 1);
    const auto piece =
        tensor.data.subspan(static_cast<std::size_t>(from * group_bytes), static_cast<std::size_t>(group_bytes));
    bytes.insert(bytes.end(), piece.begin(), piece.end());
    for (std::int64_t r = 0; r < group; ++r) trial.rows.push_back(from * group + r);
  }
  const auto tail = tensor.data.last(static_cast<std::size_t>(format.tail_bytes));
  bytes.insert(bytes.end(), tail.begin(), tail.end());
  trial.decoded.resize(static_cast<std::size_t>(trial.n_rows() * trial.cols));
  {
    const base::ScopedFpEnv fp_env;
    format.decode({bytes.data(), trial.n_rows(), trial.cols}, 0, trial.n_rows(), trial.decoded.data());
  }
  ROWMAX_TRY(packed, engine::pack(format, bytes, trial.n_rows(), trial.cols, executor));
  trial.packed = std::move(packed);
  trial.x = test_input(kMostTokens * trial.cols, 1);
  const base::ScopedFpEnv fp_env;
  const auto cols = static_cast<std::size_t>(trial.cols);
  for (std::size_t token = 0; token < static_cast<std::size_t>(kMostTokens); ++token) {
    const auto x = std::span(trial.x).subspan(token * cols, cols);
    for (std::size_t r = 0; r < trial.rows.size(); ++r) {
      const auto row = std::span(trial.decoded).subspan(r * cols, cols);
      trial.rounded.push_back(expected_product(format, row, x, Activations::kInt8));
      trial.exact.push_back(expected_product(format, row, x, Activations::kF32));
      trial.f32.push_back(f32_product(row, x));
    }
  }
  return trial;
}

Result<ProductsFound> compare_products(const ProductTrial& trial, const engine::panel::Kernels& kernels,
                                       std::string_view variant) {
  const base::ScopedFpEnv fp_env;
  ProductsFound found;
  ROWMAX_TRY(workspace, base::Buffer::allocate(engine::matmul_workspace_bytes(kMostTokens, trial.cols)));
  for (const Activations activations : {Activations::kInt8, Activations::kF32}) {
    const bool exact = activations == Activations::kF32 || always_f32(*trial.format);
    for (const std::int64_t n_tok : kTokens) {
      const std::vector<float> y = multiply(trial, kernels, n_tok, activations, {workspace.data(), workspace.size()});
      for (std::size_t i = 0; i < y.size(); ++i) {
        const std::int64_t token = static_cast<std::int64_t>(i) / trial.n_rows();
        const std::int64_t r = static_cast<std::int64_t>(i) % trial.n_rows();
        const ExpectedProduct& expected = (activations == Activations::kInt8 ? trial.rounded : trial.exact)[i];
        ++found.n_compared;
        if (!std::isfinite(expected.value)) continue;  // damaged weights: another check's business
        double part = std::fabs(static_cast<double>(y[i]) - expected.value) / expected.bound;
        if (exact && std::bit_cast<std::uint32_t>(y[i]) != std::bit_cast<std::uint32_t>(trial.f32[i])) {
          part = std::max(part, 2.0);  // the f32 path has its bits by definition
        }
        if (std::isnan(part)) part = std::numeric_limits<double>::infinity();
        if (part <= found.worst) continue;
        found.worst = part;
        found.row = trial.rows[static_cast<std::size_t>(r)];
        found.where = "row " + std::to_string(found.row) + " of " + trial.tensor + " (" + trial.format->name +
                      ") with " + std::string(variant) + " kernels, " + activations_name(activations) +
                      " activations, token " + std::to_string(token) + " of " + std::to_string(n_tok) + ": expected " +
                      std::to_string(expected.value) + " within " + std::to_string(expected.bound) + ", found " +
                      std::to_string(y[i]);
      }
    }
  }
  return found;
}

namespace {

// One tensor for each format and number of columns: what the arithmetic of a product depends on.
std::vector<const GgufTensor*> product_kinds(const engine::GgufFile& file) {
  std::vector<const GgufTensor*> out;
  for (const GgufTensor& tensor : file.tensors()) {
    if (tensor.shape.size() < 2 || tensor.n_elements() == tensor.shape[0]) continue;
    const bool known = std::ranges::any_of(out, [&](const GgufTensor* other) {
      return other->format == tensor.format && other->shape[0] == tensor.shape[0];
    });
    if (!known) out.push_back(&tensor);
  }
  return out;
}

Cause kernel_cause(const std::string& tensor, const std::string& format, const std::string& variant,
                   const ProductsFound& found, bool has_other) {
  Cause cause;
  cause.id = "format_kernel";
  cause.place.tensor = tensor;
  cause.text = "The " + variant + " kernels multiply " + format + " weights wrongly on this processor (row " +
               std::to_string(found.row) + " of " + tensor +
               "): " + (has_other ? "choose others with --kernels, and report this build." : "report this build.");
  cause.evidence = {
      {"format", format}, {"kernels", variant}, {"row", std::to_string(found.row)}, {"found", found.where}};
  cause.command = "rowmax run MODEL --kernels -" + variant;
  cause.confidence = 0.95;  // a proved bound was exceeded
  return cause;
}

}  // namespace

Result<CheckResult> check_kernels(Patient& patient) {
  constexpr std::string_view kId = "kernels";
  const auto file = patient.file();
  if (!file.ok()) return CheckResult::inconclusive(kId, "the file cannot be read: " + file.error().message);
  const auto kinds = product_kinds(**file);
  CheckResult result = CheckResult::pass(kId, 0);
  result.id = kId;
  std::string variants, formats;
  std::vector<Cause> causes;
  double worst = 0;
  std::int64_t n_compared = 0;
  std::string where;
  std::size_t done = 0;
  std::size_t n_supported = 0;
  for (const auto& table : engine::panel::kernel_tables()) n_supported += table.supported() ? 1 : 0;
  for (const GgufTensor* tensor : kinds) {
    auto trial = make_product_trial(*tensor, patient.executor());
    if (!trial.ok()) {
      if (trial.error().code == ErrorCode::kOutOfMemory) return Error(trial.error());
      continue;  // no format's rows: the file's checks say so
    }
    formats += (formats.empty() ? "" : ", ") + std::string(tensor->format->name) + " of " +
               std::to_string(trial->cols) + " columns";
    for (const auto& table : engine::panel::kernel_tables()) {
      if (!table.supported()) continue;
      if (done == 0) variants += (variants.empty() ? "" : ", ") + std::string(table.name);
      ROWMAX_TRY(found, compare_products(*trial, table.kernels(), table.name));
      n_compared += found.n_compared;
      if (found.worst > worst) {
        worst = found.worst;
        where = found.where;
        result.place.tensor = trial->tensor;
      }
      if (found.worst > 1) {
        causes.push_back(
            kernel_cause(trial->tensor, tensor->format->name, std::string(table.name), found, n_supported > 1));
      }
    }
    ++done;
    ROWMAX_RETURN_IF_ERROR(patient.step(static_cast<double>(done) / static_cast<double>(kinds.size())));
  }
  const Place place = result.place;
  if (causes.empty()) {
    result = CheckResult::pass(
        kId, n_compared,
        "products of " + formats + " with " + variants + " kernels agree with f64 sums over decoded rows");
  } else {
    result = CheckResult::fail(kId, n_compared, "a product is wrong: " + where);
    result.place = place;
  }
  // The bound is proved (products.h), so the threshold is the bound itself.
  result.measured = worst;
  result.threshold = 1;
  result.unit = "of the bound";
  result.causes = std::move(causes);
  return result;
}

}  // namespace rowmax::doctor
