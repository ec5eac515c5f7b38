// The tensors of a Hugging Face folder, in one file or in shards.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/safetensors.h"
#include "rowmax/result.h"

namespace rowmax::engine {

struct CheckpointTensor {
  const SafetensorsFile* file = nullptr;
  const SafetensorsTensor* tensor = nullptr;
};

class Checkpoint {
 public:
  // model.safetensors, else the files that model.safetensors.index.json names (plain names in this folder). kNotFound
  // where there is neither; kCorrupt for a tensor that the index places in a file that lacks it, or that no index
  // entry names.
  static Result<Checkpoint> open(const std::string& folder);

  const std::map<std::string_view, CheckpointTensor>& tensors() const noexcept { return tensors_; }
  std::vector<std::string> paths() const;
  const std::vector<std::string>& notices() const noexcept { return notices_; }

 private:
  Status read_index(const std::string& folder, const std::string& index_path);
  Status add_file(const std::string& path);

  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string_view, CheckpointTensor> tensors_;  // names live in files_
  std::vector<std::string> notices_;
};

}  // namespace rowmax::engine
