#include <algorithm>
#include <string>
#include <utility>

#include "base/try.h"
#include "engine/arch/architecture.h"
#include "engine/arch/hadamard.h"

namespace rowmax::engine {
namespace {

constexpr Architecture kArchitectures[] = {
    {"llama", read_llama},
    {"qwen2", read_qwen2},
    {"qwen3", read_qwen3},
    {"gemma2", read_gemma2},
    {"gemma3", read_gemma3},
    {"bitnet", read_bitnet},
    {"bitnet-b1.58", read_bitnet_b158},
    {"bitnet-25", read_bitnet_b158},
};

std::string known_names() {
  std::string text;
  for (const Architecture& row : kArchitectures) {
    if (!text.empty()) text += ", ";
    text += row.name;
  }
  return text;
}

}  // namespace

std::span<const Architecture> architectures() noexcept { return kArchitectures; }

Result<ReadModel> read_model(const GgufFile& file, const KeyOverrides& overrides) {
  ROWMAX_TRY(name, file.get_string("general.architecture"));
  const auto row = std::find_if(std::begin(kArchitectures), std::end(kArchitectures),
                                [&](const Architecture& candidate) { return candidate.name == name; });
  if (row == std::end(kArchitectures)) {
    return Error{ErrorCode::kUnsupported, file.name() + ": key 'general.architecture': expected one of " +
                                              known_names() + ", found '" + std::string(name) + "'"};
  }
  ReadModel model;
  KeyReader keys(file, overrides, std::string(name));
  model.spec.architecture = name;
  keys.fact("architecture", std::string(name), "key general.architecture");
  row->read(keys, model.spec);
  if (!keys.failed()) keys.check_overrides_used();
  if (keys.failed()) return keys.take_error();
  ROWMAX_RETURN_IF_ERROR(map_tensors(file, model.spec, model.sources, keys.facts()));
  ROWMAX_RETURN_IF_ERROR(apply_hadamard(file, model.sources, keys.facts()));
  model.description = {std::string(name), model.spec.shape, std::move(keys.facts()), std::move(keys.notices()),
                       model.spec.default_pre};
  for (const std::string& text : file.notices()) model.description.notices.push_back(text);
  return model;
}

Result<ModelDescription> describe_model(const GgufFile& file, const KeyOverrides& overrides) {
  ROWMAX_TRY(model, read_model(file, overrides));
  return std::move(model.description);
}

std::vector<std::string_view> supported_architectures() {
  std::vector<std::string_view> names;
  for (const Architecture& row : kArchitectures) names.push_back(row.name);
  return names;
}

}  // namespace rowmax::engine
