// Texts of a JSONL file, as tokens.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/engine/model.h"
#include "rowmax/result.h"

namespace rowmax::cli {

struct TokenText {
  std::string name;  // for messages: "texts.jsonl:3"
  std::vector<engine::TokenId> tokens;
};

// {"text": "..."}, which becomes what `encode` makes of it, or {"tokens": [1, 2]} a line; lines of white space are none.
// "-" is standard input. Errors name file and line: kCorrupt for another line, those of `encode`; else as read_text.
using EncodeText = std::function<Result<std::vector<engine::TokenId>>(std::string_view text)>;
Result<std::vector<TokenText>> read_jsonl_texts(const std::string& path, const engine::Model& model,
                                                const EncodeText& encode);

}  // namespace rowmax::cli
