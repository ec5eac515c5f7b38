// Where each weight of a model lies in its file: what engine/arch found and checked, what engine/model packs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
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

// n matrices [rows, cols] in the file's format, one behind the other, or a vector (rows 1); empty bytes mean that the
// model has none.
struct WeightSource {
  std::string_view name;
  const FormatInfo* format = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t n = 1;
  std::span<const std::byte> bytes;
  const Hadamard* hadamard = nullptr;  // matrices: how it is stored turned

  bool present() const noexcept { return !bytes.empty(); }
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
  std::vector<LayerSources> layers;
  // What the sources point to, one for each number of columns.
  std::vector<std::unique_ptr<const Hadamard>> hadamards;
};

}  // namespace rowmax::engine
