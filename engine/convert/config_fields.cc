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
    "attn_output_gate",
    "bos_token_id",
    "decoder_sparse_step",
    "eos_token_id",
    "final_logit_softcapping",
    "full_attention_interval",
    "head_dim",
    "hidden_act",
    "hidden_activation",
    "hidden_size",
    "intermediate_size",
    "is_causal",
    "layer_types",
    "linear_conv_kernel_dim",
    "linear_key_head_dim",
    "linear_num_key_heads",
    "linear_num_value_heads",
    "linear_value_head_dim",
    "max_position_embeddings",
    "mlp_bias",
    "mlp_only_layers",
    "moe_intermediate_size",
    "mtp_num_hidden_layers",
    "mtp_use_dedicated_embeddings",
    "norm_topk_prob",
    "num_attention_heads",
    "num_experts",
    "num_experts_per_tok",
    "num_hidden_layers",
    "num_key_value_heads",
    "num_local_experts",
    "pad_token_id",
    "partial_rotary_factor",
    "quantization_config",
    "query_pre_attn_scalar",
    "rms_norm_eps",
    "rope_local_base_freq",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "shared_expert_intermediate_size",
    "sliding_window",
    "sliding_window_pattern",
    "text_config",
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
    "image_token_id",
    "initializer_range",
    "is_encoder_decoder",
    "label2id",
    "mamba_ssm_dtype",    // of the state; here it is F32, whatever the model was trained with
    "max_window_layers",  // counts with use_sliding_window alone, which is refused
    "model_type",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "pretraining_tp",
    "problem_type",
    "return_dict",
    "router_aux_loss_coef",
    "sub_configs_defaults",
    "torch_dtype",
    "transformers_version",
    "use_cache",
    "video_token_id",
    "vision_config",  // of the part that sees images, which is left out
    "vision_end_token_id",
    "vision_start_token_id",
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
