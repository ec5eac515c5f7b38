// Token ids from a file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/engine/tokenizer.h"
#include "rowmax/result.h"

namespace rowmax::cli {

// [1, 2, 3], or an object with such a list under "tokens". kCorrupt for anything else and for an id that is not below
// n_vocab, with the place; kLimit for more than 2^24 JSON values, before memory is taken for them; else as read_text.
Result<std::vector<engine::TokenId>> read_token_ids(const std::string& path, std::int64_t n_vocab);
// The same from a text; name stands in messages.
Result<std::vector<engine::TokenId>> parse_token_ids(std::string_view text, const std::string& name,
                                                     std::int64_t n_vocab);

}  // namespace rowmax::cli
