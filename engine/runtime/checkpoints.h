// Where the recurrent state of a sequence is kept.
#pragma once

#include <cstdint>

#include "rowmax/kv.h"

namespace rowmax::engine {

// At every kCheckpointTokens-th position, at the last page edge of tokens that come several at once, at page edges of those
// that come one by one, and where the caller asks for it (BatchItem::keep, Session::keep_state).
inline constexpr std::int64_t kCheckpointTokens = 1024;
static_assert(kCheckpointTokens % kKeyTile == 0);

// Those of a prompt of n tokens, without those that are asked for.
constexpr std::int64_t n_checkpoints(std::int64_t n_tokens) noexcept {
  const std::int64_t last_edge = n_tokens / kKeyTile * kKeyTile;
  return n_tokens / kCheckpointTokens + (last_edge % kCheckpointTokens == 0 ? 0 : 1);
}

}  // namespace rowmax::engine
