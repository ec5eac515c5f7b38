// LFM2 and LFM2.5 (Liquid AI 2025, arXiv 2511.23404): gated short convolutions, between them attention with norms of q and
// k. "moe": behind the first layers the FFNs are mixtures of experts, by sigmoid and with a bias of the choice.
#include <algorithm>
#include <string>
#include <vector>

#include "engine/arch/architecture.h"

namespace rowmax::engine {

void read_lfm2(KeyReader& keys, ModelSpec& spec) {
  const std::vector<bool> attends = read_common_of_attending(keys, spec, RopePairing::kHalves);
  const std::int64_t width = keys.require_int("shortconv.l_cache", 2, 8, "short_conv_width");
  if (keys.failed()) return;
  for (std::size_t i = 0; i < attends.size(); ++i) {
    LayerSpec& layer = spec.layers[i];
    layer.mixer = attends[i] ? MixerKind::kAttention : MixerKind::kShortConv;
    layer.short_conv = {.n_channel = spec.shape.n_embd, .conv_width = width};
    layer.attention.qk_norm = QkNorm::kHead;
  }
  keys.fact("short_conv_layers",
            std::to_string(std::ranges::count(attends, false)) + " of " + std::to_string(attends.size()),
            "key " + keys.full_key("attention.head_count_kv"));
  keys.fact("qk_norm", "yes", "architecture " + spec.architecture);
  // Its converter's name for what comes last; ollama's files have the usual one.
  spec.output_norm_name = "token_embd_norm.weight";
}

void read_lfm2moe(KeyReader& keys, ModelSpec& spec) {
  read_lfm2(keys, spec);
  // The offset is that of transformers, modeling_lfm2_moe.py.
  read_experts(
      keys, spec,
      {.gate = ExpertGate::kSigmoid, .choice_bias = true, .scaled = true, .dense_first = true, .sum_offset = 1e-6f});
}

}  // namespace rowmax::engine
