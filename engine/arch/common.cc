#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/math/f64.h"
#include "engine/arch/architecture.h"

namespace rowmax::engine {
namespace {

// What differs from layer to layer; empty: it does not.
struct Listed {
  std::vector<std::int64_t> n_ff, n_kv_head;
};

// An array whose values differ, one for each layer; empty for anything else. least: of each value.
std::vector<std::int64_t> read_listed(KeyReader& keys, const char* key, std::int64_t n_layer, std::int64_t least,
                                      std::int64_t high, const char* fact) {
  const GgufValue* found = keys.file().find(keys.full_key(key));
  if (found == nullptr || found->type != GgufType::kArray) return {};
  auto values = keys.ints(key, 4096);
  if (!values || values->empty()) return {};
  const auto [low, most] = std::ranges::minmax(*values);
  if (low == most) return {};
  if (std::ssize(*values) != n_layer || low < least || most > high) {
    keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key(key) + "': expected " + std::to_string(n_layer) +
                                       " values (block_count) from " + std::to_string(least) + " to " +
                                       std::to_string(high) + ", found " + std::to_string(values->size()) + " from " +
                                       std::to_string(low) + " to " + std::to_string(most));
  }
  keys.fact(fact, std::to_string(low) + " to " + std::to_string(most), "key " + keys.full_key(key));
  return std::move(*values);
}

void read_head_dim(KeyReader& keys, ModelShape& shape) {
  const bool has_length = keys.has("attention.key_length");
  if (!has_length && shape.n_embd % shape.n_head != 0) {
    keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key("attention.key_length") +
                                       "' is missing and embedding_length " + std::to_string(shape.n_embd) +
                                       " is not a multiple of attention.head_count " + std::to_string(shape.n_head));
    return;
  }
  shape.head_dim = keys.int_or("attention.key_length", shape.n_embd / shape.n_head, 2, 576, "head_dim",
                               "default: embedding_length / head_count");
  for (const char* key : {"attention.value_length", "attention.head_dim"}) {  // the second: ollama's
    const std::int64_t length = keys.int_or(key, shape.head_dim, 2, 576, nullptr, "default: as the key length");
    if (length == shape.head_dim) continue;
    keys.fail(ErrorCode::kUnsupported, "key '" + keys.full_key(key) + "': expected the key length " +
                                           std::to_string(shape.head_dim) + " (attention.key_length), found " +
                                           std::to_string(length));
  }
}

// attending: layers without K/V heads do not attend; else all do.
Listed read_shape(KeyReader& keys, ModelSpec& spec, bool attending, const LatentSpec* latent) {
  Listed listed;
  ModelShape& shape = spec.shape;
  shape.context_length = keys.require_int("context_length", 1, std::int64_t{1} << 31, "context_length");
  shape.n_embd = keys.require_int("embedding_length", 1, kMaxWidth, "embedding_length");
  shape.n_layer = keys.require_int("block_count", 1, 4096, "block_count");
  // Models whose FFNs are all experts have no width for others.
  listed.n_ff = read_listed(keys, "feed_forward_length", shape.n_layer, 1, kMaxWidth, "feed_forward_length");
  shape.n_ff = !listed.n_ff.empty() ? std::ranges::max(listed.n_ff)
               : keys.has("expert_feed_forward_length")
                   ? keys.int_or("feed_forward_length", 0, 0, kMaxWidth,
                                 keys.has("feed_forward_length") ? "feed_forward_length" : nullptr, "default: none")
                   : keys.require_int("feed_forward_length", 1, kMaxWidth, "feed_forward_length");
  shape.n_head = keys.require_int("attention.head_count", 1, 65536, "head_count");
  listed.n_kv_head =
      read_listed(keys, "attention.head_count_kv", shape.n_layer, attending ? 0 : 1, 65536, "head_count_kv");
  shape.n_kv_head = !listed.n_kv_head.empty() ? std::ranges::max(listed.n_kv_head)
                                              : keys.int_or("attention.head_count_kv", shape.n_head, 1, 65536,
                                                            "head_count_kv", "default: as many as heads");
  if (keys.failed()) return listed;
  std::vector<std::int64_t> counts = listed.n_kv_head;
  counts.push_back(shape.n_kv_head);
  for (const std::int64_t n_kv_head : counts) {
    if (n_kv_head == 0 || shape.n_head % n_kv_head == 0) continue;
    keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key("attention.head_count_kv") +
                                       "': expected a divisor of attention.head_count " + std::to_string(shape.n_head) +
                                       ", found " + std::to_string(n_kv_head));
    return listed;
  }
  if (latent == nullptr) {
    read_head_dim(keys, shape);
  } else {
    shape.head_dim = latent->qk_dim();
  }
  return listed;
}

