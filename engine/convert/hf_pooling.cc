#include "engine/convert/hf_pooling.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <system_error>

#include "engine/convert/json_reader.h"
#include "engine/io/json.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::size_t kMaxConfigBytes = std::size_t{1} << 20;

struct Mode {
  std::string_view flag, name;  // pooling_mode_*: true, or pooling_mode: name
  std::uint32_t type;           // in GGUF
};
constexpr Mode kModes[] = {{"pooling_mode_mean_tokens", "mean", 1},
                           {"pooling_mode_cls_token", "cls", 2},
                           {"pooling_mode_lasttoken", "lasttoken", 3}};

// The one that is on, and nothing beside it.
Result<std::uint32_t> pooling_in(const Json& config, const std::string& path) {
  const Mode* found = nullptr;
  int n_on = 0;
  for (const auto& [key, value] : config.members()) {
    const bool flag = key.starts_with("pooling_mode_") && value.is_bool() && value.as_bool();
    if (!flag && key != "pooling_mode") continue;
    ++n_on;
    for (const Mode& mode : kModes) {
      if (flag ? mode.flag == key : value.is(mode.name)) found = &mode;
    }
  }
  if (found != nullptr && n_on == 1) return found->type;
  return Error{ErrorCode::kUnsupported,
               concat(path, ": expected one pooling_mode, mean, cls or lasttoken, found ", config.text())};
}

}  // namespace

Status write_pooling(const std::string& folder, HfModel& model, GgufWriter& keys) {
  std::error_code ignored;
  const std::string path = folder + "/modules.json";
  if (!std::filesystem::exists(path, ignored)) {
    if (model.architecture->trunk) {
      model.notices.push_back(
          concat(path, " is missing: the file names no pooling, which `rowmax embed` then must be told"));
    }
    return {};
  }
  ROWMAX_TRY(modules, read_json_file(path, kMaxConfigBytes));
  for (const Json& module : modules.root().elements()) {
    if (!module.find("type").as_string().ends_with("Pooling")) continue;
    const std::string inner = concat(folder, "/", module.find("path").as_string(), "/config.json");
    ROWMAX_TRY(config, read_json_file(inner, kMaxConfigBytes));
    ROWMAX_TRY(pooling, pooling_in(config.root(), inner));
    keys.set_uint32(concat(model.architecture->name, ".pooling_type"), pooling);
  }
  return {};
}

}  // namespace rowmax::engine
