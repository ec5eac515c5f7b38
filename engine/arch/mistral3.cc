// Mistral Small 3.1 and Ministral 3: Llama whose YaRN may have a magnitude of its own, and whose later queries weigh
// sharper, by how many times the original context fits before them.
#include "base/math/f64.h"
#include "engine/arch/architecture.h"

namespace rowmax::engine {

void read_mistral3(KeyReader& keys, ModelSpec& spec) {
  read_common(keys, spec, RopePairing::kAdjacent);
  // What transformers calls mscale_all_dim, beside an mscale of 1.
  const double multiplier = keys.float_or("rope.scaling.yarn_log_multiplier", 0.0, 0.0, 1e3, nullptr, "default: none");
  const double scale = keys.float_or("attention.temperature_scale", 0.0, 0.0, 1e3, nullptr, "default: none");
  if (keys.failed()) return;
  std::optional<YarnSpec>& yarn = spec.ropes[0].yarn;
  if (yarn && multiplier > 0) {
    yarn->magnitude /= 0.1 * multiplier * base::log_f64(yarn->factor) + 1.0;
    std::erase_if(keys.facts(), [](const ModelFact& fact) { return fact.name == "rope_magnitude"; });
    keys.fact("rope_magnitude", number_text(yarn->magnitude),
              "(0.1 ln(factor) + 1) / (0.1 " + number_text(multiplier) + " ln(factor) + 1), key " +
                  keys.full_key("rope.scaling.yarn_log_multiplier"));
  }
  if (scale == 0) return;
  const double length =
      yarn ? yarn->original_context
           : static_cast<double>(keys.int_or("rope.scaling.original_context_length", spec.shape.context_length, 1,
                                             std::int64_t{1} << 31, nullptr, "default: context_length"));
  keys.fact("attention_temperature", number_text(scale), "key " + keys.full_key("attention.temperature_scale"));
  keys.fact("attention_temperature_length", number_text(length),
            yarn ? "key " + keys.full_key("rope.scaling.original_context_length") : "the original context");
  spec.for_layers([&](LayerSpec& layer) { layer.attention.temperature = {.scale = scale, .length = length}; });
}

}  // namespace rowmax::engine
