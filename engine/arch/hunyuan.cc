// Hunyuan dense (0.5B to 7B, Hy-MT): RMSNorms over each head of q and k behind RoPE. Converters write the base that the
// configuration's alpha makes of it.
#include "engine/arch/architecture.h"

namespace rowmax::engine {

void read_hunyuan_dense(KeyReader& keys, ModelSpec& spec) {
  read_common(keys, spec, RopePairing::kHalves);
  spec.for_layers([](LayerSpec& layer) {
    layer.attention.qk_norm = QkNorm::kHead;
    layer.attention.norm_after_rope = true;
  });
  keys.fact("qk_norm", "yes, behind RoPE", "architecture " + spec.architecture);
}

}  // namespace rowmax::engine
