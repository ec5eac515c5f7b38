#include "engine/model/recurrent_layout.h"

#include "engine/ops/delta/delta_kernels.h"

namespace rowmax::engine {

RecurrentLayout::RecurrentLayout(const ModelSpec& spec) {
  for (const LayerSpec& layer : spec.layers) {
    offsets_.push_back(n_floats_);
    if (layer.mixer == MixerKind::kDeltaNet) {
      const std::int64_t inputs = (layer.delta.conv_width - 1) * layer.delta.conv_channels();
      n_floats_ += (inputs + 15) / 16 * 16;
    }
    matrix_offsets_.push_back(n_floats_);
    if (layer.mixer == MixerKind::kDeltaNet) {
      n_floats_ += layer.delta.n_value_head * delta_state_floats(layer.delta.key_dim, layer.delta.value_dim);
    }
  }
}

}  // namespace rowmax::engine
