// The story model that is part of the program (models/README.md), and how commands open what -m names.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "rowmax/engine/gguf.h"
#include "rowmax/result.h"

namespace rowmax::cli {

// What -m is without the flag, except in `rowmax chat`.
inline constexpr std::string_view kStoriesName = "stories";
// What the story model goes on with where nothing else is asked for.
inline constexpr std::string_view kStoriesPrompt = "Once upon a time";

// The bytes of models/stories.gguf, 64-byte aligned.
std::span<const std::byte> stories_bytes() noexcept;

// "stories": the model in the program; else a name of the catalog or a path (errors as resolve_model and
// GgufFile::open). All of them are read by the same parser with the same checks.
Result<engine::GgufFile> open_model(const std::string& path_or_name, const engine::GgufOptions& options);

}  // namespace rowmax::cli
