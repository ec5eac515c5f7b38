// An architecture as data: everything the one forward pass needs to know. engine/arch fills it from a file's metadata;
// nothing behind it asks for an architecture's name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rowmax/engine/model.h"

namespace rowmax::engine {

enum class RopePairing : std::uint8_t {
  kHalves,    // dimension i turns with i + n_rot/2 ("NEOX")
  kAdjacent,  // dimension 2i turns with 2i + 1 ("NORM"; converters permute q and k for it)
};

// YaRN (Peng et al. 2023): slow pairs are interpolated by 1/factor, fast ones left alone, a ramp between them.
struct YarnSpec {
  double factor = 1;
  double original_context = 0;           // positions the model was trained with
  double beta_fast = 32, beta_slow = 1;  // turns within the original context where the ramp begins and ends
  double magnitude = 1;                  // cos and sin are multiplied by it; by default 0.1 ln(factor) + 1
};

struct RopeSpec {
  RopePairing pairing = RopePairing::kHalves;
  std::int64_t n_rot = 0;       // leading dimensions of a head that turn; even
  double base = 0;              // inverse frequency i: base^(-2i / n_rot)
  double scale = 1;             // positions are multiplied by this (1 / linear scaling factor)
  std::vector<float> divisors;  // empty, or n_rot/2: inverse frequencies are divided by them (llama3 factors)
  std::optional<YarnSpec> yarn;
};

enum class FfnActivation : std::uint8_t { kSilu, kGeluTanh, kReluSquared };

struct LayerSpec {
  std::int64_t window = 0;  // 0: every earlier key; else the query sees itself and window - 1 keys before it
  int rope = 0;             // index into ModelSpec::ropes
};

struct ModelSpec {
  std::string architecture;
  ModelShape shape;
  float rms_norm_eps = 0;
  float embedding_scale = 1;
  float attention_scale = 0;
  float attention_softcap = 0;  // 0: none
  float final_softcap = 0;      // 0: none
  bool qk_norm = false;         // RMSNorm over each head of q and k, before RoPE
  bool post_norms = false;      // RMSNorm of the attention's and the FFN's output, before the residual
  bool sub_norms = false;       // RMSNorm of the heads' outputs and of the gated FFN, before the product that follows
  bool matrix_scales = false;   // a product may have one factor of its own (tensor "<name>.scale")
  bool qkv_bias_required = false;
  std::string
      default_pre;  // the pre-tokenizer of files of this architecture that name none; "": such files are refused
  FfnActivation activation = FfnActivation::kSilu;
  std::vector<RopeSpec> ropes;
  std::vector<LayerSpec> layers;
};

}  // namespace rowmax::engine
