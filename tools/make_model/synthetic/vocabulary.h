// The small, complete vocabularies of synthetic models.
#pragma once

#include <cstdint>
#include <string>

#include "rowmax/engine/gguf.h"
#include "rowmax/result.h"

namespace rowmax::tools {

// Tokens in the two vocabularies before they are filled up.
std::int64_t byte_level_vocabulary_size();
std::int64_t sentence_piece_vocabulary_size();

// Byte-level BPE ("gpt2") with a ChatML template: <|endoftext|> 0, <|im_start|> 1 (BOS), <|im_end|> 2 (EOS), the 256
// bytes, then one token for every merge. No BOS is added. size: at least byte_level_vocabulary_size().
void add_byte_level_vocabulary(engine::GgufWriter& writer, std::int64_t size, const std::string& pre);
// SentencePiece ("llama") with a Gemma template: <pad> 0, <eos> 1, <bos> 2, <unk> 3, the turn marks, the 256 bytes,
// then pieces with falling scores. BOS is added, no space prefix.
void add_sentence_piece_vocabulary(engine::GgufWriter& writer, std::int64_t size);

}  // namespace rowmax::tools
