#include "engine/quant/format.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "base/fp_env.h"
#include "engine/quant/floats.h"
#include "engine/quant/fp4.h"
#include "engine/quant/i2_s.h"
#include "engine/quant/iq.h"
#include "engine/quant/iq4.h"
#include "engine/quant/iq_bn.h"
#include "engine/quant/ptq1_0.h"
#include "engine/quant/q1_0.h"
#include "engine/quant/q2_0.h"
#include "engine/quant/q2_0c.h"
#include "engine/quant/q2_k.h"
#include "engine/quant/q3_k.h"
#include "engine/quant/q4_0.h"
#include "engine/quant/q4_1.h"
#include "engine/quant/q4_k.h"
#include "engine/quant/q5_0.h"
#include "engine/quant/q5_1.h"
#include "engine/quant/q5_k.h"
#include "engine/quant/q6_k.h"
#include "engine/quant/q8_0.h"
#include "engine/quant/stq1_0.h"
#include "engine/quant/tq_0.h"

namespace rowmax::engine {
namespace {

// clang-format off
constexpr FormatInfo kFormats[] = {
    quant::float_format_row<quant::F32>(),
    quant::float_format_row<quant::F16>(),
    quant::integer_format_row<quant::Q40>(),
    quant::integer_format_row<quant::Q41>(),
    quant::integer_format_row<quant::Q50>(),
    quant::integer_format_row<quant::Q51>(),
    quant::integer_format_row<quant::Q80>(),
    quant::integer_format_row<quant::Q2K>(),
    quant::integer_format_row<quant::Q3K>(),
    quant::integer_format_row<quant::Q4K>(),
    quant::integer_format_row<quant::Q5K>(),
    quant::integer_format_row<quant::Q6K>(),
    quant::integer_format_row<quant::Iq2Xxs>(),
    quant::integer_format_row<quant::Iq2Xs>(),
    quant::integer_format_row<quant::Iq3Xxs>(),
    quant::integer_format_row<quant::Iq1S>(),
    quant::integer_format_row<quant::Iq4Nl>(),
    quant::integer_format_row<quant::Iq3S>(),
    quant::integer_format_row<quant::Iq2S>(),
    quant::integer_format_row<quant::Iq4Xs>(),
    quant::integer_format_row<quant::Iq1M>(),
    quant::float_format_row<quant::BF16>(),
    quant::integer_format_row<quant::Tq10>(),
    quant::integer_format_row<quant::Tq20>(),
    quant::ternary_rows_row<quant::I2S>(),
    quant::ternary_rows_row<quant::I2S64>(),
    quant::ternary_rows_row<quant::I2SRow4>(),
    quant::integer_format_row<quant::Mxfp4>(),
    quant::integer_format_row<quant::Nvfp4>(),
    quant::integer_format_row<quant::Q20C>(),
    quant::integer_format_row<quant::Q10>(),
    quant::integer_format_row<quant::Q20CType41>(),
    quant::integer_format_row<quant::Q20>(),
    quant::integer_format_row<quant::Q20G128>(),
    quant::integer_format_row<quant::Stq10Type42>(),
    quant::integer_format_row<quant::Stq10>(),
    quant::ternary_rows_row<quant::Iq1Bn>(),
    quant::ternary_rows_row<quant::Iq2Bn>(),
    quant::integer_format_row<quant::Pq20>(),
    quant::integer_format_row<quant::Ptq10>(),
    quant::ternary_rows_row<quant::Iq2BnR4>(),
};
// clang-format on

}  // namespace

std::span<const FormatInfo> formats() noexcept { return kFormats; }

std::span<const FormatInfo> formats_of(std::uint32_t id) noexcept {
  // Not equal_range: its subrange does not compile with clang 14 over libstdc++ 12.
  const auto* first = std::ranges::lower_bound(kFormats, id, {}, &FormatInfo::id);
  const auto* last = std::ranges::upper_bound(kFormats, id, {}, &FormatInfo::id);
  return {first, last};
}

const FormatInfo* find_format(std::uint32_t id) noexcept {
  const auto found = formats_of(id);
  return found.empty() ? nullptr : found.data();
}

const FormatInfo* find_format(std::string_view name) noexcept {
  const auto* found = std::ranges::find_if(kFormats, [&](const FormatInfo& format) { return name == format.name; });
  return found == std::end(kFormats) ? nullptr : found;
}

void decode_row(const FormatInfo& format, std::span<const std::byte> tensor, std::int64_t row, std::int64_t cols,
                float* out) noexcept {
  ROWMAX_CHECK(row >= 0 && cols > 0 && cols % format.block_elements == 0, "decode_row: not whole blocks");
  const std::int64_t n_rows =
      (static_cast<std::int64_t>(tensor.size()) - format.tail_bytes) / format_row_bytes(format, cols);
  ROWMAX_CHECK(row < n_rows, "decode_row: row beyond the tensor");
  const base::ScopedFpEnv fp_env;
  format.decode({tensor.data(), n_rows, cols}, row, 1, out);
}

void encode_tensor(const FormatInfo& format, const float* values, std::int64_t rows, std::int64_t cols,
                   std::byte* out) noexcept {
  ROWMAX_CHECK(rows % format.row_group == 0 && cols % format.block_elements == 0, "encode_tensor: not whole blocks");
  const float scale = format.tensor_scale != nullptr ? format.tensor_scale(values, rows * cols) : 0.0f;
  format.encode(values, {out, rows, cols, scale}, 0, rows);
}

}  // namespace rowmax::engine
