// Which tokens end a turn.
#pragma once

#include <string>
#include <vector>

#include "engine/tokenizer/vocabulary.h"

namespace rowmax::engine {

// The ids given (from the file's keys), and the tokens whose texts are known to end a turn or a document; sorted,
// without repetition. A token known by an unmistakable text (<|im_end|>) that the file does not mark as a control token
// is made one, with a notice; one with a text that may be ordinary (</s> is HTML in Gemma's vocabulary) is left alone,
// with a remark.
std::vector<TokenId> end_of_generation_ids(std::vector<TokenId> from_keys, Vocabulary& vocabulary,
                                           std::vector<std::string>& notices, std::vector<std::string>& remarks);

}  // namespace rowmax::engine
