#include "engine/model/memory_shape.h"

#include <algorithm>

#include "engine/model/recurrent_layout.h"

namespace rowmax::engine {

MemoryShape memory_shape(const ModelSpec& spec) {
  MemoryShape shape;
  shape.state_floats = RecurrentLayout(spec).n_floats();
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const AttentionSpec& a = spec.layers[i].attention;
    if (!spec.layers[i].attends() || !a.has_kv()) continue;
    const std::int64_t window = spec.kv_window(i);
    auto group = std::ranges::find(shape.groups, window, &MemoryShape::Group::window);
    if (group == shape.groups.end()) group = shape.groups.insert(group, {.window = window});
    ++group->n_layer;
    group->kv_width += a.remembered();
  }
  return shape;
}

}  // namespace rowmax::engine
