#include "engine/runtime/sequence_cost.h"

#include <algorithm>
#include <string>

#include "base/guarded.h"
#include "engine/runtime/checkpoints.h"
#include "engine/runtime/kv_cache.h"
#include "engine/runtime/kv_pages.h"

namespace rowmax::engine {
namespace {

SequenceCost cost_of(const MemoryShape& memory, std::int64_t n_tokens, const SessionOptions& options) {
  const std::int64_t n_pages = pages_of(n_tokens);
  SequenceCost cost;
  for (const MemoryShape::Group& group : memory.groups) {
    const std::int64_t page_bytes = dtype_bytes(dtype_of(options.kv_type), group.kv_width * kKeyTile);
    const std::int64_t held = n_pages - std::min(first_page_seen(group.window, n_tokens), n_pages);
    const std::int64_t at_most = std::max(held, pages_at_once(group.window, options.max_batch, n_pages));
    cost.groups.push_back({.window = group.window,
                           .n_layer = group.n_layer,
                           .bytes = held * page_bytes,
                           .peak_bytes = at_most * page_bytes,
                           .kept_bytes = options.reuse_prefixes ? (n_pages - held) * page_bytes : 0});
    cost.kv_kept_bytes += cost.groups.back().kept_bytes;
    cost.kv_budget_bytes += pages_at_once(group.window, options.max_batch + KvCache::kMostDrafts, n_pages) * page_bytes;
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

}  // namespace

Result<SequenceCost> sequence_cost(const MemoryShape& memory, std::int64_t n_tokens, const SessionOptions& options) {
  return base::guarded([&]() -> Result<SequenceCost> {
    if (n_tokens < 0) {
      return Error::invalid_argument("cost: expected 0 tokens or more, found " + std::to_string(n_tokens));
    }
    if (options.max_batch < 1 || options.max_batch > 65536) {
      return Error::limit("max_batch: expected 1 to 65536, found " + std::to_string(options.max_batch));
    }
    // All numbers below 2^62: four bytes for each of these, and pages that are begun.
    std::int64_t width = memory.state_floats + 1, n_numbers = 0;
    for (const MemoryShape::Group& group : memory.groups) width += group.kv_width;
    if (__builtin_mul_overflow(width, n_tokens / kKeyTile + 2, &n_numbers) ||
        n_numbers > (std::int64_t{1} << 60) / kKeyTile) {
      return Error::limit("cost: " + std::to_string(n_tokens) + " tokens take more than the address space");
    }
    return cost_of(memory, n_tokens, options);
  });
}

Result<SequenceCost> sequence_cost(const ModelDescription& model, std::int64_t n_tokens,
                                   const SessionOptions& options) {
  return sequence_cost(model.memory, n_tokens, options);
}

}  // namespace rowmax::engine
