// y[tok][row] = sum over k of W[row][k] * x[tok][k], for weights in any format of engine/quant.
//
// Weights stay quantised: pack() rearranges them once, at load, into panels of 16 rows (at about the file's size), so
// that a vector lane is an output row. Every output is then one chain of float operations over k, in an order fixed by
// the weight format alone. The same bits come out for any number of tokens, any batch around a token, any thread count
// and any instruction set.
//
// Activations::kInt8 (the default; for formats with integer codes). Each token's x is cut into blocks of 32 (k = 32b ..
// 32b+31) and rounded once, to two signed bytes a number:
//   m = max |x|;  d = m / 16256;  a = round to nearest even (x * (16256 / m)), so |a| <= 16256 = 127 * 128
//   a = 128 * coarse + fine, |coarse| <= 127, -64 <= fine <= 63: the products are of bytes, and add up to those of a
//   (one byte alone, d = m / 127, costs SmolLM2-135M 0.5 % perplexity and its answer to a plain question:
//   docs/numerics.md);
//   m below 2^-100: d = 0 and a = 0; m infinite or NaN: d = NaN and a = 0, so that the output is NaN.
// W[row][k] = scale[row][g] * (code - offset) + min[row][g] for groups g of 32 k (Q2_K, Q3_K, Q6_K: 16; in longer
// blocks without sub-scales all groups of a block have its scale); for K-quants scale = d*sc and min = -(dmin*m), both
// exact in f32. Where a format's bits choose one of a few values (IQ4_NL, MXFP4), value is code - offset.
// Per output, for g ascending, starting from acc = +0:
//   i   = sum over the group of (code - offset) * a        an exact integer, below 2^27
//   acc = fma(float(i), scale * d, acc)                    float(i) rounds to nearest even
//   acc = fma(min, d * float(sum of a), acc)               formats with a minimum, after the line above
// Ternary formats with one scale a row or a tensor (I2_S, IQ1_BN, IQ2_BN) have a rule of their own in place of the
// above, that of the models that come in them (BitNet b1.58): one signed byte a number and one scale a token.
//   m = max |x| over the token;  s = 127 / max(m, 1e-5);  q = round to nearest even (x * s), so |q| <= 127
//   (m infinite or NaN: s = NaN and q = 0, so that the output is NaN)
//   i = sum over k of (code - 1) * q                       an exact integer, 32 bits for up to 2^22 columns
//   y = (float(i) * scale) / s                             float(i) rounds to nearest even
// Activations::kF32 (the exact path; always taken for F32, F16, BF16 and any format without an integer path). w is
// exactly what the format's decode() gives. k is cut into chunks of 256; each chunk is one chain s = fma(w, x, s) from
// s = +0, k ascending; y = chunk 0's sum, then y = y + (chunk's sum), chunks ascending.
// NaN outputs are the canonical NaN 0x7FC00000.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/buffer.h"
#include "engine/quant/format.h"
#include "rowmax/engine/types.h"
#include "rowmax/executor.h"
#include "rowmax/result.h"

namespace rowmax::engine {

namespace panel {
struct Kernels;  // panel.h
}
namespace quant {
struct Codebook;  // codebook.h
}

inline constexpr std::int64_t kPanelRows = 16;
using LookAtRows = std::function<void(std::int64_t first_row, std::int64_t n_rows)>;

// A weight matrix [rows, cols] in panels of 16 rows; the rows missing in the last panel are zero. Owns its bytes,
// unless pack() was given memory for them.
class PackedMatrix {
 public:
  PackedMatrix() noexcept = default;

  std::int64_t rows() const noexcept { return rows_; }
  std::int64_t cols() const noexcept { return cols_; }
  const FormatInfo* format() const noexcept { return format_; }  // nullptr for an empty matrix
  bool empty() const noexcept { return format_ == nullptr; }
  // The same matrix in the same memory, which must outlive it.
  PackedMatrix view() const noexcept {
    PackedMatrix out;
    out.data_ = data_;
    out.format_ = format_;
    out.rows_ = rows_;
    out.cols_ = cols_;
    out.panel_bytes_ = panel_bytes_;
    out.layout_ = layout_;
    out.book_ = book_;
    out.codes_below_3_ = codes_below_3_;
    return out;
  }
  std::size_t bytes() const noexcept { return static_cast<std::size_t>(n_panels() * panel_bytes_); }

  // For the kernels.
  std::int64_t n_panels() const noexcept { return (rows_ + kPanelRows - 1) / kPanelRows; }
  std::int64_t panel_bytes() const noexcept { return panel_bytes_; }
  const std::byte* panel(std::int64_t i) const noexcept { return data_ + i * panel_bytes_; }
  int layout() const noexcept { return layout_; }
  bool codes_below_3() const noexcept { return codes_below_3_; }
  const quant::Codebook* book() const noexcept { return book_; }

