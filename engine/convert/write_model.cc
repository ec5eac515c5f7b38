#include "engine/convert/write_model.h"
#include "base/guarded.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "engine/convert/encode.h"
#include "engine/convert/hadamard.h"
#include "engine/convert/type_choice.h"
#include "engine/io/text.h"
#include "rowmax/engine/model.h"
#include "rowmax/engine/output_file.h"
#include "rowmax/engine/tokenizer.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

// general.file_type: what most matrices are. Source: llama.h of https://github.com/ggml-org/llama.cpp (llama_ftype); 40
// is bitnet.cpp's. Types without a row have no number, and the key is left out.
struct FileType {
  std::string_view type;
  std::uint32_t number;
};
constexpr FileType kFileTypes[] = {{"F32", 0},      {"F16", 1},       {"Q4_0", 2},    {"Q4_1", 3},    {"Q8_0", 7},
                                   {"Q5_0", 8},     {"Q5_1", 9},      {"Q2_K", 10},   {"Q3_K", 12},   {"Q4_K", 15},
                                   {"Q5_K", 17},    {"Q6_K", 18},     {"IQ4_NL", 25}, {"IQ4_XS", 30}, {"BF16", 32},
                                   {"TQ1_0", 36},   {"TQ2_0", 37},    {"MXFP4", 38},  {"NVFP4", 39},  {"I2_S", 40},
                                   {"I2_S_64", 40}, {"I2_S_ROW4", 40}};

void set_file_type(GgufWriter& keys, const std::string& type) {
  keys.remove("general.file_type");
  keys.remove("general.quantization_version");
  const auto* row = std::ranges::find(kFileTypes, type, &FileType::type);
  if (row != std::end(kFileTypes)) keys.set_uint32("general.file_type", row->number);
  keys.set_uint32("general.quantization_version", 2);
}

std::vector<std::string_view> types_that_need(bool importance) {
  std::vector<std::string_view> names;
  for (const FormatInfo& format : formats()) {
    if (format.needs_importance == importance) names.emplace_back(format.name);
  }
  return names;
}

class ModelWriter {
 public:
  ModelWriter(const ModelSource& source, std::vector<TensorRows> tensors, const ConvertOptions& options,
              Executor& executor)
      : source_(source), tensors_(std::move(tensors)), options_(options), executor_(executor) {
    for (const TensorRows& tensor : tensors_) total_ += weights(tensor);
  }

