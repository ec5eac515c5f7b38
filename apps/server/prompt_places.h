// Where other prompts are likely to leave one: the places at which states of recurrent layers are worth keeping.
#pragma once

#include <cstdint>
#include <vector>

#include "apps/server/prompt_text.h"
#include "apps/server/served_model.h"
#include "rowmax/engine/chat.h"

namespace rowmax::server {

// Numbers of tokens of the prompt, ascending; none where the model keeps no states and has no windows.
// - Where the next turn of the conversation leaves it. That is found by rendering one: most templates write an answer of
//   before otherwise than the prompt for one begins (thoughts are left out).
// - Where the first message of the user begins: what is before it, conversations have in common.
// - Where the last message begins, which may be asked in other words.
std::vector<std::int64_t> prompt_places(const ServedModel& served, const engine::ChatInput& input,
                                        const PromptText& prompt, const std::vector<engine::TokenId>& tokens);

}  // namespace rowmax::server
