// The tensors of a file as a tree along the dots of their names, layers that are alike folded into one.
#pragma once

#include <span>
#include <string>

#include "rowmax/engine/gguf.h"

namespace rowmax::cli {

// "[576, 49152]", the file's order: fastest first.
std::string shape_text(std::span<const std::int64_t> shape);
// fold: numbered branches with the same leaves (names, shapes, types) become one, "blk.0 to blk.29".
std::string tensor_tree(std::span<const engine::GgufTensor> tensors, bool fold);
// "Q4_1: 210 tensors, 66 MB", one line a type, largest first.
std::string tensor_types(std::span<const engine::GgufTensor> tensors);

}  // namespace rowmax::cli