  Result<WrittenModel> run(const std::string& output, GgufWriter keys, const TypeRules& rules) {
    auto chosen = choose_types(tensors_, rules, executor_, report_.notices);
    if (!chosen.ok()) return named(std::move(chosen).error());
    set_file_type(keys, rules.type);
    std::vector<GgufTensorPlan> plans;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const TensorRows& tensor = tensors_[i];
      const FormatInfo& format = *(*chosen)[i];
      const auto n_bytes = static_cast<std::uint64_t>(format_tensor_bytes(format, tensor.rows(), tensor.cols()));
      plans.push_back({tensor.name, format.id, tensor.shape, n_bytes});
    }
    const OutputOptions target{.overwrite = options_.overwrite, .inputs = source_.inputs};
    GgufOptions layouts;
    for (const FormatInfo* format : *chosen) {
      if (formats_of(format->id).size() > 1 && !std::ranges::count(layouts.formats, format->name)) {
        layouts.formats.emplace_back(format->name);
      }
    }
    if (source_.must_load) {
      Status planned = check_plan(output, keys, plans, *chosen, layouts, target);
      // An input that was cut meanwhile is said first: "bad address" is no help.
      for (const TensorRows& tensor : tensors_) {
        if (!planned.ok() && tensor.intact) ROWMAX_RETURN_IF_ERROR(tensor.intact());
      }
      ROWMAX_RETURN_IF_ERROR(std::move(planned));
    }
    ROWMAX_TRY(stream, GgufSplitStream::create(output, keys, std::move(plans), options_.split_max_bytes, target));
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const Status written = write(tensors_[i], *(*chosen)[i], stream);
      if (tensors_[i].intact) ROWMAX_RETURN_IF_ERROR(tensors_[i].intact());
      ROWMAX_RETURN_IF_ERROR(written);
    }
    if (source_.must_load) ROWMAX_RETURN_IF_ERROR(check_written(stream, output, layouts));
    report_.files = stream.paths();
    if (stream.n_larger() > 0) {
      report_.notices.push_back(concat(stream.n_larger(), " of ", report_.files.size(), " files are larger than ",
                                       options_.split_max_bytes,
                                       " bytes: a single tensor, with what stands before it, is"));
    }
    return WrittenModel{std::move(report_), std::move(stream)};
  }

 private:
  // What would be refused as a model gets no name.
  Status check_written(const GgufSplitStream& stream, const std::string& output, const GgufOptions& layouts) const {
    const auto file = GgufFile::open_files(stream.temporaries(), layouts);
    const Status status = file.ok() ? check_loads(*file) : Status(file.error());
    if (status.ok()) return {};
    ROWMAX_RETURN_IF_ERROR(stream.check_there());  // rather than what is said of a file that is gone
    std::string message = status.error().message;
    for (const std::string& temporary : stream.temporaries()) {
      if (message.starts_with(temporary + ": ")) message = message.substr(temporary.size() + 2);
    }
    return Error{status.error().code,
                 concat(source_.name, ": rowmax could not run what ", output, " would be: ", message)};
  }

  // Before hours of work: the same file with holes for matrices.
  Status check_plan(const std::string& output, const GgufWriter& keys, const std::vector<GgufTensorPlan>& plans,
                    const std::vector<const FormatInfo*>& formats, const GgufOptions& layouts,
                    const OutputOptions& target) const {
    ROWMAX_TRY(stream, GgufSplitStream::create(output, keys, plans, options_.split_max_bytes, target));
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const TensorRows& tensor = tensors_[i];
      if (tensor.rows() > 1) {
        ROWMAX_RETURN_IF_ERROR(stream.skip_tensor());
      } else if (tensor.format == formats[i]) {
        ROWMAX_RETURN_IF_ERROR(copy(tensor, stream));
      } else {
        const auto sink = [&](std::span<const std::byte> bytes, std::int64_t) { return stream.append(bytes); };
        auto encoded = encode_rows(tensor, *formats[i], executor_, sink);
        if (!encoded.ok()) return named(std::move(encoded).error());
      }
    }
    return check_written(stream, output, layouts);
  }

  static std::uint64_t weights(const TensorRows& tensor) {
    return static_cast<std::uint64_t>(tensor.rows() * tensor.cols());
  }
  // Errors about the input name it, those about flags (--tensor, type) do not need to.
  Error named(Error error) const {
    if (error.message.starts_with("tensor ")) error.message = concat(source_.name, ": ", error.message);
    return error;
  }
  Status tell(const TensorRows& tensor, std::uint64_t done) const {
    if (options_.progress && !options_.progress({tensor.name, done, total_})) {
      return Error{ErrorCode::kCancelled, "interrupted; nothing was written"};
    }
    return {};
  }

  static Status copy(const TensorRows& tensor, GgufSplitStream& stream) {
    constexpr std::size_t kPieceBytes = std::size_t{16} << 20;
    if (tensor.stored) {
      const auto row_bytes = static_cast<std::size_t>(format_row_bytes(*tensor.format, tensor.cols()));
      const auto step = static_cast<std::int64_t>(std::max<std::size_t>(1, kPieceBytes / row_bytes));
      std::vector<std::byte> piece;
      for (std::int64_t row = 0; row < tensor.rows(); row += step) {
        const std::int64_t n = std::min(step, tensor.rows() - row);
        piece.resize(static_cast<std::size_t>(n) * row_bytes);
        tensor.stored(row, n, piece.data());
        ROWMAX_RETURN_IF_ERROR(stream.append(piece));
        tensor.drop();
      }
      return {};
    }
    for (std::size_t at = 0; at < tensor.bytes.size(); at += kPieceBytes) {
      ROWMAX_RETURN_IF_ERROR(stream.append(tensor.bytes.subspan(at, std::min(kPieceBytes, tensor.bytes.size() - at))));
      tensor.drop();
    }
    return {};
  }

  Status write(const TensorRows& tensor, const FormatInfo& format, GgufSplitStream& stream) {
    ROWMAX_RETURN_IF_ERROR(tell(tensor, done_));
    EncodingError error;
    if (tensor.format == &format) {
      ROWMAX_RETURN_IF_ERROR(copy(tensor, stream));
    } else {
      std::uint64_t n = done_;
      const auto sink = [&](std::span<const std::byte> bytes, std::int64_t n_rows) -> Status {
        ROWMAX_RETURN_IF_ERROR(stream.append(bytes));
        tensor.drop();
        n += static_cast<std::uint64_t>(n_rows * tensor.cols());
        return tell(tensor, n);
      };
      auto encoded = encode_rows(tensor, format, executor_, sink);
      if (!encoded.ok()) return named(std::move(encoded).error());
      error = *encoded;
    }
    done_ += weights(tensor);
    tensor.drop();
    const auto n_bytes = static_cast<std::uint64_t>(format_tensor_bytes(format, tensor.rows(), tensor.cols()));
    report_.tensors.push_back({tensor.name, tensor.from, format.name, tensor.shape, n_bytes, error.rms, error.max});
    report_.bytes_out += n_bytes;
    report_.bytes_in += tensor.stored_bytes;
    return {};
  }

  const ModelSource& source_;
  std::vector<TensorRows> tensors_;
  const ConvertOptions& options_;
  Executor& executor_;
  std::uint64_t total_ = 0, done_ = 0;
  ConvertReport report_;
};

}  // namespace