YarnSpec read_yarn(KeyReader& keys) {
  const std::string why = "default of the YaRN paper";
  YarnSpec yarn;
  yarn.factor = keys.require_float("rope.scaling.factor", 1.0, 1e6, "rope_scaling_factor");
  yarn.original_context = static_cast<double>(
      keys.require_int("rope.scaling.original_context_length", 1, std::int64_t{1} << 31, "rope_original_context"));
  yarn.beta_fast = keys.float_or("rope.scaling.yarn_beta_fast", 32.0, 1e-3, 1e6, nullptr, why);
  yarn.beta_slow = keys.float_or("rope.scaling.yarn_beta_slow", 1.0, 1e-3, 1e6, nullptr, why);
  // What files call the attention factor multiplies the paper's own magnitude.
  const double factor =
      keys.float_of_two("rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor", 1.0, 1e-3, 1e3, nullptr, why);
  // -1: not given.
  const double mixed_in = keys.float_or("rope.scaling.yarn_ext_factor", 1.0, -1.0, 1e3, nullptr, why);
  if (mixed_in != 1.0 && mixed_in != -1.0) {
    keys.fail(ErrorCode::kUnsupported, "key '" + keys.full_key("rope.scaling.yarn_ext_factor") +
                                           "': expected 1 (or -1), found " + number_text(mixed_in));
  }
  yarn.magnitude = keys.failed() ? 1.0 : factor * (0.1 * base::log_f64(yarn.factor) + 1.0);
  keys.fact("rope_magnitude", number_text(yarn.magnitude), "0.1 ln(factor) + 1");
  return yarn;
}

// Its divisors are tensors (tensor_map.cc). Files of Phi 3 have them without a word in rope.scaling.type; those of MiniCPM
// may leave out the keys, as llama.cpp's converter did: the published models had their whole context from the first.
LongRopeSpec read_long_rope(KeyReader& keys, const ModelSpec& spec) {
  constexpr const char *kContext = "rope.scaling.original_context_length", *kMagnitude = "rope.scaling.attn_factor";
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  LongRopeSpec rope;
  if (spec.architecture == "minicpm") {
    const std::int64_t context = spec.shape.context_length;
    rope.original_context =
        keys.int_or(kContext, context, 1, kMost, "rope_original_context", "default: context_length");
    rope.magnitude = keys.float_or(kMagnitude, 1, 1e-3, 1e3, "rope_magnitude", "default of architecture minicpm");
    return rope;
  }
  rope.original_context = keys.require_int(kContext, 1, kMost, "rope_original_context");
  rope.magnitude = keys.require_float(kMagnitude, 1e-3, 1e3, "rope_magnitude");
  return rope;
}

void read_rope(KeyReader& keys, ModelSpec& spec, RopePairing pairing) {
  RopeSpec rope;
  rope.pairing = pairing;
  rope.n_rot = keys.int_or(
      "rope.dimension_count", spec.shape.head_dim, 2, spec.shape.head_dim, "rope_dimensions", "default: head_dim",
      keys.has("attention.key_length") ? "attention.key_length" : "embedding_length / attention.head_count");
  if (rope.n_rot % 2 != 0) {
    keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key("rope.dimension_count") +
                                       "': expected an even number, found " + std::to_string(rope.n_rot));
  }
  // Files of ollama's own converter name the two bases of Gemma 3 alike.
  const char* base_key = keys.has("rope.global.freq_base") ? "rope.global.freq_base" : "rope.freq_base";
  rope.base = keys.float_or(base_key, 10000.0, 1.0, 1e12, "rope_base", "default of the RoPE paper");
  keys.fact("rope_pairing", pairing == RopePairing::kHalves ? "halves (i, i + n/2)" : "adjacent (2i, 2i + 1)",
            "architecture " + spec.architecture);
  const bool old_key = !keys.has("rope.scaling.type") && keys.has("rope.scale_linear");
  const bool unnamed = !keys.has("rope.scaling.type") && keys.has("rope.scaling.factor");
  if (unnamed) {
    for (const char* key :
         {"rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow", "rope.scaling.yarn_ext_factor",
          "rope.scaling.yarn_attn_factor", "rope.scaling.yarn_log_multiplier"}) {
      if (!keys.has(key)) continue;
      keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key("rope.scaling.type") + "' is missing beside '" +
                                         keys.full_key(key) + "', which only YaRN has; --set " +
                                         keys.full_key("rope.scaling.type") + "=yarn or =linear decides");
      return;
    }
  }
  const bool long_factors = keys.file().find_tensor("rope_factors_long.weight") != nullptr ||
                            keys.file().find_tensor("rope_factors_short.weight") != nullptr;
  const std::string type = keys.string_or("rope.scaling.type", old_key || unnamed ? "linear"
                                                               : long_factors     ? "longrope"
                                                                                  : "none");
  if (type == "linear") {
    const double factor =
        keys.require_float(old_key ? "rope.scale_linear" : "rope.scaling.factor", 1e-3, 1e6, "rope_scaling_factor");
    rope.scale = 1.0 / factor;
  } else if (type == "yarn") {
    rope.yarn = read_yarn(keys);
    if (rope.base <= 1) {
      keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key("rope.freq_base") +
                                         "': expected more than 1 with yarn scaling, found " + number_text(rope.base));
    }
  } else if (type == "longrope") {
    rope.long_rope = read_long_rope(keys, spec);
  } else if (type != "none") {
    keys.fail(ErrorCode::kUnsupported, "key '" + keys.full_key("rope.scaling.type") +
                                           "': expected none, linear or yarn, or longrope, found '" + type + "'");
  }
  keys.fact("rope_scaling", type,
            keys.has("rope.scaling.type") ? "key " + keys.full_key("rope.scaling.type")
            : old_key                     ? "key " + keys.full_key("rope.scale_linear")
            : unnamed                     ? "key " + keys.full_key("rope.scaling.factor")
            : long_factors                ? "tensors rope_factors_*.weight"
                                          : "default: none");
  spec.ropes.push_back(std::move(rope));
}

}  // namespace

