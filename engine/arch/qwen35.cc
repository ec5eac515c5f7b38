// Qwen 3.5, 3.6 and 3.8, Bonsai 27B, Bonsai 2: three of four layers are gated delta nets, the fourth attends, with a gate
// on its output and a quarter of each head's dimensions turned. "moe": the FFN is a mixture of experts beside a shared
// one.
#include <algorithm>
#include <string>

#include "engine/arch/architecture.h"

namespace rowmax::engine {
namespace {

constexpr std::int64_t kMaxHeads = 4096, kMaxDim = 1024;

DeltaNetSpec read_delta_net(KeyReader& keys) {
  DeltaNetSpec delta;
  delta.conv_width = keys.require_int("ssm.conv_kernel", 2, 8, "delta_conv_width");
  delta.key_dim = keys.require_int("ssm.state_size", 1, kMaxDim, "delta_key_dim");
  delta.n_key_head = keys.require_int("ssm.group_count", 1, kMaxHeads, "delta_key_heads");
  delta.n_value_head = keys.require_int("ssm.time_step_rank", 1, kMaxHeads, "delta_value_heads");
  const std::int64_t width = keys.require_int("ssm.inner_size", 1, kMaxHeads * kMaxDim, nullptr);
  if (keys.failed()) return delta;
  if (delta.n_value_head % delta.n_key_head != 0) {
    keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key("ssm.time_step_rank") + "': expected a multiple of the " +
                                       std::to_string(delta.n_key_head) + " key heads (ssm.group_count), found " +
                                       std::to_string(delta.n_value_head));
  } else if (width % delta.n_value_head != 0 || width / delta.n_value_head > kMaxDim) {
    keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key("ssm.inner_size") + "': expected a multiple of the " +
                                       std::to_string(delta.n_value_head) +
                                       " value heads (ssm.time_step_rank), found " + std::to_string(width));
  } else {
    delta.value_dim = width / delta.n_value_head;
    keys.fact("delta_value_dim", std::to_string(delta.value_dim), "key " + keys.full_key("ssm.inner_size"));
  }
  return delta;
}

// Text has one position where images have three; sections that leave a pair out would turn it by none of them.
void check_sections(KeyReader& keys, std::int64_t n_pair) {
  const auto sections = keys.ints("rope.dimension_sections", 4);
  if (!sections) return;
  std::vector<std::int64_t> s = *sections;
  std::string found;
  for (const std::int64_t section : s) found += (found.empty() ? "" : ", ") + std::to_string(section);
  s.resize(4, 0);
  std::int64_t sum = 0;
  bool sound = true;
  for (const std::int64_t section : s) {
    sound = sound && section >= 0 && section <= n_pair;
    sum += sound ? section : 0;
  }
  for (std::int64_t pair = 0; sound && sum > 0 && pair < n_pair; ++pair) {
    const std::int64_t sector = pair % sum;
    sound = sector < 3 * s[static_cast<std::size_t>(sector % 3)];
  }
  if (sound) return;
  keys.fail(ErrorCode::kUnsupported, "key '" + keys.full_key("rope.dimension_sections") +
                                         "': expected three sections that cover all " + std::to_string(n_pair) +
                                         " pairs in turn, found " + (found.empty() ? "none" : found));
}

// Which blocks are delta nets: a list, in newer files, or all but every interval-th. The first n_layer are computed.
std::vector<bool> read_recurrent_layers(KeyReader& keys, std::size_t n_block, std::size_t n_layer) {
  constexpr const char* kInterval = "full_attention_interval";
  const std::int64_t interval = keys.int_or(kInterval, 4, 1, 4096, nullptr, "default of architecture qwen35");
  std::vector<bool> recurrent;
  const auto listed = keys.ints("attention.recurrent_layers", n_block);
  for (std::size_t i = 0; i < n_block; ++i) {
    recurrent.push_back(listed ? (*listed)[std::min(i, listed->size() - 1)] != 0
                               : (static_cast<std::int64_t>(i) + 1) % interval != 0);
  }
  if (listed && listed->size() != 1 && listed->size() != n_block) {
    keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key("attention.recurrent_layers") + "': expected " +
                                       std::to_string(n_block) + " values (block_count), found " +
                                       std::to_string(listed->size()));
  }
  keys.fact(
      "delta_net_layers",
      std::to_string(std::count(recurrent.begin(), recurrent.begin() + static_cast<std::ptrdiff_t>(n_layer), true)) +
          " of " + std::to_string(n_layer),
      listed ? "key " + keys.full_key("attention.recurrent_layers")
             : "all but every " + std::to_string(interval) + "th, " +
                   (keys.has(kInterval) ? "key " + keys.full_key(kInterval) : "default of architecture qwen35"));
  return recurrent;
}

}  // namespace

void read_qwen35(KeyReader& keys, ModelSpec& spec) {
  read_common(keys, spec, RopePairing::kHalves);
  if (keys.failed()) return;
  // Layers for guessing tokens ahead lie behind the others and count as blocks.
  spec.n_draft_layer =
      keys.int_or("nextn_predict_layers", 0, 0, spec.shape.n_layer - 1, nullptr, "default: none", "block_count");
  spec.shape.n_layer -= spec.n_draft_layer;
  const std::vector<bool> recurrent =
      read_recurrent_layers(keys, spec.layers.size(), static_cast<std::size_t>(spec.shape.n_layer));
  const DeltaNetSpec delta = read_delta_net(keys);
  if (keys.failed()) return;
  check_sections(keys, spec.ropes[0].n_rot / 2);
  spec.layers.resize(static_cast<std::size_t>(spec.shape.n_layer));
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    LayerSpec& layer = spec.layers[i];
    layer.mixer = recurrent[i] ? MixerKind::kDeltaNet : MixerKind::kAttention;
    layer.delta = delta;
    layer.attention.qk_norm = QkNorm::kHead;
    layer.attention.output_gate = true;
  }
  keys.fact("qk_norm", "yes", "architecture " + spec.architecture);
  keys.fact("attention_output_gate", "yes", "architecture " + spec.architecture);
}

void read_qwen35moe(KeyReader& keys, ModelSpec& spec) {
  read_qwen35(keys, spec);
  read_experts(keys, spec, {.shared = true});
}

}  // namespace rowmax::engine