std::vector<std::string_view> writable_types() { return types_that_need(false); }
std::vector<std::string_view> types_read_alone() { return types_that_need(true); }

Status check_loads(const GgufFile& file) {
  ROWMAX_TRY(description, describe_model(file));
  TokenizerOptions options;
  options.default_pre = description.default_pre;
  const auto tokenizer = Tokenizer::from_gguf(file, options);
  return tokenizer.ok() ? Status() : Status(tokenizer.error());
}

Status check_target(const std::string& output, const ConvertOptions& options, std::vector<std::string> inputs) {
  if (options.split_max_bytes > 0) return check_split_prefix(output);
  return check_output(output, {.overwrite = options.overwrite, .inputs = std::move(inputs)});
}

Result<ConvertReport> WrittenModel::commit() && {
  ROWMAX_RETURN_IF_ERROR(file.commit());
  // The model has its name: no memory for words about it is no failure.
  const Status told = base::guarded([&]() -> Status {
    if (const auto& removed = file.removed(); !removed.empty()) {
      report.notices.push_back(concat("removed ", removed.front(), removed.size() > 1 ? " to " : "",
                                      removed.size() > 1 ? removed.back() : "",
                                      ": parts of the model of that name that this one replaces"));
    }
    for (const std::string& kept : file.kept()) {
      report.notices.push_back(concat(kept, ": kept; it has the name of a part of an older model and is none"));
    }
    return {};
  });
  static_cast<void>(told);
  return std::move(report);
}

Result<WrittenModel> write_model(const ModelSource& source, const std::string& output, GgufWriter keys,
                                 std::vector<TensorRows> tensors, const TypeRules& rules, const ConvertOptions& options,
                                 Executor& executor) {
  std::vector<std::string> notices;
  if (options.hadamard_block != 0) {
    ROWMAX_RETURN_IF_ERROR(fold_hadamard(tensors, options.hadamard_block, keys, notices));
  }
  ROWMAX_TRY(written, ModelWriter(source, std::move(tensors), options, executor).run(output, std::move(keys), rules));
  written.report.notices.insert(written.report.notices.begin(), notices.begin(), notices.end());
  return written;
}

}  // namespace rowmax::engine
