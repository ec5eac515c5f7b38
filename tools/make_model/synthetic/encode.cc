#include "tools/make_model/synthetic/encode.h"

#include <iterator>
#include <string>

namespace rowmax::tools {

Result<MatrixType> find_matrix_type(std::string_view name) {
  if (const engine::FormatInfo* format = engine::find_format(name)) return *format;
  std::string known;
  for (const engine::FormatInfo& format : engine::formats()) {
    known += known.empty() ? "" : ", ";
    known += format.name;
  }
  return Error{ErrorCode::kInvalidArgument, "unknown type '" + std::string(name) + "', expected one of " + known};
}

EncodedMatrix encode_matrix(const MatrixType& type, std::int64_t columns, const std::vector<float>& values) {
  if (columns % type.block_elements != 0 || std::ssize(values) / columns % type.row_group != 0) {
    return encode_matrix(*engine::find_format(kTypeF16), columns, values);
  }
  const std::int64_t rows = std::ssize(values) / columns;
  EncodedMatrix out;
  out.type = type.id;
  out.bytes.resize(static_cast<std::size_t>(engine::format_tensor_bytes(type, rows, columns)));
  engine::encode_tensor(type, values.data(), rows, columns, out.bytes.data());
  return out;
}

}  // namespace rowmax::tools
