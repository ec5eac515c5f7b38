#include "apps/cli/embedded_model.h"

#include "apps/store/model_catalog.h"
#include "base/try.h"

// embedded_model.S
extern "C" {
extern const unsigned char rowmax_stories_begin[];
extern const unsigned char rowmax_stories_end[];
}

namespace rowmax::cli {

std::span<const std::byte> stories_bytes() noexcept {
  return std::as_bytes(std::span(rowmax_stories_begin, rowmax_stories_end));
}

Result<engine::GgufFile> open_model(const std::string& path_or_name, const engine::GgufOptions& options) {
  if (path_or_name == kStoriesName) {
    return engine::GgufFile::parse(stories_bytes(), std::string(kStoriesName) + " (built in)", options);
  }
  ROWMAX_TRY(path, store::resolve_model(path_or_name));
  return engine::GgufFile::open(path, options);
}

}  // namespace rowmax::cli
