#include "apps/cli/safetensors_writer.h"

#include "apps/cli/json_output.h"
#include "rowmax/try.h"

namespace rowmax::cli {

Status write_safetensors(const std::string& path, const engine::OutputOptions& options,
                         std::span<const std::pair<std::string, std::string>> metadata,
                         std::span<const F32Tensor> tensors) {
  Json header = Json::object();
  Json texts = Json::object();
  for (const auto& [name, text] : metadata) texts.append(name, Json(text));
  header.append("__metadata__", std::move(texts));
  std::uint64_t at = 0;
  for (const F32Tensor& tensor : tensors) {
    const std::uint64_t end = at + tensor.values.size_bytes();
    header.append(tensor.name, Json{{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", std::vector{at, end}}});
    at = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // the data is aligned
  std::byte length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<std::byte>(text.size() >> (8 * i));
  ROWMAX_TRY(file, engine::OutputFile::create(path, options));
  ROWMAX_RETURN_IF_ERROR(file.append(length));
  ROWMAX_RETURN_IF_ERROR(file.append(std::as_bytes(std::span(text))));
  for (const F32Tensor& tensor : tensors) ROWMAX_RETURN_IF_ERROR(file.append(std::as_bytes(tensor.values)));
  return file.commit();
}

}  // namespace rowmax::cli
