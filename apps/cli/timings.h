// How long it took, for people and for JSON.
#pragma once

#include <string>

#include "apps/cli/json_output.h"
#include "rowmax/engine/generate.h"

namespace rowmax::cli {

// tokens / ms in tokens per second; 0 where nothing was measured.
double tokens_per_second(std::int64_t tokens, double ms);
// "prompt 41 tokens (12 from cache), 512 tok/s | first token 82 ms | 128 tokens, 97.1 tok/s | eos"
// kv_budget: --kv-budget, in MiB.
std::string timings_line(const engine::GenerateResult& generation, std::int64_t kv_budget);
// Why the text ended, as scripts read it: a stop reason's name, or "memory" where --kv-budget was used up.
std::string stop_name(const engine::GenerateResult& generation);
Json timings_json(const engine::GenerateTimings& timings);

}  // namespace rowmax::cli
