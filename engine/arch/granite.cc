// Granite 3 and 4 (dense): Llama with scales of the embedding, of what blocks add, of the scores and of the logits; files
// whose rope.scaling.finetuned is false turn nothing. MiniCPM and BitCPM4: the same scales but that of the scores, which
// older files leave to the architecture.
#include <cmath>
#include <string>

#include "engine/arch/architecture.h"

namespace rowmax::engine {
namespace {

// logits: what they are divided by; 0: the file must say it.
struct Scales {
  double embedding = 1, residual = 1, logits = 0;
};

void read_scales(KeyReader& keys, const Scales& usual, ModelSpec& spec) {
  const std::string why = "default of architecture " + spec.architecture;
  const double embedding = keys.float_or("embedding_scale", usual.embedding, 1e-6, 1e6, "embedding_scale", why);
  const double residual = keys.float_or("residual_scale", usual.residual, 1e-6, 1e6, "residual_scale", why);
  const bool said = keys.has("logit_scale") || usual.logits == 0;
  const double logits = said ? keys.require_float("logit_scale", 1e-6, 1e6, nullptr) : usual.logits;
  spec.embedding_scale = static_cast<float>(embedding);
  spec.residual_scale = static_cast<float>(residual);
  spec.logit_scale = static_cast<float>(1.0 / logits);
  keys.fact("logit_scale", number_text(static_cast<double>(spec.logit_scale)),
            said ? "1 / key " + keys.full_key("logit_scale") : why);
}

}  // namespace

void read_granite(KeyReader& keys, ModelSpec& spec) {
  read_common(keys, spec, RopePairing::kAdjacent);
  if (keys.failed()) return;
  read_scales(keys, {}, spec);
  if (keys.bool_or("rope.scaling.finetuned", true)) return;
  spec.for_layers([](LayerSpec& layer) { layer.attention.rope = -1; });
  keys.fact("nope_layers", "all", "key " + keys.full_key("rope.scaling.finetuned"));
}

// The defaults are MiniCPM 2B's scale_emb 12, scale_depth 1.4 and dim_model_base 256. (llama.cpp of 2026 divides by the
// inverse of the last where the key is missing: the same tokens, other probabilities.)
void read_minicpm(KeyReader& keys, ModelSpec& spec) {
  read_common(keys, spec, RopePairing::kAdjacent);
  if (keys.failed()) return;
  read_scales(keys,
              {.embedding = 12,
               .residual = 1.4 / std::sqrt(static_cast<double>(spec.shape.n_layer)),
               .logits = static_cast<double>(spec.shape.n_embd) / 256},
              spec);
}

}  // namespace rowmax::engine
