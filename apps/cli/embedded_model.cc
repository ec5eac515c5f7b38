#include "apps/cli/embedded_model.h"

#include <string_view>
#include <vector>

#include "apps/cli/nearest.h"
#include "apps/store/model_catalog.h"
#include "rowmax/try.h"

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
  auto file = engine::GgufFile::open(path, options);
  if (file.ok()) return file;
  Error error = std::move(file).error();
  if (path != path_or_name && error.code == ErrorCode::kCorrupt) {
    error.message += "; `rowmax pull " + path_or_name + "` checks it and fetches it again";
  } else if (path == path_or_name && error.code == ErrorCode::kNotFound) {
    std::vector<std::string_view> names = {kStoriesName};
    for (const store::CatalogModel& model : store::model_catalog()) names.push_back(model.name);
    error.message += did_you_mean(path_or_name, names);
  }
  return error;
}

}  // namespace rowmax::cli
