#include "engine/convert/checkpoint.h"

#include <filesystem>
#include <memory>
#include <set>
#include <system_error>
#include <utility>

#include "base/try.h"
#include "engine/convert/json_reader.h"
#include "engine/io/text.h"

namespace rowmax::engine {
namespace {

constexpr std::size_t kMaxIndexBytes = std::size_t{64} << 20;
constexpr std::size_t kMaxShards = 4096;

bool is_plain_name(const std::string& name) {
  return is_printable_name(name) && name.find('/') == std::string::npos && name != "." && name != "..";
}

}  // namespace

Status Checkpoint::add_file(const std::string& path) {
  ROWMAX_TRY(file, SafetensorsFile::open(path));
  files_.push_back(std::make_unique<SafetensorsFile>(std::move(file)));
  for (const SafetensorsTensor& tensor : files_.back()->tensors()) {
    const auto [place, is_new] = tensors_.emplace(tensor.name, CheckpointTensor{files_.back().get(), &tensor});
    if (is_new) continue;
    return Error{ErrorCode::kCorrupt,
                 concat(path, ": tensor ", quote(tensor.name), " is in ", place->second.file->name(), " too")};
  }
  return {};
}

Status Checkpoint::read_index(const std::string& folder, const std::string& index_path) {
  ROWMAX_TRY(index, read_json_file(index_path, kMaxIndexBytes));
  JsonReader reader(index, index_path);
  const Json* map = reader.find("weight_map");
  if (map == nullptr || !map->is_object()) reader.fail(ErrorCode::kCorrupt, "weight_map", "expected an object");
  ROWMAX_RETURN_IF_ERROR(reader.status());
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string() || !is_plain_name(shard.get<std::string>())) {
      return Error{ErrorCode::kCorrupt, concat(index_path, ": tensor ", quote(tensor),
                                               ": expected a file name in this folder, found ", json_text(shard))};
    }
    shards.insert(shard.get<std::string>());
  }
  if (shards.size() > kMaxShards) {
    return Error{ErrorCode::kLimit, concat(index_path, ": ", shards.size(), " files, at most ", kMaxShards)};
  }
  for (const std::string& shard : shards) ROWMAX_RETURN_IF_ERROR(add_file(concat(folder, "/", shard)));
  for (const auto& [tensor, shard] : map->items()) {
    const auto found = tensors_.find(tensor);
    const std::string path = concat(folder, "/", shard.get<std::string>());
    if (found != tensors_.end() && found->second.file->name() == path) continue;
    return Error{ErrorCode::kCorrupt, concat(path, ": tensor ", quote(tensor), " is missing, though ", index_path,
                                             " says that it is there")};
  }
  for (const auto& [name, tensor] : tensors_) {
    if (map->contains(std::string(name))) continue;
    return Error{ErrorCode::kCorrupt, concat(tensor.file->name(), ": tensor ", quote(name), " is not in ", index_path)};
  }
  return {};
}

Result<Checkpoint> Checkpoint::open(const std::string& folder) {
  Checkpoint out;
  const std::string single = folder + "/model.safetensors", index = single + ".index.json";
  std::error_code ignored;
  if (std::filesystem::exists(index, ignored)) {
    ROWMAX_RETURN_IF_ERROR(out.read_index(folder, index));
  } else if (std::filesystem::exists(single, ignored)) {
    ROWMAX_RETURN_IF_ERROR(out.add_file(single));
  } else {
    return Error{ErrorCode::kNotFound,
                 concat(folder, ": expected model.safetensors or model.safetensors.index.json, found neither")};
  }
  return out;
}

std::vector<std::string> Checkpoint::paths() const {
  std::vector<std::string> paths;
  for (const auto& file : files_) paths.push_back(file->name());
  return paths;
}

}  // namespace rowmax::engine
