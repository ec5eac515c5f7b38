// gpt-oss (OpenAI 2025, arXiv 2508.10925): half-split RoPE with YaRN, attention with sinks and biases, every other layer
// with a window, and experts whose gates are limited: act(min(g, 7)) * (clamp(u, -7, 7) + 1), act(x) = x sigmoid(1.702 x).
#include <string>
#include <utility>

#include "engine/arch/architecture.h"

namespace rowmax::engine {
namespace {

// Layers with the window: all but every n-th.
void read_windows(KeyReader& keys, ModelSpec& spec) {
  const std::int64_t window = keys.require_int("attention.sliding_window", 1, std::int64_t{1} << 31, "sliding_window");
  const std::string why = "architecture " + spec.architecture;
  const std::int64_t pattern =
      keys.int_or("attention.sliding_window_pattern", 2, 1, 4096, "sliding_window_pattern", why);
  // Of the layers with a window, where it is another.
  RopeSpec local = spec.ropes[0];
  local.base = keys.float_or("rope.freq_base_swa", local.base, 1.0, 1e12, nullptr, why);
  const bool two = local.base != spec.ropes[0].base;
  if (two) {
    keys.fact("rope_base_local", number_text(local.base), "key " + keys.full_key("rope.freq_base_swa"));
    spec.ropes.push_back(std::move(local));
  }
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    if (static_cast<std::int64_t>(i) % pattern == pattern - 1) continue;
    spec.layers[i].attention.window = window;
    if (two) spec.layers[i].attention.rope = 1;
  }
}

}  // namespace

void read_gpt_oss(KeyReader& keys, ModelSpec& spec) {
  read_common(keys, spec, RopePairing::kHalves);
  read_experts(keys, spec, {});
  if (keys.failed()) return;
  for (RopeSpec& rope : spec.ropes) {
    if (rope.yarn) rope.yarn->whole_pairs = false;
  }
  spec.may_tie = false;
  spec.for_layers([](LayerSpec& layer) {
    layer.attention.qkv_bias_required = layer.attention.output_bias_required = true;
    layer.attention.sinks = true;
    layer.ffn.biases = true;
    layer.ffn.activation = FfnActivation::kGeluQuick;
    layer.ffn.gate_limit = 7;
    layer.ffn.up_offset = 1;
  });
  for (const char* fact : {"sinks", "attention_biases", "expert_biases"}) {
    keys.fact(fact, "yes", "architecture " + spec.architecture);
  }
  keys.fact("expert_gate", "limited to 7, up + 1", "architecture " + spec.architecture);
  read_windows(keys, spec);
}

}  // namespace rowmax::engine
