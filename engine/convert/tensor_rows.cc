#include "engine/convert/tensor_rows.h"

#include <algorithm>

namespace rowmax::engine {

InvalidWeight find_invalid(const FormatInfo& format, const TensorView& tensor, const std::function<void()>& drop) {
  constexpr std::int64_t kPieceElements = std::int64_t{1} << 22;
  const std::int64_t wanted = std::max<std::int64_t>(1, kPieceElements / tensor.cols), group = format.row_group;
  const std::int64_t rows_per_piece = (wanted + group - 1) / group * group;
  for (std::int64_t row = 0; row < tensor.rows; row += rows_per_piece) {
    const InvalidWeight bad = format.find_invalid(tensor, row, std::min(rows_per_piece, tensor.rows - row));
    drop();
    if (bad.row >= 0) return bad;
  }
  return {};
}

}  // namespace rowmax::engine
