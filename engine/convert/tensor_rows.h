// A tensor to be written: where its weights come from, row by row, whatever holds them.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/quant/format.h"
#include "rowmax/result.h"

namespace rowmax::engine {

struct TensorRows {
  std::string name;                 // in the output
  std::string from;                 // name of the type it is stored in
  std::vector<std::int64_t> shape;  // GGUF's order: fastest first
  // Rows [row, row + n_rows) as n_rows * cols() floats. Called from many threads at a time, with the default
  // floating-point environment.
  std::function<void(std::int64_t row, std::int64_t n_rows, float* out)> read;
  // Where the stored bytes are those of this format, and the weights nothing else: copied when it is also the target.
  const FormatInfo* format = nullptr;
  std::span<const std::byte> bytes;
  // In place of bytes, where they have to be put together first: rows [row, row + n_rows) of that format.
  std::function<void(std::int64_t row, std::int64_t n_rows, std::byte* out)> stored;
  std::uint64_t stored_bytes = 0;  // of all that it is made of
  // Called when what was read is not needed in memory now (it may be read again); may be empty.
  std::function<void()> done;
  // Whether what was read is what the file held; may be empty. Asked before the output is committed.
  std::function<Status()> intact;

  void drop() const {
    if (done) done();
  }
  std::int64_t cols() const noexcept { return shape[0]; }
  std::int64_t rows() const noexcept {
    std::int64_t n = 1;
    for (std::size_t i = 1; i < shape.size(); ++i) n *= shape[i];
    return n;
  }
};

// FormatInfo::find_invalid over the whole tensor, piece by piece; drop() after each.
InvalidWeight find_invalid(const FormatInfo& format, const TensorView& tensor, const std::function<void()>& drop);

}  // namespace rowmax::engine
