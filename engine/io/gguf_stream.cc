#include "engine/io/gguf_stream.h"

#include <utility>

#include "base/guarded.h"
#include "engine/io/gguf_format.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {

GgufStream::GgufStream(OutputFile file, std::vector<GgufTensorPlan> tensors, std::size_t alignment)
    : file_(std::move(file)), tensors_(std::move(tensors)), alignment_(alignment) {}

Result<GgufStream> GgufStream::create(const std::string& path, const GgufWriter& keys,
                                      std::vector<GgufTensorPlan> tensors, const OutputOptions& output) {
  return base::guarded([&]() -> Result<GgufStream> {
    ROWMAX_TRY(head, keys.head_for(tensors));
    ROWMAX_TRY(alignment, keys.tensor_alignment());
    ROWMAX_TRY(file, OutputFile::create(path, output));
    ROWMAX_RETURN_IF_ERROR(file.append(head));
    return GgufStream(std::move(file), std::move(tensors), alignment);
  });
}

Status GgufStream::append(std::span<const std::byte> bytes) {
  return base::guarded([&] { return append_bytes(bytes); });
}

Status GgufStream::append_bytes(std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  if (tensor_ == tensors_.size()) return Error{ErrorCode::kInvalidArgument, "bytes behind the last tensor"};
  const GgufTensorPlan& tensor = tensors_[tensor_];
  if (bytes.size() > tensor.n_bytes - written_) {
    return Error{ErrorCode::kInvalidArgument,
                 concat("tensor ", quote(tensor.name), " expected ", tensor.n_bytes, " bytes, found more")};
  }
  ROWMAX_RETURN_IF_ERROR(file_.append(bytes));
  written_ += bytes.size();
  if (written_ < tensor.n_bytes) return {};
  const std::vector<std::byte> zeros(align_up(written_, alignment_) - written_);
  ROWMAX_RETURN_IF_ERROR(file_.append(zeros));
  ++tensor_;
  written_ = 0;
  return {};
}

Status GgufStream::skip_tensor() {
  return base::guarded([&]() -> Status {
    if (tensor_ == tensors_.size()) return Error{ErrorCode::kInvalidArgument, "nothing behind the last tensor"};
    ROWMAX_RETURN_IF_ERROR(file_.skip(align_up(tensors_[tensor_].n_bytes, alignment_)));
    ++tensor_;
    written_ = 0;
    return {};
  });
}

Status GgufStream::commit() { return commit_all({this, 1}); }

Status GgufStream::commit_all(std::span<GgufStream> streams) {
  return base::guarded([&]() -> Status {
    std::vector<OutputFile*> files;
    for (GgufStream& stream : streams) {
      if (!stream.is_complete()) {
        return Error{ErrorCode::kInvalidArgument,
                     concat("tensor ", quote(stream.tensors_[stream.tensor_].name), " is not complete")};
      }
      files.push_back(&stream.file_);
    }
    return OutputFile::commit_all(files);
  });
}

}  // namespace rowmax::engine
