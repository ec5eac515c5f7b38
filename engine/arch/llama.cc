// Llama 1 to 3, Mistral, SmolLM, SmolLM2, TinyLlama: pre-norm, SwiGLU, adjacent-pair RoPE, optional biases, llama3
// frequency factors as the tensor rope_freqs.weight.
#include "engine/arch/architecture.h"

namespace rowmax::engine {

void read_llama(KeyReader& keys, ModelSpec& spec) {
  read_common(keys, spec, RopePairing::kAdjacent);
  // Mistral 7B v0.1 (arXiv 2310.06825, 2.1): every layer sees the query and window - 1 keys before it.
  read_window(keys, spec);
}

}  // namespace rowmax::engine
