// Llama 1 to 3, Mistral, SmolLM, SmolLM2, TinyLlama: pre-norm, SwiGLU, adjacent-pair RoPE, optional biases, llama3
// frequency factors as the tensor rope_freqs.weight.
#include "engine/arch/architecture.h"

namespace rowmax::engine {

void read_llama(KeyReader& keys, ModelSpec& spec) {
  read_common(keys, spec, RopePairing::kAdjacent);
  if (keys.has("expert_count") && keys.int_or("expert_count", 0, 0, 4096, nullptr, "") > 0) {
    keys.fail(ErrorCode::kUnsupported,
              "key '" + keys.full_key("expert_count") + "': mixtures of experts are not supported");
  }
}

}  // namespace rowmax::engine
