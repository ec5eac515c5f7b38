// OLMo 2: norms of what attention and FFN give and none of what they see, and RMSNorms over the whole width of q and of k.
#include "engine/arch/architecture.h"

namespace rowmax::engine {

void read_olmo2(KeyReader& keys, ModelSpec& spec) {
  read_common(keys, spec, RopePairing::kHalves);
  spec.may_tie = false;
  spec.for_layers([](LayerSpec& layer) {
    layer.attention.qk_norm = QkNorm::kWidth;
    layer.input_norms = false;
    layer.post_norms = true;
  });
  keys.fact("qk_norm", "yes, over the whole width", "architecture " + spec.architecture);
  keys.fact("input_norms", "no", "architecture " + spec.architecture);
}

}  // namespace rowmax::engine
