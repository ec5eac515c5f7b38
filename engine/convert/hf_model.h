// What a Hugging Face configuration says of the model, in GGUF's words.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/convert/json_reader.h"
#include "rowmax/engine/gguf.h"
#include "rowmax/result.h"

namespace rowmax::engine {

// More than any model has.
inline constexpr std::int64_t kMaxWidth = 1 << 20, kMaxExperts = 1 << 16;

// Which of an attention's matrices have biases.
enum class Biases {
  kConfig,  // all four where attention_bias says so
  kNone,
  kInputs,  // q, k and v
  kAll,     // all four, which the class has unless attention_bias says otherwise
};

// The FFNs of an architecture.
enum class HfExperts {
  kNone,     // dense ones
  kRouted,   // mixtures of experts
  kShared,   // mixtures of experts beside one that every row passes
  kLimited,  // gpt-oss: with biases and limited gates, columns stored as rows
  kBiased,   // lfm2_moe: behind dense ones; by sigmoid, with a bias of the choice
  // DeepSeek: the first layers dense, groups, shared experts without a gate.
  kBySoftmax,
  kBySigmoid,  // with a bias of the choice
};

// Scales of embedding, residual and logits (and scores), by their names.
enum class HfScales {
  kNone,
  kGranite,
  kMiniCpm,
};

// An architecture of transformers, as data. A new one is a row in hf_model.cc.
struct HfArchitecture {
  std::string_view class_name;  // in config.json's architectures
  const char* name;             // general.architecture
  std::string_view activation;  // what hidden_act must be
  double rope_base = 10000;     // where the configuration has none
  bool adjacent_rope = false;   // rows of q and k are reordered: transformers turns halves, the file adjacent pairs
  bool norms_plus_one = false;  // the model multiplies by 1 + weight, the file's reader by the weight
  bool head_length_keys = false;
  bool rope_dimension_key = false;
  bool partial_rotary = false;      // a part of each head may turn
  bool long_rope = false;           // the reader takes LongRoPE's two sets of divisors
  bool ternary = false;             // float matrices are master weights, to be rounded
  bool gemma = false;               // names of norms, windows, soft caps
  bool llama3_scaling = false;      // the reader takes a divisor for each frequency
  bool gemma4 = false;              // heads, windows, layers and embeddings of Gemma 4
  bool lfm2 = false;                // names, sizes and layers of LFM2
  bool soft_caps = false;           // both of them, always
  bool window_used = false;         // transformers applies sliding_window to every layer
  bool window_key = false;          // and so does the file's reader, where the key is not 0
  std::int64_t window_pattern = 0;  // every how many layers one sees everything; 0: all do
  std::int64_t default_window = 0;  // where the configuration is silent; 0: none
  bool exact_yarn = false;          // the file's reader takes YaRN's ramp as it is (truncate false), others round it
  bool other_names = false;         // the file's tensors have their other names (WeightInfo::other_name)
  bool implied_base = false;        // the file's reader knows rope_base and needs no key for it
  // Where the configuration is silent: num_key_value_heads (0: as num_attention_heads) and head_dim (0: hidden_size /
  // num_attention_heads).
  std::int64_t default_kv_heads = 0, default_head_dim = 0;
  Biases biases = Biases::kConfig;
  HfExperts experts = HfExperts::kNone;
  // Qwen 3.5: layers of two kinds, a quarter of each head turned, mtp.* tensors that guess tokens ahead.
  bool hybrid = false;
  HfScales scales = HfScales::kNone;
  bool tied = false;                // where the configuration is silent
  bool mlp_bias = false;            // the class has biases in the FFN where mlp_bias says so
  bool nope = false;                // layers that do not turn q and k: no_rope_layers
  bool alpha = false;               // a RoPE type "dynamic" with alpha is another base
  bool tempered = false;            // mscale and llama_4_scaling_beta among RoPE's parameters, which must be there
  std::string_view text_type = {};  // of a nested model: what text_config's model_type must be; empty: any
  bool trunk = false;               // without a head: embedding models
  // Attention over latents. The first so many FFNs are dense where the configuration is silent.
  bool latent = false;
  std::int64_t default_dense = 0;
  bool nested = false;  // a text model inside another: its fields are those of text_config

  // A folder of the class may hold more than the text model.
  bool other_text() const noexcept { return hybrid || gemma4 || nested; }
};

// The table of hf_architectures.cc.
std::span<const HfArchitecture> hf_architectures() noexcept;

struct HfModel {
  const HfArchitecture* architecture = nullptr;
  std::int64_t n_layer = 0, n_head = 0, n_kv_head = 0, head_dim = 0, n_embd = 0, vocab_size = 0;
  bool tied = false;
  bool input_biases = false, output_bias = false;  // of q, k and v; of the attention's output
  bool ternarise = false;                          // round float matrices to ternary ones
  bool product_norms = false;                      // each product has a norm of its own in front
  bool float_codes = false;    // matrices may be floats beside a weight_scale, which multiplies them
  bool divide_scales = false;  // of packed matrices: weight = code / weight_scale, not code * weight_scale
  // Divisors of RoPE's frequencies, by the names of their tensors.
  std::vector<std::pair<std::string, std::vector<float>>> rope_factors;
  bool global_v_is_k = false;      // of layers without a window
  std::int64_t n_shared_kv = 0;    // of the last layers; their own k and v, where the folder has them, are not used
  std::int64_t n_draft_layer = 0;  // of the checkpoint's mtp.layers: those that are written, behind the others
  std::int64_t n_left_out = 0;     // layers behind the last one, which guess tokens ahead and are not written
  Json text;                       // the object with the text model's fields; good as long as the document
  std::string text_path;           // what errors call it
  std::vector<std::string> notices;
};

// What a checkpoint's tensors say before its configuration is read.
struct HfFound {
  std::int64_t n_draft_layer = 0;  // mtp.layers
  bool product_norms = false;      // q_proj.norm.weight: the products of BitNet's embedding models
};

// Sets general.* and the architecture's keys. kUnsupported names what rowmax could not run, with the key. Defaults are
// those of transformers' configuration classes. master_weights: float matrices are those
// that a ternary model was trained with, whatever the configuration says.
Result<HfModel> read_hf_config(const Json& config, const std::string& path, const HfFound& found, bool master_weights,
                               GgufWriter& keys);

}  // namespace rowmax::engine
