// What a sequence costs, in words, as a table and as JSON; and whether there is room for it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/cli/json_output.h"
#include "rowmax/engine/session.h"
#include "rowmax/result.h"

namespace rowmax::cli {

// Lengths worth knowing: 1024, 8192 and so on, and the model's context.
std::vector<std::int64_t> shown_lengths(std::int64_t context);
std::string memory_text(const engine::ModelDescription& model);
Json memory_json(const engine::ModelDescription& model);

// kLimit, naming what the model needs and what there is, where memory has no room for its weights and for what a session
// takes whose sequences are as long as its context (nullopt: for the weights).
Status check_room(const engine::LoadPlan& plan, const std::optional<engine::SessionOptions>& session);

// kLimit, naming what n tokens take and what there is, where the session's budget or this machine's free memory has no
// room for them.
Status check_room(const engine::Session& session, std::int64_t n_tokens);

}  // namespace rowmax::cli
