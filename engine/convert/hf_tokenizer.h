// A Hugging Face tokenizer in GGUF's words.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/io/json.h"
#include "rowmax/engine/gguf.h"
#include "rowmax/result.h"

namespace rowmax::engine {

struct HfTokenizerFiles {
  std::string folder;
  JsonDocument tokenizer;           // tokenizer.json
  JsonDocument config;              // tokenizer_config.json; null where it does not exist
  JsonDocument generation;          // generation_config.json; likewise
  JsonDocument special_tokens;      // special_tokens_map.json; likewise
  std::string chat_template;        // chat_template.jinja; empty likewise
  bool processor_template = false;  // there is a chat_template.json
};

// kNotFound without tokenizer.json; kLimit for files that are too long.
Result<HfTokenizerFiles> read_tokenizer_files(const std::string& folder);

// Sets tokenizer.*: byte-level BPE becomes "gpt2" with the pre-tokenizer's name (or `pre`, where given), BPE on
// characters with byte tokens becomes "llama" with scores that give the same merges. model_config: config.json, for ids
// of special tokens that the tokenizer's files do not name. vocab_size: rows of the embedding; ids without a token are
// filled up. kUnsupported names what could not be written without changing ids.
Result<std::vector<std::string>> write_tokenizer(const HfTokenizerFiles& files, const Json& model_config,
                                                 std::int64_t vocab_size, const std::string& pre, GgufWriter& keys);

struct RecognisedPre {
  std::string name;               // of tokenizer.ggml.pre; empty when none is known to split like it
  bool add_prefix_space = false;  // ByteLevel's, of the whole stretch of text
};
// By the pre-tokenizer's expressions, from a tokenizer.json.
RecognisedPre recognise_pre_tokenizer(const Json& pre_tokenizer, bool ignore_merges);

}  // namespace rowmax::engine
