// Where the recurrent state of each layer lies in the state of a sequence: f32, all layers behind each other. A layer of
// gated delta net has the last conv_width - 1 inputs of its convolution, [conv_width - 1][channels], oldest first, and
// the matrix of each value head (engine/ops/delta); a short convolution has such inputs alone. Zero is the state before the
// first token.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/model/spec.h"

namespace rowmax::engine {

class RecurrentLayout {
 public:
  explicit RecurrentLayout(const ModelSpec& spec);
  // 0 for models whose layers all attend.
  std::int64_t n_floats() const noexcept { return n_floats_; }
  std::int64_t conv_offset(std::size_t layer) const noexcept { return offsets_[layer]; }
  std::int64_t matrix_offset(std::size_t layer) const noexcept { return matrix_offsets_[layer]; }

 private:
  std::vector<std::int64_t> offsets_, matrix_offsets_;
  std::int64_t n_floats_ = 0;
};

// The channels [begin, end) of the n_input last inputs of a convolution.
inline void copy_conv_state(const float* from, std::int64_t n_input, std::int64_t n_channel, std::int64_t begin,
                            std::int64_t end, float* to) noexcept {
  for (std::int64_t i = 0; i < n_input; ++i) {
    std::copy(from + i * n_channel + begin, from + i * n_channel + end, to + i * n_channel + begin);
  }
}

}  // namespace rowmax::engine
