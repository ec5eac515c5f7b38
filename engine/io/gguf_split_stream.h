// Writes a GGUF file, or one that is split over several as llama.cpp's gguf-split does it (gguf_split.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/io/gguf_stream.h"
#include "rowmax/engine/gguf.h"
#include "rowmax/engine/output_file.h"
#include "rowmax/result.h"

namespace rowmax::engine {

// kInvalidArgument for a name that is one of a part itself: "x-00001-of-00002.gguf".
Status check_split_prefix(const std::string& path);

class GgufSplitStream {
 public:
  // max_part_bytes 0: one file at `path`. Else PREFIX-00001-of-0000N.gguf and so on, where path is PREFIX.gguf or
  // PREFIX, none larger than that unless it holds one tensor alone. The first has the keys; all have split.no,
  // split.count and split.tensors.count. The files appear with commit(), all or none. Parts of a model of the same name
  // in another number of files are refused; with overwrite commit() removes them once the new files are complete
  // (gguf_other_parts.h). Where they are the input they are refused with it too.
  static Result<GgufSplitStream> create(const std::string& path, const GgufWriter& keys,
                                        std::vector<GgufTensorPlan> tensors, std::uint64_t max_part_bytes,
                                        const OutputOptions& output);

  // As GgufStream's.
  Status append(std::span<const std::byte> bytes);
  Status skip_tensor();
  Status commit();

  const std::vector<std::string>& paths() const noexcept { return paths_; }
  // As OutputFile's, of all.
  Status check_there() const;
  // Where the bytes lie until commit().
  std::vector<std::string> temporaries() const;
  // After commit(): what it removed, and files with such a name that are no such part, which it kept.
  const std::vector<std::string>& removed() const noexcept { return removed_; }
  const std::vector<std::string>& kept() const noexcept { return kept_; }
  // Files larger than was allowed.
  std::size_t n_larger() const noexcept { return n_larger_; }

 private:
  GgufSplitStream() = default;
  GgufStream& current();

  std::string prefix_;  // of the parts; empty: one file
  bool overwrite_ = false;
  std::vector<std::string> paths_, removed_, kept_;
  std::vector<GgufStream> parts_;
  std::size_t part_ = 0;  // the one being written
  std::size_t n_larger_ = 0;
};

}  // namespace rowmax::engine
