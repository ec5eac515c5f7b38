// Gemma 2 and 3: embeddings scaled by sqrt(embedding_length), norms before and after attention and FFN, GeGLU (tanh),
// layers with a sliding window. Norm weights in GGUF files already hold Gemma's "+ 1".
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "engine/arch/architecture.h"

namespace rowmax::engine {
namespace {

void read_gemma(KeyReader& keys, ModelSpec& spec) {
  read_common(keys, spec, RopePairing::kHalves);
  if (keys.failed()) return;
  spec.for_layers([](LayerSpec& layer) {
    layer.post_norms = true;
    layer.ffn.activation = FfnActivation::kGeluTanh;
  });
  const double scale = std::sqrt(static_cast<double>(spec.shape.n_embd));
  spec.embedding_scale =
      static_cast<float>(keys.float_or("embedding_scale", scale, 1e-6, 1e6, "embedding_scale",
                                       "architecture " + spec.architecture + ": sqrt(embedding_length)"));
}

// The 27B models scale by embedding_length / head_count instead of head_dim; their files say so only by their size.
void scale_of_27b(KeyReader& keys, ModelSpec& spec, std::int64_t n_layer_27b) {
  if (keys.failed() || keys.has("attention.scale") || spec.shape.n_layer != n_layer_27b) return;
  const double per_head = static_cast<double>(spec.shape.n_embd) / static_cast<double>(spec.shape.n_head);
  const auto scale = static_cast<float>(1.0 / std::sqrt(per_head));
  spec.for_layers([&](LayerSpec& layer) { layer.attention.scale = scale; });
  keys.fact("attention_scale", number_text(scale),
            "27B model (by block_count): 1 / sqrt(embedding_length / head_count)");
  keys.notice("attention scale 1/sqrt(embedding_length / head_count), as block_count " + std::to_string(n_layer_27b) +
              " means a 27B model; --set " + keys.full_key("attention.scale") + "=VALUE overrides");
}

// Which of gemma3's layers have the window: all but every n-th, or a list of them, as ollama's converter writes it.
std::vector<bool> read_local_layers(KeyReader& keys, std::size_t n_layer) {
  constexpr const char* kKey = "attention.sliding_window_pattern";
  const std::string why = "default of architecture gemma3";
  std::vector<bool> local;
  const auto listed = keys.ints(kKey, 4096);
  if (keys.failed()) return local;
  if (!listed || listed->size() == 1) {
    const std::int64_t pattern = keys.int_or(kKey, 6, 1, 4096, "sliding_window_pattern", why);
    for (std::size_t i = 0; i < n_layer; ++i) local.push_back(static_cast<std::int64_t>(i) % pattern != pattern - 1);
    keys.fact("sliding_window_layers",
              pattern == 1 ? std::string("none") : "all but every " + std::to_string(pattern) + "th",
              listed ? "key " + keys.full_key(kKey) : why);
    return local;
  }
  if (listed->size() != n_layer) {
    keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key(kKey) + "': expected a number or " +
                                       std::to_string(n_layer) + " values (block_count), found " +
                                       std::to_string(listed->size()));
    return local;
  }
  for (const std::int64_t value : *listed) local.push_back(value != 0);
  keys.fact("sliding_window_layers",
            std::to_string(std::count(local.begin(), local.end(), true)) + " of " + std::to_string(n_layer),
            "key " + keys.full_key(kKey));
  return local;
}

}  // namespace

void read_gemma2(KeyReader& keys, ModelSpec& spec) {
  read_gemma(keys, spec);
  if (keys.failed()) return;
  scale_of_27b(keys, spec, 46);
  const std::string why = "default of architecture gemma2";
  spec.attention_softcap =
      static_cast<float>(keys.float_or("attn_logit_softcapping", 50.0, 1e-3, 1e6, "attention_softcap", why));
  spec.final_softcap =
      static_cast<float>(keys.float_or("final_logit_softcapping", 30.0, 1e-3, 1e6, "final_softcap", why));
  const std::int64_t window =
      keys.int_or("attention.sliding_window", 4096, 1, std::int64_t{1} << 31, "sliding_window", why);
  for (std::size_t i = 0; i < spec.layers.size(); i += 2) spec.layers[i].attention.window = window;
  keys.fact("sliding_window_layers", "even layers", "architecture gemma2");
}

void read_gemma3(KeyReader& keys, ModelSpec& spec) {
  read_gemma(keys, spec);
  if (keys.failed()) return;
  scale_of_27b(keys, spec, 62);
  spec.for_layers([](LayerSpec& layer) { layer.attention.qk_norm = QkNorm::kHead; });
  keys.fact("qk_norm", "yes", "architecture gemma3");
  const std::string why = "default of architecture gemma3";
  spec.final_softcap = static_cast<float>(keys.float_or("final_logit_softcapping", 0.0, 0.0, 1e6, nullptr, why));
  const std::int64_t window = keys.require_int("attention.sliding_window", 1, std::int64_t{1} << 31, "sliding_window");
  const std::vector<bool> is_local = read_local_layers(keys, spec.layers.size());
  if (keys.failed()) return;
  // Local layers turn with a base of their own and without position scaling.
  RopeSpec local = spec.ropes[0];
  local.base =
      keys.float_of_two("rope.freq_base_swa", "rope.local.freq_base", 10000.0, 1.0, 1e12, "rope_base_local", why);
  local.scale = 1;
  spec.ropes.push_back(std::move(local));
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    if (!is_local[i]) continue;
    spec.layers[i].attention.window = window;
    spec.layers[i].attention.rope = 1;
  }
}

}  // namespace rowmax::engine
