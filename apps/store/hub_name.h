// Names of models on Hugging Face: hf:OWNER/REPO[@REVISION][/FILE].
#pragma once

#include <string>
#include <string_view>

#include "rowmax/result.h"

namespace rowmax::store {

struct HubName {
  std::string repository;         // "owner/repo"
  std::string revision = "main";  // branch, tag, commit, or refs/pr/N
  std::string file;               // path inside the repository; empty: its one GGUF file
};

// Whether the text starts with "hf:".
bool is_hub_name(std::string_view text) noexcept;
// kInvalidArgument for what is not of the form above.
Result<HubName> parse_hub_name(std::string_view text);
// "hf:owner/repo@revision/file", without the revision where it is main.
std::string to_string(const HubName& name);

// 40 lower-case hex digits.
bool is_commit(std::string_view revision) noexcept;
// A relative path that stays below its folder, of ordinary characters: what may be made a file name of.
bool is_safe_path(std::string_view path) noexcept;
bool is_gguf(std::string_view path) noexcept;
// "model-00002-of-00005.gguf": one part of a model that was split.
bool is_shard(std::string_view path) noexcept;
// How many parts the name of one says there are: 5; 1 for a file that is no part.
int shard_count(std::string_view path) noexcept;
// The name of the model's part `number`, from 1; the path itself where it is no part.
std::string shard_name(std::string_view path, int number);

}  // namespace rowmax::store
