#include "engine/model/recurrent_layout.h"

#include "engine/ops/delta/delta_kernels.h"

namespace rowmax::engine {

namespace {

// Inputs that the layer's convolution will see again.
std::int64_t conv_inputs(const LayerSpec& layer) {
  const DeltaNetSpec& delta = layer.delta;
  const ShortConvSpec& conv = layer.short_conv;
  switch (layer.mixer) {
    case MixerKind::kAttention:
    case MixerKind::kLatent: return 0;
    case MixerKind::kDeltaNet: return (delta.conv_width - 1) * delta.conv_channels();
    case MixerKind::kShortConv: return (conv.conv_width - 1) * conv.n_channel;
  }
  return 0;
}

}  // namespace

RecurrentLayout::RecurrentLayout(const ModelSpec& spec) {
  for (const LayerSpec& layer : spec.layers) {
    offsets_.push_back(n_floats_);
    n_floats_ += (conv_inputs(layer) + 15) / 16 * 16;
    matrix_offsets_.push_back(n_floats_);
    if (layer.mixer == MixerKind::kDeltaNet) {
      n_floats_ += layer.delta.n_value_head * delta_state_floats(layer.delta.key_dim, layer.delta.value_dim);
    }
  }
}

}  // namespace rowmax::engine
