// GGUF to GGUF: the same keys, the tensors in other types.
#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/guarded.h"
#include "engine/convert/write_model.h"
#include "engine/io/hadamard_keys.h"
#include "engine/io/text.h"
#include "engine/quant/format.h"
#include "rowmax/engine/convert.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

Status check_weights(const GgufFile& file, const GgufTensor& tensor) {
  const std::int64_t cols = tensor.shape[0], rows = tensor.n_elements() / cols;
  const InvalidWeight bad =
      find_invalid(*tensor.format, {tensor.data.data(), rows, cols}, [&] { file.drop_pages(tensor.data); });
  if (bad.row < 0) return {};
  return Error{ErrorCode::kCorrupt, concat(file.name(), ": tensor ", quote(tensor.name), " row ", bad.row,
                                           ": expected ", bad.expected, ", found ", bad.found)};
}

TensorRows rows_of(const GgufFile& file, const GgufTensor& tensor) {
  TensorRows out;
  out.name = tensor.name;
  out.from = tensor.format->name;
  out.shape = tensor.shape;
  out.format = tensor.format;
  out.bytes = tensor.data;
  const std::int64_t cols = tensor.shape[0];
  const TensorView view{tensor.data.data(), tensor.n_elements() / cols, cols};
  out.read = [view, format = tensor.format](std::int64_t row, std::int64_t n_rows, float* to) {
    format->decode(view, row, n_rows, to);
  };
  out.intact = [&file] { return file.check_intact(); };
  out.done = [&file, &tensor] { file.drop_pages(tensor.data); };
  return out;
}

// "210 Q4_1, 1 Q8_0" for what is neither F32, F16 nor BF16; empty where nothing is.
std::string quantised_types(const GgufFile& file) {
  std::map<std::string_view, int> counts;
  for (const GgufTensor& tensor : file.tensors()) {
    if (tensor.format->block_elements > 1) ++counts[tensor.format->name];
  }
  std::string text;
  for (const auto& [type, count] : counts) text += concat(text.empty() ? "" : ", ", count, " ", type);
  return text;
}

Result<ConvertReport> quantize(const std::string& input, const std::string& output, const ConvertOptions& options,
                               Executor& executor) {
  ROWMAX_RETURN_IF_ERROR(check_target(output, options, {input}));
  ROWMAX_TRY(file, GgufFile::open(input, options.input));
  ROWMAX_RETURN_IF_ERROR(check_target(output, options, {file.paths().begin(), file.paths().end()}));
  const auto turned = [](const auto& entry) { return entry.first.starts_with(kHadamardPrefix); };
  if (options.hadamard_block != 0 && std::ranges::any_of(file.metadata(), turned)) {
    return Error{ErrorCode::kInvalidArgument,
                 concat("--hadamard: ", file.name(), " is stored turned already (keys ", kHadamardPrefix, "*)")};
  }
  GgufWriter keys;
  for (const auto& [key, value] : file.metadata()) {
    if (!key.starts_with("split.")) keys.set_value(std::string(key), value);  // what is written is one file
  }
  std::vector<TensorRows> tensors;
  for (const GgufTensor& tensor : file.tensors()) {
    const Status sound = check_weights(file, tensor);
    ROWMAX_RETURN_IF_ERROR(file.check_intact());
    ROWMAX_RETURN_IF_ERROR(sound);
    tensors.push_back(rows_of(file, tensor));
  }
  // A file for other engines may be turned into other types too.
  const Status loads = check_loads(file);
  if (!loads.ok() && loads.error().code == ErrorCode::kOutOfMemory) return loads.error();  // says nothing of the file
  const ModelSource source{
      .name = input, .inputs = {file.paths().begin(), file.paths().end()}, .must_load = loads.ok()};
  ROWMAX_TRY(written,
             write_model(source, output, std::move(keys), std::move(tensors), options.types, options, executor));
  ConvertReport& report = written.report;
  if (!loads.ok()) report.notices.push_back(concat("rowmax could not run the input: ", loads.error().message));
  for (const std::string& notice : file.notices()) report.notices.push_back(notice);
  const std::string quantised = quantised_types(file);
  const bool any_loss = std::ranges::any_of(report.tensors, [](const auto& tensor) { return tensor.rms_error > 0; });
  if (!quantised.empty() && any_loss) {
    report.notices.push_back(concat("the input is quantised already (", quantised,
                                    "): the errors below come on top of its own; a file in F16, BF16 or F32 gives a "
                                    "better result"));
  }
  report.bytes_in = file.file_bytes();
  return std::move(written).commit();
}

}  // namespace

Result<ConvertReport> quantize_gguf(const std::string& input, const std::string& output, const ConvertOptions& options,
                                    Executor& executor) {
  return base::guarded([&]() -> Result<ConvertReport> { return quantize(input, output, options, executor); });
}

}  // namespace rowmax::engine