 private:
  friend Result<PackedMatrix> begin_pack(const FormatInfo& format, std::span<const std::byte> tensor, std::int64_t rows,
                                         std::int64_t cols, std::span<std::byte> memory);
  friend void pack_rows(PackedMatrix& matrix, std::span<const std::byte> tensor, std::int64_t row_begin,
                        std::int64_t row_end, Executor& executor, const LookAtRows& look) noexcept;
  base::Buffer buffer_;  // empty in memory of the caller's
  std::byte* data_ = nullptr;
  const FormatInfo* format_ = nullptr;
  std::int64_t rows_ = 0;
  std::int64_t cols_ = 0;
  std::int64_t panel_bytes_ = 0;
  int layout_ = 0;  // row of the table of panel layouts
  const quant::Codebook* book_ = nullptr;
  bool codes_below_3_ = false;  // codes are of one or two bits, and none is 3
};

// Bytes of a packed [rows, cols], a multiple of 64. Errors as pack() for the shape.
Result<std::size_t> packed_bytes(const FormatInfo& format, std::int64_t rows, std::int64_t cols);

// Rearranges a row-major tensor from its file's bytes (any alignment; not needed afterwards). `format` is a row of the
// table. memory: packed_bytes bytes, aligned to 64, that outlive the matrix; many small matrices in one large block
// have its huge pages, which speeds up reading them. Without memory the matrix owns its own. Errors: kInvalidArgument
// for rows or cols below 1, cols that are not whole blocks of the format, rows that are not whole groups, or a byte
// count that is not that of [rows, cols]; kOutOfMemory.
Result<PackedMatrix> pack(const FormatInfo& format, std::span<const std::byte> tensor, std::int64_t rows,
                          std::int64_t cols, Executor& executor, std::span<std::byte> memory = {});

// pack() in pieces, for a caller who looks at the tensor's rows first or gives their memory back after. begin_pack
// makes room (errors and arguments as pack()); pack_rows packs rows [row_begin, row_end) of the same tensor: both
// multiples of kPanelRows, or row_end the matrix' last. Every row must be packed before the matrix is used. look: is
// called with each panel's rows by the thread that packs them next, so that they are read from memory once.
Result<PackedMatrix> begin_pack(const FormatInfo& format, std::span<const std::byte> tensor, std::int64_t rows,
                                std::int64_t cols, std::span<std::byte> memory = {});
void pack_rows(PackedMatrix& matrix, std::span<const std::byte> tensor, std::int64_t row_begin, std::int64_t row_end,
               Executor& executor, const LookAtRows& look = {}) noexcept;

// One product: y is [n_tok][ldy], ldy >= weights->rows(); columns from rows() on are not touched. y overlaps neither x
// nor another product's y.
struct MatmulTerm {
  const PackedMatrix* weights;
  float* y;
  std::int64_t ldy;
};

// Bytes of workspace for a matmul of n_tok tokens of cols elements; enough for fewer tokens and for either kind of
// activations. Grows in n_tok and cols.
std::size_t matmul_workspace_bytes(std::int64_t n_tok, std::int64_t cols) noexcept;

// All terms share the input x [n_tok][ldx] (q, k and v; gate and up), so that it is rounded once and the threads meet
// once. All weights have the same cols; ldx >= cols. workspace: at least matmul_workspace_bytes, aligned to 64, not
// shared with a call at the same time. Nothing is allocated and nothing can fail; wrong shapes are a caller's bug
// (ROWMAX_CHECK). n_tok 0 or no terms: nothing happens. kernels: those of a supported row of
// kernel_tables.h, or others for tests. Sets the floating-point environment in every task.
void matmul(std::span<const MatmulTerm> terms, const float* x, std::int64_t ldx, std::int64_t n_tok,
            Activations activations, std::span<std::byte> workspace, const panel::Kernels& kernels,
            Executor& executor) noexcept;

// Terms that share an input, beside others that have theirs: the experts of a layer with the tokens that each got.
struct MatmulGroup {
  std::span<const MatmulTerm> terms;
  const float* x;  // [n_tok][ldx]
  std::int64_t ldx, n_tok;
};

// Bytes of workspace for matmul_groups of at most n_groups groups (empty ones count) with n_rows tokens in all, of at
// most cols elements. Grows in each of them.
std::size_t matmul_groups_workspace_bytes(std::int64_t n_groups, std::int64_t n_rows, std::int64_t cols) noexcept;

// matmul() of every group, with the same bits, as one piece of work: the threads meet once, and once more before where
// there are many tokens to round. Groups are independent: cols, formats and n_tok may differ; one of n_tok 0 or without
// terms is skipped. No y overlaps an x or another y. Where groups would have the same x, one group with the terms of all
// rounds it once. The same rules as for matmul(), but for the workspace: at least matmul_groups_workspace_bytes.
void matmul_groups(std::span<const MatmulGroup> groups, Activations activations, std::span<std::byte> workspace,
                   const panel::Kernels& kernels, Executor& executor) noexcept;

}  // namespace rowmax::engine
