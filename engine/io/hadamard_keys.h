// The metadata prism.hadamard.*, version 1: matrices that are stored turned, W' = W diag(s) H along the columns. The
// product with x is that of W' with H (s * x), and a row z that is looked up stands for s * (H z).
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
//   gdn_v_grouped         true: the columns of ssm_out.weight lie as the value heads of the model do, those of one key
//                         head together, and not as in files (DeltaNetSpec::output_grouped)
// Source: https://github.com/PrismML-Eng/llama.cpp, the loader.
#pragma once

#include <cstdint>
#include <string_view>

namespace rowmax::engine {

inline constexpr std::string_view kHadamardPrefix = "prism.hadamard.";
inline constexpr std::string_view kHadamardTransform = "normalized-sylvester-walsh-hadamard";
inline constexpr std::string_view kHadamardAxis = "input-last-dimension";
inline constexpr std::uint32_t kHadamardVersion = 1;
inline constexpr std::int64_t kHadamardMaxBlock = 1 << 20;

constexpr bool is_hadamard_block(std::int64_t block) noexcept {
  return block >= 1 && block <= kHadamardMaxBlock && (block & (block - 1)) == 0;
}

}  // namespace rowmax::engine
