// Phi 3, 3.5 and 4 (mini): pre-norm, SwiGLU, half-split RoPE over all or a part of each head, LongRoPE; q, k and v lie in
// one matrix, gate and up in another. As transformers has it, every layer has the window (files of Phi 4 say 0: none).
#include "engine/arch/architecture.h"

namespace rowmax::engine {

void read_phi3(KeyReader& keys, ModelSpec& spec) {
  read_common(keys, spec, RopePairing::kHalves);
  read_window(keys, spec);
  constexpr const char* kMagnitude = "rope.scaling.attn_factor";
  const bool whole = !keys.file().tensors().empty();  // not keys alone, as a converter has them
  if (!keys.failed() && whole && !spec.ropes[0].long_rope && keys.has(kMagnitude)) {
    return keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key(kMagnitude) +
                                              "' belongs to LongRoPE, and tensors 'rope_factors_short.weight' and "
                                              "'rope_factors_long.weight' are missing");
  }
  spec.for_layers([](LayerSpec& layer) { layer.fused = true; });
}

}  // namespace rowmax::engine
