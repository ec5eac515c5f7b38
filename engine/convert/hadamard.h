// Folds a model: its matrices are stored turned, as engine/io/hadamard_keys.h has it.
#pragma once

#include <string>
#include <vector>

#include "engine/convert/tensor_rows.h"
#include "rowmax/engine/gguf.h"
#include "rowmax/result.h"

namespace rowmax::engine {

// Turns what the matrices give to be read, with signs that follow from the number of columns alone, and sets the keys:
// the layers' large matrices (engine/model/weight_table.h), the head, and the embedding of models whose head is a matrix of its own. A tied
// embedding stays as it is, with a notice: other readers of version 1 know no turned one; so do layers that
// guess tokens ahead. The columns of a delta net's output product are turned in the file's order of value heads, so that
// gdn_v_grouped, which published files set, is not. In fp64, rounded once.
// kInvalidArgument: a block that is no power of two or does not divide the columns of one of them. May throw
// std::bad_alloc.
Status fold_hadamard(std::vector<TensorRows>& tensors, std::int64_t block, GgufWriter& keys,
                     std::vector<std::string>& notices);

}  // namespace rowmax::engine
