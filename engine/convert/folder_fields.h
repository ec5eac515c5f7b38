// The fields of a Hugging Face folder's JSON files: which of them are known, and what becomes of those that are not read.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/io/json.h"
#include "rowmax/result.h"

namespace rowmax::engine {

struct FolderJson {
  std::string folder;
  Json config, tokenizer, tokenizer_config, generation_config, special_tokens_map;  // null where there is no file
};

// Every field of the files is read, of no effect on ids and logits, at the value that means the same as its absence, or
// refused by its name (kUnsupported): "tokenizer_config.json:FIELD.FIELD" in `ignored` takes it as if it were not there.
// kInvalidArgument for one of those that no file has or that is read. Returns notes: what was ignored, and settings of
// generation that are not taken over.
Result<std::vector<std::string>> check_folder_fields(const FolderJson& files, const std::vector<std::string>& ignored);

}  // namespace rowmax::engine
