#pragma once

#include "rowmax/engine/session.h"

namespace rowmax::engine {

// Of options: kv_type, max_batch, checkpoint_bytes.
Result<SequenceCost> sequence_cost(const MemoryShape& memory, std::int64_t n_tokens, const SessionOptions& options);

}  // namespace rowmax::engine
