// Writes a GGUF file whose tensors do not all fit in memory: the keys first, then the tensors' bytes as they come.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/io/atomic_file.h"
#include "rowmax/engine/gguf.h"
#include "rowmax/result.h"

namespace rowmax::engine {

class GgufStream {
 public:
  // keys: the file's metadata (tensors that were added to it are not written). The file appears with commit(), or not
  // at all.
  static Result<GgufStream> create(const std::string& path, const GgufWriter& keys,
                                   std::vector<GgufTensorPlan> tensors);

  // The next bytes of the tensors, in order; one call must not reach from one tensor into the next. kInvalidArgument
  // for more bytes than the tensor has.
  Status append(std::span<const std::byte> bytes);
  // kInvalidArgument when a tensor is not complete.
  Status commit();

 private:
  GgufStream(AtomicFile file, std::vector<GgufTensorPlan> tensors, std::size_t alignment);

  AtomicFile file_;
  std::vector<GgufTensorPlan> tensors_;
  std::size_t alignment_;
  std::size_t tensor_ = 0;     // the one being written
  std::uint64_t written_ = 0;  // bytes of it
};

}  // namespace rowmax::engine
