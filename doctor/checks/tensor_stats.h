// What the numbers of a tensor look like: decoded, all rows or every so many.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/quant/format.h"
#include "rowmax/engine/gguf.h"
#include "rowmax/executor.h"

namespace rowmax::doctor {

struct ByteRun {
  std::int64_t begin = -1, size = 0;  // of the tensor's bytes
  std::byte byte{0};
};

struct TensorStats {
  std::string name, kind;   // "blk.3.attn_q.weight", "attn_q.weight"
  std::int64_t layer = -1;  // -1: of none
  const engine::FormatInfo* format = nullptr;
  std::int64_t rows = 0, cols = 0;
  std::int64_t stride = 1;  // every stride-th row was decoded; bytes were looked at in all rows
  std::int64_t n_rows() const noexcept { return static_cast<std::int64_t>(row_rms.size()); }
  std::int64_t n() const noexcept { return n_rows() * cols; }

  // Of the numbers that are finite.
  double rms = 0;
  float low = 0, high = 0;
  std::int64_t n_zero = 0;
  std::vector<float> row_rms, row_most;  // root mean square and largest magnitude, one a decoded row
  std::vector<float> col_rms;            // over the decoded rows

  engine::InvalidWeight invalid;  // the first number that no sound file holds (row -1: none)
  std::int64_t invalid_col = -1;  // of it, where it is one number
  ByteRun run;                    // the longest run of equal bytes of at least kLongRun; begin -1: none

  bool is_matrix() const noexcept { return rows > 1; }
  bool is_ternary() const noexcept;
};

// Shorter runs of equal bytes occur in sound files (dead rows, padding).
inline constexpr std::int64_t kLongRun = 2048;

// stride: from 1 on. Statistics do not depend on the executor's threads.
TensorStats look_at(const engine::GgufTensor& tensor, std::int64_t stride, Executor& executor);

}  // namespace rowmax::doctor
