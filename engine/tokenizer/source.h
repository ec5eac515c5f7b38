// What a tokenizer is made of, as read from a file but not yet checked. Views stay the caller's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rowmax::engine {

struct TokenizerSource {
  std::string name;        // of the file, for messages
  std::string model_name;  // general.name, lower or upper case as it stands
  std::string model;       // tokenizer.ggml.model
  std::optional<std::string> pre;
  std::vector<std::string_view> tokens;
  std::optional<std::vector<float>> scores;
  std::optional<std::vector<std::int64_t>> token_types;
  std::optional<std::vector<std::string_view>> merges;
  std::optional<bool> add_bos;
  std::optional<bool> add_eos;
  std::optional<bool> add_space_prefix;
  // rowmax.tokenizer.* (engine/tokenizer/rowmax_keys.h)
  std::optional<std::string> space_prefix;
  std::optional<std::string> normalizer;
  std::vector<std::pair<std::int64_t, std::int64_t>> added_token_flags;  // id, flags
  std::vector<std::pair<std::string, std::int64_t>> end_ids;             // each with the key that names it
  // tokenizer.ggml.<key>: bos_token_id, eos_token_id, eot_token_id, eom_token_id, unknown_token_id, fim_*_token_id
  std::vector<std::pair<std::string, std::uint64_t>> ids;
};

}  // namespace rowmax::engine
