// Gemma 4: as Gemma 3, and scores that are not scaled, V normed without weights, heads of another size in layers with a
// window, keys and values of earlier layers in the last ones, embeddings for each layer, a scale of each layer's output,
// layers without a window whose V is K, and experts beside the FFN.
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "engine/arch/architecture.h"

namespace rowmax::engine {
namespace {

// Which layers have the window: a list.
std::vector<bool> read_listed_layers(KeyReader& keys, std::size_t n_layer) {
  constexpr const char* kKey = "attention.sliding_window_pattern";
  const auto listed = keys.ints(kKey, 4096);
  std::vector<bool> local;
  if (!keys.failed() && (!listed || listed->size() != n_layer)) {
    keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key(kKey) + "': expected " + std::to_string(n_layer) +
                                       " values (block_count), found " +
                                       (listed ? std::to_string(listed->size()) : std::string("none")));
  }
  if (keys.failed()) return local;
  for (const std::int64_t value : *listed) local.push_back(value != 0);
  keys.fact("sliding_window_layers", std::to_string(std::ranges::count(local, true)) + " of " + std::to_string(n_layer),
            "key " + keys.full_key(kKey));
  return local;
}

// The last layers read the keys and values of the last one before them that is of their kind.
void share_kv(KeyReader& keys, ModelSpec& spec, const std::vector<bool>& local) {
  const std::int64_t n_layer = spec.shape.n_layer;
  const std::int64_t n = keys.int_or("attention.shared_kv_layers", 0, 0, n_layer, "shared_kv_layers",
                                     keys.no_key("attention.shared_kv_layers"), "block_count");
  for (std::int64_t i = n_layer - n; i < n_layer; ++i) {
    const auto layer = static_cast<std::size_t>(i);
    AttentionSpec& a = spec.layers[layer].attention;
    for (std::int64_t owner = 0; owner < n_layer - n; ++owner) {
      if (local[static_cast<std::size_t>(owner)] == local[layer]) a.kv_layer = static_cast<int>(owner);
    }
    if (a.kv_layer >= 0) continue;
    return keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key("attention.shared_kv_layers") + "': of the first " +
                                              std::to_string(n_layer - n) + " layers none is of layer " +
                                              std::to_string(i) + "'s kind");
  }
}

// Layers without a window may lack a product for V, all of them; the file has no key for it.
void find_values(KeyReader& keys, ModelSpec& spec, const std::vector<bool>& local) {
  const auto has = [&](std::size_t layer, const char* name) {
    return keys.file().find_tensor("blk." + std::to_string(layer) + "." + name) != nullptr;
  };
  bool any = false, all = true;
  for (std::size_t i = 0; i < local.size(); ++i) {
    if (local[i] || !spec.layers[i].attention.has_kv() || !has(i, "attn_k.weight")) continue;
    any = true;
    all = all && !has(i, "attn_v.weight");
  }
  if (!any || !all) return;
  for (std::size_t i = 0; i < local.size(); ++i) spec.layers[i].attention.v_is_k = !local[i];
  keys.fact("v_is_k", "in layers without a window", "no tensor attn_v.weight");
}

void read_head_sizes(KeyReader& keys, ModelSpec& spec, const std::vector<bool>& local) {
  const std::int64_t global = spec.shape.head_dim;
  const std::int64_t size =
      keys.int_or("attention.key_length_swa", global, 2, 576, "head_dim_local", "default: as the others");
  const std::int64_t values =
      keys.int_or("attention.value_length_swa", size, 2, 576, nullptr, "default: as the key length");
  if (values != size) {
    keys.fail(ErrorCode::kUnsupported, "key '" + keys.full_key("attention.value_length_swa") +
                                           "': expected the key length " + std::to_string(size) +
                                           " (attention.key_length_swa), found " + std::to_string(values));
  }
  // Local layers turn whole heads, with a base of their own and without factors.
  RopeSpec rope;
  rope.pairing = RopePairing::kHalves;
  rope.factors = RopeFactors::kNever;
  rope.n_rot =
      keys.int_or("rope.dimension_count_swa", size, 2, size, "rope_dimensions_local", "default: head_dim_local",
                  keys.has("attention.key_length_swa") ? "attention.key_length_swa" : "attention.key_length");
  rope.base =
      keys.float_or("rope.freq_base_swa", 10000.0, 1.0, 1e12, "rope_base_local", "default of architecture gemma4");
  if (rope.n_rot % 2 != 0) {
    keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key("rope.dimension_count_swa") +
                                       "': expected an even number, found " + std::to_string(rope.n_rot));
  }
  spec.ropes[0].factors = RopeFactors::kRequired;
  spec.ropes.push_back(std::move(rope));
  for (std::size_t i = 0; i < local.size(); ++i) {
    if (!local[i]) continue;
    spec.layers[i].attention.head_dim = size;
    spec.layers[i].attention.rope = 1;
  }
}

