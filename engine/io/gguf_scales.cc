#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/quant/format.h"
#include "rowmax/engine/gguf.h"

namespace rowmax::engine {
namespace {

void count(float scale, float smallest_normal, GgufScales& scales) noexcept {
  ++scales.n;
  if (!std::isfinite(scale)) {
    ++scales.n_non_finite;
    return;
  }
  scales.n_zero += scale == 0.0f;
  scales.n_subnormal += scale != 0.0f && std::fabs(scale) < smallest_normal;
  scales.n_negative += scale < 0.0f;
  const bool first = scales.n - scales.n_non_finite == 1;
  scales.min = first ? scale : std::min(scales.min, scale);
  scales.max = first ? scale : std::max(scales.max, scale);
}

}  // namespace

std::optional<GgufScales> ternary_scales(const GgufTensor& tensor) noexcept {
  const FormatInfo* format = tensor.format;
  if (format == nullptr || format->scale_of == nullptr || tensor.shape.empty()) return std::nullopt;
  const std::int64_t cols = tensor.shape[0];
  const TensorView view{tensor.data.data(), cols == 0 ? 0 : tensor.n_elements() / cols, cols};
  const std::int64_t n_rows = format->tail_bytes > 0 ? std::min<std::int64_t>(1, view.rows) : view.rows;
  const bool of_blocks = format->tail_bytes == 0 && format->row_head_bytes == 0;
  const std::int64_t n_blocks = of_blocks ? cols / format->block_elements : 1;
  const float smallest_normal = format->half_scales ? 0x1p-14f : std::numeric_limits<float>::min();
  GgufScales scales;
  for (std::int64_t row = 0; row < n_rows; ++row) {
    for (std::int64_t block = 0; block < n_blocks; ++block) {
      count(format->scale_of(view, row, block), smallest_normal, scales);
    }
  }
  return scales;
}

}  // namespace rowmax::engine
