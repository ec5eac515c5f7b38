// Writes a GGUF file whose tensors do not all fit in memory: the keys first, then the tensors' bytes as they come.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "rowmax/engine/gguf.h"
#include "rowmax/engine/output_file.h"
#include "rowmax/result.h"

namespace rowmax::engine {

class GgufStream {
 public:
  // keys: the file's metadata (tensors that were added to it are not written). The file appears with commit(), or not
  // at all.
  static Result<GgufStream> create(const std::string& path, const GgufWriter& keys, std::vector<GgufTensorPlan> tensors,
                                   const OutputOptions& output = {.overwrite = true, .inputs = {}});

  // The next bytes of the tensors, in order; one call must not reach from one tensor into the next. kInvalidArgument
  // for more bytes than the tensor has.
  Status append(std::span<const std::byte> bytes);
  // kInvalidArgument when a tensor is not complete.
  Status commit();
  // The same for several files: all of them get their names, or none.
  static Status commit_all(std::span<GgufStream> streams);
  // Zeros for all of the next tensor, as a hole.
  Status skip_tensor();
  bool is_complete() const noexcept { return tensor_ == tensors_.size(); }
  // As OutputFile's.
  Status check_there() const { return file_.check_there(); }
  // Where the bytes lie until commit().
  const std::string& temporary() const noexcept { return file_.temporary(); }

 private:
  Status append_bytes(std::span<const std::byte> bytes);
  GgufStream(OutputFile file, std::vector<GgufTensorPlan> tensors, std::size_t alignment);

  OutputFile file_;
  std::vector<GgufTensorPlan> tensors_;
  std::size_t alignment_;
  std::size_t tensor_ = 0;     // the one being written
  std::uint64_t written_ = 0;  // bytes of it
};

}  // namespace rowmax::engine
