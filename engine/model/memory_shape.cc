#include "engine/model/memory_shape.h"

#include <algorithm>

#include "engine/model/recurrent_layout.h"

namespace rowmax::engine {

MemoryShape memory_shape(const ModelSpec& spec) {
  MemoryShape shape;
  shape.state_floats = RecurrentLayout(spec).n_floats();
  for (const LayerSpec& layer : spec.layers) {
    if (layer.mixer != MixerKind::kAttention) continue;
    auto group = std::ranges::find(shape.groups, layer.attention.window, &MemoryShape::Group::window);
    if (group == shape.groups.end()) group = shape.groups.insert(group, {.window = layer.attention.window});
    ++group->n_layer;
    group->kv_width += 2 * layer.attention.kv_width();
  }
  return shape;
}

}  // namespace rowmax::engine
