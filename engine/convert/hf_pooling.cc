#include "engine/convert/hf_pooling.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <system_error>
#include <utility>

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

Error unknown(const Json& config, const std::string& path) {
  return Error{ErrorCode::kUnsupported,
               concat(path, ": expected one pooling_mode, mean, cls or lasttoken, found ", config.text())};
}

// The one that is on, and nothing beside it.
Result<std::uint32_t> pooling_in(const Json& config, const std::string& path) {
  const Mode* found = nullptr;
  int n_on = 0;
  for (const auto& [key, value] : config.members()) {
    const bool flag = key.starts_with("pooling_mode_");
    if (!flag && key != "pooling_mode") continue;
    if (flag && value.is_bool() && !value.as_bool()) continue;
    if (flag && !value.is_bool()) return unknown(config, path);
    ++n_on;
    for (const Mode& mode : kModes) {
      if (flag ? mode.flag == key : value.is(mode.name)) found = &mode;
    }
  }
  if (found == nullptr || n_on != 1) return unknown(config, path);
  return found->type;
}

// A module's class, without where it lies; "": none of sentence-transformers'.
std::string_view class_of(const Json& module) {
  const std::string_view type = module.find("type").as_string();
  return type.starts_with("sentence_transformers.") ? type.substr(type.rfind('.') + 1) : std::string_view();
}

// Text, then pooling, then perhaps the length of vectors, which is the reader's to choose: the pooling's path. Anything
// else would make other vectors.
Result<std::string> pooling_path(const Json& modules, const std::string& path) {
  std::string out;
  for (const Json& module : modules.elements()) {
    const std::string_view kind = class_of(module), inner = module.find("path").as_string();
    if (kind == "Normalize" || (kind == "Transformer" && inner.empty())) continue;
    const bool below = !inner.empty() && inner.find_first_of("/\\") == inner.npos && inner != "." && inner != "..";
    if (kind != "Pooling" || !below || !out.empty()) {
      return Error{
          ErrorCode::kUnsupported,
          concat(path, ": expected Transformer at \"\", one Pooling in a folder beside it, and Normalize, found ",
                 module.text())};
    }
    out = inner;
  }
  return out;
}

}  // namespace

Status write_pooling(const std::string& folder, HfModel& model, GgufWriter& keys) {
  std::error_code ignored;
  const std::string path = folder + "/modules.json";
  std::string inner;
  if (std::filesystem::exists(path, ignored)) {
    ROWMAX_TRY(modules, read_json_file(path, kMaxConfigBytes));
    ROWMAX_TRY(found, pooling_path(modules.root(), path));
    inner = std::move(found);
  }
  if (inner.empty()) {
    if (model.architecture->trunk) {
      model.notices.push_back(concat(path, " names no pooling: nor does the file, and `rowmax embed` must be told"));
    }
    return {};
  }
  inner = concat(folder, "/", inner, "/config.json");
  ROWMAX_TRY(config, read_json_file(inner, kMaxConfigBytes));
  ROWMAX_TRY(pooling, pooling_in(config.root(), inner));
  keys.set_uint32(concat(model.architecture->name, ".pooling_type"), pooling);
  return {};
}

}  // namespace rowmax::engine
