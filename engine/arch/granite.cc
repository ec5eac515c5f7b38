// Granite 3 and 4 (dense): Llama with scales of the embedding, of what blocks add, of the scores and of the logits; files
// whose rope.scaling.finetuned is false turn nothing.
#include <string>

#include "engine/arch/architecture.h"

namespace rowmax::engine {

void read_granite(KeyReader& keys, ModelSpec& spec) {
  read_common(keys, spec, RopePairing::kAdjacent);
  if (keys.failed()) return;
  spec.embedding_scale =
      static_cast<float>(keys.float_or("embedding_scale", 1.0, 1e-6, 1e6, "embedding_scale", "default: none"));
  spec.residual_scale =
      static_cast<float>(keys.float_or("residual_scale", 1.0, 1e-6, 1e6, "residual_scale", "default: none"));
  // The file has what logits are divided by.
  spec.logit_scale = static_cast<float>(1.0 / keys.require_float("logit_scale", 1e-6, 1e6, nullptr));
  keys.fact("logit_scale", number_text(static_cast<double>(spec.logit_scale)),
            "1 / key " + keys.full_key("logit_scale"));
  if (keys.bool_or("rope.scaling.finetuned", true)) return;
  spec.for_layers([](LayerSpec& layer) { layer.attention.rope = -1; });
  keys.fact("nope_layers", "all", "key " + keys.full_key("rope.scaling.finetuned"));
}

}  // namespace rowmax::engine
