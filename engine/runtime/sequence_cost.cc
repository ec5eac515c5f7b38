#include "engine/runtime/sequence_cost.h"

#include <algorithm>

#include "engine/runtime/checkpoints.h"
#include "engine/runtime/kv_pages.h"

namespace rowmax::engine {

SequenceCost sequence_cost(const MemoryShape& memory, std::int64_t n_tokens, const SessionOptions& options) {
  const std::int64_t element = options.kv_type == KvType::kF16 ? 2 : 4, n_pages = pages_of(n_tokens);
  SequenceCost cost;
  for (const MemoryShape::Group& group : memory.groups) {
    const std::int64_t page_bytes = group.kv_width * element * kKeyTile;
    const std::int64_t held = n_pages - std::min(first_page_seen(group.window, n_tokens), n_pages);
    const std::int64_t at_most = std::max(held, pages_at_once(group.window, options.max_batch, n_pages));
    cost.groups.push_back({.window = group.window,
                           .n_layer = group.n_layer,
                           .bytes = held * page_bytes,
                           .peak_bytes = at_most * page_bytes});
    cost.kv_bytes += held * page_bytes;
    cost.kv_peak_bytes += at_most * page_bytes;
  }
  cost.state_bytes = memory.state_floats * static_cast<std::int64_t>(sizeof(float));
  if (cost.state_bytes > 0) {
    const std::int64_t at_most = options.checkpoint_bytes / cost.state_bytes;
    cost.checkpoint_bytes = std::min(at_most, n_checkpoints(n_tokens)) * cost.state_bytes;
  }
  return cost;
}

SequenceCost sequence_cost(const ModelDescription& model, std::int64_t n_tokens, const SessionOptions& options) {
  return sequence_cost(model.memory, n_tokens, options);
}

}  // namespace rowmax::engine
