// A mask of tokens that begins to hold where the text has come to a certain mark.
#pragma once

#include <memory>
#include <vector>

#include "apps/tool_calls/reply_parser.h"
#include "rowmax/engine/generation.h"
#include "rowmax/engine/tokenizer.h"

namespace rowmax::tool_calls {

enum class MaskBehind {
  kCallMark,   // before it every token is allowed, and the text may end without it
  kReasoning,  // before their end every token is allowed but those that end the text
};

// `inner` is asked about the tokens from the one on in which the mark begins: its grammar has what may be in front of the mark
// in that token, the mark, and what follows (CallGrammarOptions::mark). text_tokens: as in GenerationOptions. The tokenizer
// must outlive the mask.
engine::TokenMask mask_behind(MaskBehind place, std::shared_ptr<const ReplyOptions> options,
                              const engine::Tokenizer& tokenizer, std::vector<engine::TokenId> text_tokens,
                              engine::TokenMask inner);

// The ids of a format's and of thoughts' marks that are control tokens of a model: its text has to have them.
std::vector<engine::TokenId> text_tokens_of(const ToolFormat* format, const ReasoningMarks& reasoning,
                                            const engine::Tokenizer& tokenizer);

}  // namespace rowmax::tool_calls
