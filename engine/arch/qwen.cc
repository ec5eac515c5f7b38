// Qwen 2 and 2.5: half-split RoPE and biases on q, k and v. Qwen 3: no biases, an RMSNorm over each head of q and k,
// and a head_dim of its own (attention.key_length); "moe": the FFN is a mixture of experts.
#include "engine/arch/architecture.h"

namespace rowmax::engine {

void read_qwen2(KeyReader& keys, ModelSpec& spec) {
  read_common(keys, spec, RopePairing::kHalves);
  spec.for_layers([](LayerSpec& layer) { layer.attention.qkv_bias_required = true; });
  keys.fact("qkv_bias", "yes", "architecture " + spec.architecture);
}

void read_qwen3(KeyReader& keys, ModelSpec& spec) {
  read_common(keys, spec, RopePairing::kHalves);
  spec.for_layers([](LayerSpec& layer) { layer.attention.qk_norm = QkNorm::kHead; });
  spec.may_rank = true;
  keys.fact("qk_norm", "yes", "architecture " + spec.architecture);
}

void read_qwen3moe(KeyReader& keys, ModelSpec& spec) {
  read_qwen3(keys, spec);
  spec.may_rank = false;
  read_experts(keys, spec, {});
}

}  // namespace rowmax::engine
