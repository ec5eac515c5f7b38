// The fields of config.json: which of them are known.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/io/json.h"

namespace rowmax::engine {

// Read and obeyed, refused where rowmax could not run it (hf_model.cc), or of no effect on ids and logits.
bool is_known_config_field(std::string_view name) noexcept;

// A note for each field of the object that is not known and not null: it is ignored, and may mean another model.
std::vector<std::string> unknown_config_fields(const Json& config, const std::string& path);

}  // namespace rowmax::engine
