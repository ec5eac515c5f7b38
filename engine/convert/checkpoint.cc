#include "engine/convert/checkpoint.h"

#include <filesystem>
#include <memory>
#include <set>
#include <system_error>
#include <utility>

#include "engine/convert/json_reader.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::size_t kMaxIndexBytes = std::size_t{64} << 20;
constexpr std::size_t kMaxShards = 4096;

bool is_plain_name(std::string_view name) {
  return is_printable_name(name) && name.find('/') == std::string_view::npos && name != "." && name != "..";
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
  JsonReader reader(index.root(), index_path);
  const Json map = reader.find("weight_map");
  if (!map.is_object()) reader.fail(ErrorCode::kCorrupt, "weight_map", "expected an object");
  ROWMAX_RETURN_IF_ERROR(reader.status());
  std::set<std::string> shards;
  std::set<std::string_view> named;
  for (const auto& [tensor, shard] : map.members()) {
    if (!is_plain_name(shard.as_string())) {
      return Error{ErrorCode::kCorrupt, concat(index_path, ": tensor ", quote(tensor),
                                               ": expected a file name in this folder, found ", shard.text())};
    }
    shards.emplace(shard.as_string());
    named.insert(tensor);
  }
  if (shards.size() > kMaxShards) {
    return Error{ErrorCode::kLimit, concat(index_path, ": ", shards.size(), " files, at most ", kMaxShards)};
  }
  for (const std::string& shard : shards) ROWMAX_RETURN_IF_ERROR(add_file(concat(folder, "/", shard)));
  for (const auto& [tensor, shard] : map.members()) {
    const auto found = tensors_.find(tensor);
    const std::string path = concat(folder, "/", shard.as_string());
    if (found != tensors_.end() && found->second.file->name() == path) continue;
    return Error{ErrorCode::kCorrupt, concat(path, ": tensor ", quote(tensor), " is missing, though ", index_path,
                                             " says that it is there")};
  }
  for (const auto& [name, tensor] : tensors_) {
    if (named.contains(name)) continue;
    return Error{ErrorCode::kCorrupt, concat(tensor.file->name(), ": tensor ", quote(name), " is not in ", index_path)};
  }
  return {};
}

Result<Checkpoint> Checkpoint::open(const std::string& folder) {
  Checkpoint out;
  const std::string single = folder + "/model.safetensors", index = single + ".index.json";
  std::error_code ignored;
  // Where both are there transformers reads the single file, and so do we.
  const bool has_index = std::filesystem::exists(index, ignored);
  if (std::filesystem::exists(single, ignored)) {
    ROWMAX_RETURN_IF_ERROR(out.add_file(single));
    if (has_index) out.notices_.push_back(concat(single, " is there, so ", index, " and its files were not read"));
  } else if (has_index) {
    ROWMAX_RETURN_IF_ERROR(out.read_index(folder, index));
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
