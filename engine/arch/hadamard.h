// The metadata prism.hadamard.*, version 1: matrices that are stored turned (engine/model/weight_sources.h, Rotation).
// Written by PrismML's converter and by `rowmax convert --hadamard`; published models: Bonsai 2.
//   version               1
//   block_size            a power of two that divides the columns of every listed matrix
//   transform             "normalized-sylvester-walsh-hadamard"
//   axis                  "input-last-dimension"
//   sign_mode             "identity": all signs +1; "explicit": by the two keys that follow
//   sign_widths           one number of columns for each vector of signs
//   sign_values           the vectors, +1 and -1, one after the other in that order
//   weight_names          matrices of products
//   inverse_weight_names  matrices of rows that are looked up: token_embd.weight
//   gdn_v_grouped         for ssm_out.weight, which no architecture here has: must be false
// Source: https://github.com/PrismML-Eng/llama.cpp, the loader.
#pragma once

#include <string_view>
#include <vector>

#include "engine/model/weight_sources.h"
#include "rowmax/engine/gguf.h"
#include "rowmax/engine/model.h"

namespace rowmax::engine {

inline constexpr std::string_view kHadamardPrefix = "prism.hadamard.";
inline constexpr std::string_view kHadamardTransform = "normalized-sylvester-walsh-hadamard";
inline constexpr std::string_view kHadamardAxis = "input-last-dimension";

// Marks the sources whose matrices the file lists; nothing happens where it has none of the keys. The contract is
// checked whole, and anything that is not exactly as above is refused: a turned matrix taken for a plain one gives
// nonsense without an error. kUnsupported for a value of another version, kCorrupt for keys that disagree with each
// other or with the tensors; errors name file, key, expected and found.
Status apply_hadamard(const GgufFile& file, WeightSources& sources, std::vector<ModelFact>& facts);

}  // namespace rowmax::engine
