#include "tools/make_model/synthetic/planned_tensor.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/half.h"
#include "rowmax/try.h"
#include "tools/make_model/synthetic/random.h"

namespace rowmax::tools {
namespace {

constexpr std::int64_t kPieceElements = 1 << 20;

// The values of consecutive rows, again and again.
class RowSource {
 public:
  RowSource(const PlannedTensor& tensor, std::uint64_t seed) : tensor_(tensor), stream_(seed, tensor.name) {}

  void fill(std::span<float> values) {
    switch (tensor_.values) {
      case Values::kGiven:
        std::copy_n(tensor_.given.begin() + at_, values.size(), values.begin());
        at_ += static_cast<std::ptrdiff_t>(values.size());
        return;
      case Values::kNormal: stream_.fill_normal(values); break;
      case Values::kTernary: stream_.fill_ternary(values); break;
      case Values::kBinary: stream_.fill_binary(values); break;
    }
    for (float& value : values) value *= tensor_.scale;
  }

 private:
  const PlannedTensor& tensor_;
  RandomStream stream_;
  std::ptrdiff_t at_ = 0;
};

// Rows of a piece: whole groups, and whole words of random bits.
std::int64_t piece_rows(const PlannedTensor& tensor) {
  return std::max<std::int64_t>(1, kPieceElements / tensor.columns() / 64) * 64;
}

// The one scale of a format that has one a tensor: that of the largest magnitude.
float tensor_scale(const PlannedTensor& tensor, std::uint64_t seed, std::vector<float>& piece) {
  if (tensor.type->tensor_scale == nullptr) return 0.0f;
  if (tensor.values == Values::kTernary || tensor.values == Values::kBinary) return tensor.scale;
  RowSource source(tensor, seed);
  float most = 0.0f;
  for (std::int64_t row = 0; row < tensor.rows(); row += piece_rows(tensor)) {
    const std::int64_t n = std::min(piece_rows(tensor), tensor.rows() - row);
    const std::span<float> values = std::span(piece).first(static_cast<std::size_t>(n * tensor.columns()));
    source.fill(values);
    for (const float value : values) most = std::max(most, std::fabs(value));
  }
  return tensor.type->tensor_scale(&most, 1);
}

}  // namespace

Result<const engine::FormatInfo*> find_matrix_type(std::string_view name) {
  if (const engine::FormatInfo* format = engine::find_format(name)) return format;
  std::string known;
  for (const engine::FormatInfo& format : engine::formats()) {
    known += known.empty() ? "" : ", ";
    known += format.name;
  }
  return Error{ErrorCode::kInvalidArgument, "unknown type '" + std::string(name) + "', expected one of " + known};
}

PlannedTensor plan_matrix(std::string name, const engine::FormatInfo& type, std::int64_t columns, std::int64_t rows,
                          Values values, float deviation) {
  const bool whole = columns % type.block_elements == 0 && rows % type.row_group == 0;
  PlannedTensor tensor{
      std::move(name), whole ? &type : engine::find_format("F16"), {columns, rows}, values, deviation, false, {}};
  if (values == Values::kTernary) tensor.scale *= std::sqrt(2.0f);  // half of the values are 0
  if (values != Values::kNormal) tensor.scale = base::f16_to_f32(base::f32_to_f16(tensor.scale));
  return tensor;
}

PlannedTensor plan_vector(std::string name, std::vector<float> values) {
  const auto n = static_cast<std::int64_t>(values.size());
  return {std::move(name), engine::find_format("F32"), {n}, Values::kGiven, 1.0f, false, std::move(values)};
}

engine::GgufTensorPlan file_plan(const PlannedTensor& tensor) {
  const std::int64_t n_bytes = engine::format_tensor_bytes(*tensor.type, tensor.rows(), tensor.columns());
  return {tensor.name, tensor.type->id, tensor.shape, static_cast<std::uint64_t>(n_bytes)};
}

Status emit(const PlannedTensor& tensor, std::uint64_t seed, const Sink& sink) {
  const engine::FormatInfo& type = *tensor.type;
  const std::int64_t columns = tensor.columns(), step = std::min(piece_rows(tensor), tensor.rows());
  std::vector<float> values(static_cast<std::size_t>(step * columns));
  const float scale = tensor_scale(tensor, seed, values);
  std::vector<std::byte> bytes;
  RowSource source(tensor, seed);
  for (std::int64_t row = 0; row < tensor.rows(); row += step) {
    const std::int64_t n = std::min(step, tensor.rows() - row);
    // A piece is a tensor of its own; the last one's tail is the tensor's.
    if (row == 0 || !tensor.repeat) {
      source.fill(std::span(values).first(static_cast<std::size_t>(n * columns)));
      bytes.assign(static_cast<std::size_t>(engine::format_tensor_bytes(type, n, columns)), std::byte{});
      type.encode(values.data(), {bytes.data(), n, columns, scale}, 0, n);
    }
    const auto row_bytes = static_cast<std::size_t>(n * engine::format_row_bytes(type, columns));
    ROWMAX_RETURN_IF_ERROR(sink(std::span(bytes).first(row_bytes)));
  }
  return sink(std::span(bytes).last(static_cast<std::size_t>(type.tail_bytes)));
}

}  // namespace rowmax::tools
