// A safetensors file of f32 tensors: u64 length of the header, JSON header, data (huggingface/safetensors, README).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "rowmax/engine/output_file.h"
#include "rowmax/result.h"

namespace rowmax::cli {

struct F32Tensor {
  std::string name;
  std::vector<std::int64_t> shape;  // slowest first
  std::span<const float> values;
};

// metadata: names and texts, under "__metadata__".
Status write_safetensors(const std::string& path, const engine::OutputOptions& options,
                         std::span<const std::pair<std::string, std::string>> metadata,
                         std::span<const F32Tensor> tensors);

}  // namespace rowmax::cli