// In every layer, beside the FFN that the others have: each sees the stream through a norm of its own and is normed before
// both are added up; the router has a norm of its own too, and each expert a factor.
void read_experts_beside(KeyReader& keys, ModelSpec& spec) {
  constexpr const char *kCount = "expert_count", *kLength = "expert_feed_forward_length",
                       *kDense = "feed_forward_length";
  if (keys.int_or(kCount, 0, 0, 1 << 16, nullptr, "default: none") == 0) {
    return keys.fact(kCount, "0", keys.has(kCount) ? "key " + keys.full_key(kCount) : keys.no_key(kCount));
  }
  for (const char* key : {kLength, kDense}) {
    if (keys.has(key)) continue;
    return keys.fail(ErrorCode::kCorrupt,
                     "key '" + keys.full_key(key) + "' is missing beside '" + keys.full_key(kCount) + "'");
  }
  if (spec.shape.n_ff == 0) {
    return keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key(kDense) + "': expected at least 1, found 0");
  }
  std::vector<std::int64_t> widths;
  for (const LayerSpec& layer : spec.layers) widths.push_back(layer.ffn.n_ff);
  read_experts(keys, spec, {});
  if (keys.failed()) return;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    FfnSpec& ffn = spec.layers[i].ffn;
    ffn.n_shared = widths[i];
    ffn.shared_gate = false;
    ffn.beside = ffn.branch_norms = ffn.router_norm = ffn.expert_factors = true;
  }
  const auto [low, high] = std::ranges::minmax(widths);
  keys.fact("dense_ffn", std::to_string(low) + (low == high ? "" : " to " + std::to_string(high)) + ", beside experts",
            "key " + keys.full_key(kDense));
  for (const char* fact : {"branch_norms", "router_norm", "expert_factors"}) {
    keys.fact(fact, "yes", "architecture " + spec.architecture);
  }
}

}  // namespace

void read_gemma4(KeyReader& keys, ModelSpec& spec) {
  read_common(keys, spec, RopePairing::kHalves, 1);
  read_experts_beside(keys, spec);
  if (keys.failed()) return;
  const std::string why = "architecture " + spec.architecture;
  const std::int64_t n_layer_embd =
      keys.int_or("embedding_length_per_layer_input", 0, 0, 1 << 16, "layer_embedding_length",
                  keys.no_key("embedding_length_per_layer_input"));
  // Those tensors are there in all files.
  spec.for_layers([&](LayerSpec& layer) {
    layer.attention.qk_norm = QkNorm::kHead;
    layer.attention.v_norm = true;
    layer.ffn.activation = FfnActivation::kGeluTanh;
    layer.post_norms = layer.output_scale = true;
    layer.n_layer_embd = n_layer_embd;
  });
  for (const char* fact : {"qk_norm", "v_norm", "layer_output_scale"}) keys.fact(fact, "yes", why);
  spec.embedding_scale =
      static_cast<float>(keys.float_or("embedding_scale", std::sqrt(static_cast<double>(spec.shape.n_embd)), 1e-6, 1e6,
                                       "embedding_scale", why + ": sqrt(embedding_length)"));
  const char* const capped = keys.has("final_logit_softcapping") ? "final_softcap" : nullptr;
  spec.final_softcap =
      static_cast<float>(keys.float_or("final_logit_softcapping", 0.0, 0.0, 1e6, capped, "default: none"));
  const std::int64_t window = keys.require_int("attention.sliding_window", 1, std::int64_t{1} << 31, "sliding_window");
  const std::vector<bool> local = read_listed_layers(keys, spec.layers.size());
  if (keys.failed()) return;
  for (std::size_t i = 0; i < local.size(); ++i) spec.layers[i].attention.window = local[i] ? window : 0;
  read_head_sizes(keys, spec, local);
  share_kv(keys, spec, local);
  find_values(keys, spec, local);
}

}  // namespace rowmax::engine
