#include "engine/quant/format.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "base/fp_env.h"
#include "engine/quant/floats.h"
#include "engine/quant/q4_0.h"
#include "engine/quant/q4_1.h"
#include "engine/quant/q4_k.h"
#include "engine/quant/q5_0.h"
#include "engine/quant/q5_1.h"
#include "engine/quant/q5_k.h"
#include "engine/quant/q6_k.h"
#include "engine/quant/q8_0.h"

namespace rowmax::engine {
namespace {

constexpr FormatInfo kFormats[] = {
    quant::float_format_row<quant::F32>(),   quant::float_format_row<quant::F16>(),
    quant::integer_format_row<quant::Q40>(), quant::integer_format_row<quant::Q41>(),
    quant::integer_format_row<quant::Q50>(), quant::integer_format_row<quant::Q51>(),
    quant::integer_format_row<quant::Q80>(), quant::integer_format_row<quant::Q4K>(),
    quant::integer_format_row<quant::Q5K>(), quant::integer_format_row<quant::Q6K>(),
    quant::float_format_row<quant::BF16>(),
};

}  // namespace

std::span<const FormatInfo> formats() noexcept { return kFormats; }

const FormatInfo* find_format(std::uint32_t id) noexcept {
  const auto* found = std::ranges::find(kFormats, id, &FormatInfo::id);
  return found == std::end(kFormats) ? nullptr : found;
}

const FormatInfo* find_format(std::string_view name) noexcept {
  const auto* found = std::ranges::find_if(kFormats, [&](const FormatInfo& format) { return name == format.name; });
  return found == std::end(kFormats) ? nullptr : found;
}

void decode_row(const FormatInfo& format, std::span<const std::byte> tensor, std::int64_t row, std::int64_t cols,
                float* out) noexcept {
  ROWMAX_CHECK(row >= 0 && cols > 0 && cols % format.block_elements == 0, "decode_row: not whole blocks");
  const std::int64_t row_bytes = format_row_bytes(format, cols);
  ROWMAX_CHECK(row < static_cast<std::int64_t>(tensor.size()) / row_bytes, "decode_row: row beyond the tensor");
  const base::ScopedFpEnv fp_env;
  format.decode(tensor.data() + row * row_bytes, cols / format.block_elements, out);
}

}  // namespace rowmax::engine
