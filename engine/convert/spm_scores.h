// SentencePiece's scores from the merges of a Hugging Face tokenizer.
#pragma once

#include <string>
#include <vector>

#include "rowmax/result.h"

namespace rowmax::engine {

struct MergePair {
  std::string left, right;
};

// One score a token, so that merging the adjacent pair whose text has the highest score gives what the merges give in
// their order. That holds where every pair of normal tokens whose joined text is a normal token is a merge, and the
// merges of one token follow each other, as in tokenizers that were made from a SentencePiece model; kUnsupported names
// a token where it does not. mergeable: normal tokens. May throw std::bad_alloc.
Result<std::vector<float>> scores_from_merges(const std::vector<std::string>& tokens,
                                              const std::vector<bool>& mergeable, const std::vector<MergePair>& merges);

}  // namespace rowmax::engine
