// Token ids from a file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rowmax/engine/tokenizer.h"
#include "rowmax/result.h"

namespace rowmax::cli {

// [1, 2, 3], or an object with such a list under "tokens". kCorrupt for anything else and for an id that is not below
// n_vocab.
Result<std::vector<engine::TokenId>> read_token_ids(const std::string& path, std::int64_t n_vocab);

}  // namespace rowmax::cli
