// BitNet b1.58: ternary matrices, RMSNorms in front of the output and down products, half-split RoPE. The 2B4T model
// (arXiv 2504.12285; "bitnet-b1.58", in older files "bitnet-25") gates with the square of ReLU, the 1bitLLM models
// ("bitnet") with SiLU; the latter may store the factor of each matrix as a tensor of its own.
#include "engine/arch/architecture.h"

namespace rowmax::engine {

void read_bitnet(KeyReader& keys, ModelSpec& spec) {
  read_common(keys, spec, RopePairing::kHalves);
  spec.for_layers([](LayerSpec& layer) {
    layer.attention.sub_norm = true;
    layer.ffn.sub_norm = true;
    layer.matrix_scales = true;
  });
  spec.default_pre = "llama-bpe";
  keys.fact("sub_norms", "yes", "architecture " + spec.architecture);
}

void read_bitnet_b158(KeyReader& keys, ModelSpec& spec) {
  read_bitnet(keys, spec);
  spec.for_layers([](LayerSpec& layer) {
    layer.matrix_scales = false;
    layer.ffn.activation = FfnActivation::kReluSquared;
  });
  keys.fact("ffn_activation", "relu squared", "architecture " + spec.architecture);
}

}  // namespace rowmax::engine
