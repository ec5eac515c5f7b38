// Matrices in the types that engine/quant can encode.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/quant/format.h"
#include "rowmax/result.h"

namespace rowmax::tools {

inline constexpr std::uint32_t kTypeF32 = 0;
inline constexpr std::uint32_t kTypeF16 = 1;

using MatrixType = engine::FormatInfo;

// By name, as in FormatInfo (F32, F16, Q4_1, ...). kInvalidArgument for an unknown one.
Result<MatrixType> find_matrix_type(std::string_view name);

struct EncodedMatrix {
  std::uint32_t type = 0;  // type's id, or F16 where the rows are no whole blocks of type
  std::vector<std::byte> bytes;
};
EncodedMatrix encode_matrix(const MatrixType& type, std::int64_t columns, const std::vector<float>& values);

}  // namespace rowmax::tools
