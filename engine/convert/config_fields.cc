#include "engine/convert/config_fields.h"

#include <algorithm>
#include <iterator>

#include "engine/io/text.h"

namespace rowmax::engine {
namespace {

// Read by hf_model.cc, hf_tensors.cc or hf_tokenizer.cc.
constexpr std::string_view kRead[] = {
    "_sliding_window_pattern",
    "architectures",
    "attention_bias",
    "attn_logit_softcapping",
    "bos_token_id",
    "eos_token_id",
    "final_logit_softcapping",
    "head_dim",
    "hidden_act",
    "hidden_activation",
    "hidden_size",
    "intermediate_size",
    "is_causal",
    "layer_types",
    "max_position_embeddings",
    "mlp_bias",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "pad_token_id",
    "partial_rotary_factor",
    "quantization_config",
    "query_pre_attn_scalar",
    "rms_norm_eps",
    "rope_local_base_freq",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "sliding_window_pattern",
    "tie_word_embeddings",
    "use_bidirectional_attention",
    "use_sliding_window",
    "vocab_size",
};
// Training, the form of results, bookkeeping, and what only says how to compute the same.
constexpr std::string_view kHarmless[] = {
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_auto_class",
    "_name_or_path",
    "attention_dropout",
    "attn_implementation",
    "attribute_map",
    "auto_map",
    "base_config_key",
    "base_model_ep_plan",
    "base_model_fsdp_plan",
    "base_model_pp_plan",
    "base_model_tp_plan",
    "cache_implementation",
    "chunk_size_feed_forward",
    "dtype",
    "extra_config_files",
    "extra_files",
    "id2label",
    "initializer_range",
    "is_encoder_decoder",
    "label2id",
    "max_window_layers",  // counts with use_sliding_window alone, which is refused
    "model_type",
    "output_attentions",
    "output_hidden_states",
    "pretraining_tp",
    "problem_type",
    "return_dict",
    "sub_configs_defaults",
    "torch_dtype",
    "transformers_version",
    "use_cache",
};

}  // namespace

bool is_known_config_field(std::string_view name) noexcept {
  const auto among = [&](const auto& list) { return std::ranges::find(list, name) != std::end(list); };
  return among(kRead) || among(kHarmless);
}

std::vector<std::string> unknown_config_fields(const Json& config, const std::string& path) {
  std::vector<std::string> notes;
  for (const auto& member : config.members()) {
    if (member.value.is_null() || is_known_config_field(member.key)) continue;
    notes.push_back(concat(path, ": ", member.key, ": not a field that rowmax knows; it is ignored"));
  }
  return notes;
}

}  // namespace rowmax::engine