void read_window(KeyReader& keys, ModelSpec& spec) {
  const std::int64_t window =
      keys.int_or("attention.sliding_window", 0, 0, std::int64_t{1} << 31, nullptr, "default: none");
  if (keys.failed() || window == 0) return;
  keys.fact("sliding_window", number_text(static_cast<double>(window)),
            "key " + keys.full_key("attention.sliding_window"));
  if (window >= spec.shape.context_length) return;  // it hides nothing
  spec.for_layers([&](LayerSpec& layer) { layer.attention.window = window; });
}

namespace {

void read_layers(KeyReader& keys, ModelSpec& spec, RopePairing pairing, double usual_scale, const Listed& listed,
                 const LatentSpec* latent) {
  if (keys.failed()) return;
  spec.rms_norm_eps =
      static_cast<float>(keys.require_float("attention.layer_norm_rms_epsilon", 1e-20, 1.0, "rms_norm_eps"));
  read_rope(keys, spec, pairing);
  // IEEE square roots are correctly rounded everywhere.
  const bool usual = usual_scale > 0;
  const double scale = usual ? usual_scale : 1.0 / std::sqrt(static_cast<double>(spec.shape.head_dim));
  const auto attention_scale =
      static_cast<float>(keys.float_or("attention.scale", scale, 1e-6, 1e3, "attention_scale",
                                       usual ? "architecture " + spec.architecture : "1 / sqrt(head_dim)"));
  LayerSpec layer;
  layer.attention.n_head = spec.shape.n_head;
  layer.attention.n_kv_head = spec.shape.n_kv_head;
  layer.attention.head_dim = spec.shape.head_dim;
  layer.attention.scale = attention_scale;
  if (latent != nullptr) {
    layer.mixer = MixerKind::kLatent;
    layer.latent = *latent;
    layer.attention.n_kv_head = spec.shape.n_kv_head = 1;
    layer.attention.head_dim = latent->rank + latent->rope_dim;
    layer.attention.rope_first = layer.attention.v_in_k = latent->rank;
  }
  layer.ffn.n_ff = spec.shape.n_ff;
  // BitNet embeddings: their files are those of the trunk's architecture, and say it by their tensors alone.
  layer.product_norms = keys.file().find_tensor("blk.0.attn_q_norm_in.weight") != nullptr;
  if (layer.product_norms) keys.fact("product_norms", "yes", "tensor blk.0.attn_q_norm_in.weight");
  spec.layers.assign(static_cast<std::size_t>(spec.shape.n_layer), layer);
  for (std::size_t i = 0; i < listed.n_ff.size(); ++i) spec.layers[i].ffn.n_ff = listed.n_ff[i];
  for (std::size_t i = 0; i < listed.n_kv_head.size(); ++i) {
    if (listed.n_kv_head[i] > 0) spec.layers[i].attention.n_kv_head = listed.n_kv_head[i];
  }
}

}  // namespace

void read_common(KeyReader& keys, ModelSpec& spec, RopePairing pairing, double usual_scale, const LatentSpec* latent) {
  read_layers(keys, spec, pairing, usual_scale, read_shape(keys, spec, false, latent), latent);
}

std::vector<bool> read_common_of_attending(KeyReader& keys, ModelSpec& spec, RopePairing pairing) {
  const Listed listed = read_shape(keys, spec, true, nullptr);
  read_layers(keys, spec, pairing, 0, listed, nullptr);
  std::vector<bool> attends(spec.layers.size(), true);
  for (std::size_t i = 0; i < listed.n_kv_head.size() && i < attends.size(); ++i) attends[i] = listed.n_kv_head[i] > 0;
  return attends;
}

}  // namespace rowmax::engine
