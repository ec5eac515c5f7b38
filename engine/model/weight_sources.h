// Where each weight of a model lies in its file: what engine/arch found and checked, what engine/model packs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/weight_table.h"
#include "engine/quant/format.h"

namespace rowmax::engine {

// A matrix may be stored turned: W' = W diag(s) H, with H the normalised Hadamard matrix on runs of `block` columns and
// s signs. The product with x is then that of W' with H (s * x), and a row z that is looked up stands for s * (H z).
struct Hadamard {
  std::int64_t block = 0;    // power of two
  std::vector<float> signs;  // +1 or -1 for each column; empty: +1 all
};

// Which row of its file is a row of a matrix (or a number of a vector): within each run of `run` rows the first 2 * half
// are stored in pairs (2i, 2i + 1) and wanted in halves (i, i + half), or the other way round.
struct RowOrder {
  std::int64_t run = 0, half = 0;  // run 0: as stored
  bool stored_in_pairs = false;

  std::int64_t stored(std::int64_t row) const noexcept {
    const std::int64_t at = run == 0 ? 0 : row % run;
    if (run == 0 || at >= 2 * half) return row;
    return row - at + (stored_in_pairs ? at % half * 2 + at / half : at % 2 * half + at / 2);
  }
  bool operator==(const RowOrder&) const = default;
};

// n matrices [rows, cols] in the file's format, one behind the other, or a vector, or one for each of `rows` experts; empty
// bytes mean that the model has none.
struct WeightSource {
  std::string_view name;
  const FormatInfo* format = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t n = 1;
  std::span<const std::byte> bytes;
  std::size_t stride = 0;              // of n: from one to the next, where others lie between them; 0: none do
  const Hadamard* hadamard = nullptr;  // matrices: how it is stored turned
  RowOrder order = {};
  float factor = 1;  // of all values; a matrix's product is multiplied with it
  float shift = 0;   // vectors: is added to all values, before the factor
  // Of n: the weight's rows in each of those stored begin behind so many others (and may end before more).
  std::int64_t first_row = 0;
  bool columns = false;  // matrices: each row stored is a column
  // Matrices: what is stored is their columns, one behind the other. Vectors of WeightKind::kTransposed: each row backwards.
  bool transposed = false, reversed = false;
  // Matrices of has_codes(): what the codes 0, 1 and 2 stand for, times the scale; a permutation. And whether the first of a
  // byte's four lies in its lowest bits, and so on upwards.
  std::array<std::int8_t, 3> code_values = {-1, 0, 1};
  bool low_bits_first = false;
  // Of n matrices, or of the numbers of a vector for experts: which of those stored each expert is; empty: the same.
  // Packing does not depend on it.
  std::vector<std::int64_t> experts = {};

  bool present() const noexcept { return !bytes.empty(); }
  // In a format with four codes of two bits in each byte and, behind the last row, one scale (I2_S).
  bool has_codes() const noexcept { return present() && format->tail_bytes > 0; }
  // What the matrix is packed from.
  const FormatInfo& packed_format() const noexcept { return transposed || columns ? *find_format("F32") : *format; }
  std::int64_t stored_rows() const noexcept { return columns ? cols : rows; }
  std::int64_t stored_cols() const noexcept { return columns ? rows : cols; }
  // Packing either gives the same bytes.
  bool packs_like(const WeightSource& other) const noexcept {
    return bytes.data() == other.bytes.data() && bytes.size() == other.bytes.size() && format == other.format &&
           rows == other.rows && cols == other.cols && n == other.n && stride == other.stride && order == other.order &&
           first_row == other.first_row && columns == other.columns && transposed == other.transposed &&
           code_values == other.code_values && low_bits_first == other.low_bits_first;
  }
  // Those of the i-th of the n that are stored.
  std::span<const std::byte> bytes_of(std::int64_t i) const noexcept {
    const std::size_t n_bytes = stride != 0 ? bytes.size() - static_cast<std::size_t>(n - 1) * stride
                                            : bytes.size() / static_cast<std::size_t>(n);
    return bytes.subspan(static_cast<std::size_t>(i) * (stride != 0 ? stride : n_bytes), n_bytes);
  }
  std::int64_t stored_expert(std::int64_t e) const noexcept {
    return experts.empty() ? e : experts[static_cast<std::size_t>(e)];
  }
};

class LayerSources {
 public:
  WeightSource& operator[](W id) noexcept { return sources_[static_cast<std::size_t>(id)]; }
  const WeightSource& operator[](W id) const noexcept { return sources_[static_cast<std::size_t>(id)]; }

 private:
  std::array<WeightSource, kWeightCount> sources_;
};

struct WeightSources {
  WeightSource token_embedding;  // [n_vocab, n_embd]
  WeightSource output_norm;
  WeightSource output;  // the same bytes as token_embedding for a tied head
  bool tied = false;
  WeightSource labels;  // [labels, n_embd]: a head that judges texts, where there is one
  // Of models whose tokens bring an embedding for each layer: [n_vocab, n_layer * n], what projects the embedding to as
  // many, and the norm of the n.
  WeightSource layer_embedding, layer_projection, layer_projection_norm;
  RopePairing qk_rows = RopePairing::kHalves;  // what the rows of q and k are stored for
  std::vector<LayerSources> layers;
  std::int64_t n_passed_over = 0;  // tensors of the file that are known, and that nothing uses
  // Facts that were changed, as they were given (rowmax/engine/edits.h); empty: as the file has them.
  std::string norm_weights, conv_taps, hadamard_block, ternary_scale, ternary_values, ternary_bits, expert_order,
      transposed, exchanged, factors;
  // What the sources point to, one for each number of columns.
  std::vector<std::unique_ptr<const Hadamard>> hadamards;
  std::unique_ptr<const std::vector<float>> embedding;  // token_embedding's numbers where they are not the file's
};

}  // namespace rowmax::engine
