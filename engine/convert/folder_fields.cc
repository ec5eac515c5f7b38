#include "engine/convert/folder_fields.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "engine/io/text.h"

namespace rowmax::engine {
namespace {

enum class Use {
  kRead,      // by hf_model.cc, hf_tensors.cc or hf_tokenizer.cc, which refuse what they cannot write
  kHarmless,  // no id and no logit depends on it
  kNeutral,   // at one of these values or null; anything else is refused
  kNoted,     // no id and no logit depends on it; a value that is none of these is told
};
// Which fields an object may have.
enum class Table {
  kNone,    // its members are not looked at
  kConfig,  // and those of kGeneration, which older configurations have among their own
  kRope,
  kQuantization,
  kTokenizer,
  kModel,
  kAddedToken,
  kNormalizer,
  kPattern,
  kPreTokenizer,
  kPostProcessor,
  kDecoder,
  kTokenizerConfig,
  kSpecialTokens,
  kGeneration,
};

struct Rule {
  Table table;
  Use use = Use::kRead;
  Table inside = Table::kNone;    // of the object, or of each of the list's
  std::string_view classes = {};  // of configurations of these alone, as names have it; others go by the rules behind
  std::string_view names;         // with a space between; a last '*' stands for any end
  std::string_view neutral = {};  // JSON, '|' between
  std::string_view why = {};      // kHarmless, kNoted: why; kNeutral: what another value means
};

// Source: testdata/folder_fields.txt (what transformers writes), and folders as they are published.
constexpr Rule kRules[] = {
    {.table = Table::kConfig, .classes = "SmolLM3ForCausalLM", .names = "no_rope_layer_interval no_rope_layers"},
    {.table = Table::kConfig,
     .use = Use::kNeutral,
     .classes = "HunYuanDenseV1ForCausalLM",
     .names = "use_qk_norm use_rotary_pos_emb",
     .neutral = "true",
     .why = "the architecture always has it"},
    {.table = Table::kConfig,
     .use = Use::kNeutral,
     .classes = "HunYuanDenseV1ForCausalLM",
     .names = "use_cla",
     .neutral = "false",
     .why = "layers share keys and values"},
    {.table = Table::kConfig,
     .use = Use::kNeutral,
     .classes = "HunYuanDenseV1ForCausalLM",
     .names = "norm_type",
     .neutral = "\"rms\"",
     .why = "the norms are others"},
    {.table = Table::kConfig,
     .use = Use::kHarmless,
     .classes = "HunYuanDenseV1ForCausalLM",
     .names =
         "attention_head_dim cla_share_factor enable_lm_head_fp32 eod_token_id im_end_id im_newline_id im_start_id "
         "mask_init_id org_vocab_size",
     .why = "transformers does not compute with it"},
    {.table = Table::kConfig,
     .classes = "Lfm2ForCausalLM Lfm2MoeForCausalLM",
     .names =
         "block_dim block_ff_dim conv_L_cache conv_bias conv_dim conv_dim_out full_attn_idxs norm_eps num_heads theta "
         "tie_embedding"},
    {.table = Table::kConfig,
     .classes = "Lfm2ForCausalLM",
     .names = "block_auto_adjust_ff_dim block_ffn_dim_multiplier block_multiple_of"},
    {.table = Table::kConfig,
     .classes = "Lfm2MoeForCausalLM",
     .names = "num_dense_layers routed_scaling_factor use_expert_bias"},
    {.table = Table::kConfig,
     .use = Use::kNeutral,
     .classes = "Lfm2ForCausalLM Lfm2MoeForCausalLM",
     .names = "block_use_swiglu use_pos_enc",
     .neutral = "true",
     .why = "the architecture always has it"},
    {.table = Table::kConfig,
     .use = Use::kHarmless,
     .classes = "Lfm2ForCausalLM Lfm2MoeForCausalLM",
     .names = "block_mlp_init_scale block_norm_eps block_out_init_scale block_use_xavier_init conv_use_xavier_init",
     .why = "transformers does not compute with it"},
    {.table = Table::kConfig, .classes = "MiniCPMForCausalLM", .names = "dim_model_base scale_depth scale_emb"},
    {.table = Table::kConfig,
     .use = Use::kHarmless,
     .classes = "MiniCPMForCausalLM",
     .names = "mup_denominator",
     .why = "only heads that guess tokens ahead use it"},
    {.table = Table::kConfig,
     .classes = "GraniteForCausalLM",
     .names = "attention_multiplier embedding_multiplier logits_scaling residual_multiplier"},
    {.table = Table::kConfig,
     .classes = "DeepseekV2ForCausalLM DeepseekV3ForCausalLM Glm4MoeLiteForCausalLM",
     .names = "first_k_dense_replace kv_lora_rank mlp_layer_types moe_layer_freq n_group n_routed_experts "
              "n_shared_experts num_mtp_layers num_nextn_predict_layers q_lora_rank qk_nope_head_dim qk_rope_head_dim "
              "rope_interleave "
              "routed_scaling_factor scoring_func topk_group topk_method v_head_dim"},
    {.table = Table::kConfig,
     .use = Use::kHarmless,
     .classes = "DeepseekV2ForCausalLM DeepseekV3ForCausalLM Glm4MoeLiteForCausalLM",
     .names = "aux_loss_alpha ep_size qk_head_dim seq_aux",
     .why = "training, the number of machines, and a sum of others"},
    {.table = Table::kConfig,
     .names = "_sliding_window_pattern architectures attention_bias attn_logit_softcapping bos_token_id "
              "eos_token_id final_logit_softcapping head_dim hidden_act hidden_activation hidden_size "
              "intermediate_size is_causal layer_types max_position_embeddings mlp_bias num_attention_heads "
              "num_hidden_layers num_key_value_heads pad_token_id partial_rotary_factor query_pre_attn_scalar "
              "rms_norm_eps rope_local_base_freq rope_theta sliding_window sliding_window_pattern "
              "tie_word_embeddings use_bidirectional_attention use_sliding_window vocab_size "
              "attn_output_gate decoder_sparse_step full_attention_interval linear_conv_kernel_dim "
              "linear_key_head_dim linear_num_key_heads linear_num_value_heads linear_value_head_dim mlp_only_layers "
              "moe_intermediate_size mtp_num_hidden_layers mtp_use_dedicated_embeddings norm_topk_prob num_experts "
              "num_experts_per_tok num_local_experts shared_expert_intermediate_size original_max_position_embeddings"},
    {.table = Table::kConfig, .names = "swiglu_alpha swiglu_limit"},
    {.table = Table::kConfig,
     .names = "attention_k_eq_v enable_moe_block global_head_dim hidden_size_per_layer_input "
              "num_global_key_value_heads num_kv_shared_layers per_layer_config top_k_experts use_double_wide_mlp "
              "vocab_size_per_layer_input"},
    {.table = Table::kConfig,
     .use = Use::kHarmless,
     .names = "audio_config audio_token_id boa_token_id boi_token_id eoa_token_id eoa_token_index eoi_token_id "
              "vision_soft_tokens_per_image",
     .why = "what sees images and hears is left out"},
    {.table = Table::kConfig, .inside = Table::kConfig, .names = "text_config"},
    {.table = Table::kConfig,
     .use = Use::kHarmless,
     .names = "image_token_id image_token_index multimodal_projector_bias projector_hidden_act spatial_merge_size "
              "video_token_id vision_config vision_end_token_id vision_feature_layer vision_start_token_id",
     .why = "what sees images is left out"},
    {.table = Table::kConfig,
     .use = Use::kHarmless,
     .names = "output_router_logits router_aux_loss_coef",
     .why = "training alone"},
    {.table = Table::kConfig,
     .use = Use::kHarmless,
     .names = "mamba_ssm_dtype",
     .why = "the state is F32, whatever the model was trained with"},
    {.table = Table::kConfig,
     .use = Use::kHarmless,
     .names = "experts_per_token initial_context_length",
     .why = "num_experts_per_tok and original_max_position_embeddings count"},
    {.table = Table::kConfig, .inside = Table::kRope, .names = "rope_parameters rope_scaling"},
    {.table = Table::kConfig, .inside = Table::kQuantization, .names = "quantization_config"},
    {.table = Table::kConfig,
     .use = Use::kHarmless,
     .names = "attention_dropout attn_dropout embd_pdrop gradient_checkpointing hidden_dropout "
              "initializer_range resid_pdrop tf_legacy_loss",
     .why = "training alone"},
    {.table = Table::kConfig,
     .use = Use::kHarmless,
     .names = "output_attentions output_hidden_states return_dict",
     .why = "the form of results"},
    {.table = Table::kConfig,
     .use = Use::kHarmless,
     .names = "_attn_implementation _attn_implementation_autoset attn_implementation cache_implementation "
              "chunk_size_feed_forward dtype pretraining_tp torch_dtype torchscript use_bfloat16 use_cache",
     .why = "how the same is computed"},
    {.table = Table::kConfig,
     .use = Use::kHarmless,
     .names = "finetuning_task id2label label2id problem_type sep_token_id task_specific_params",
     .why = "classifiers alone"},
    {.table = Table::kConfig,
     .use = Use::kHarmless,
     .names = "max_window_layers",
     .why = "counts with use_sliding_window alone, which is refused"},
    {.table = Table::kConfig,
     .use = Use::kHarmless,
     .names = "_auto_class _name_or_path attribute_map auto_map base_config_key base_model_ep_plan "
              "base_model_fsdp_plan base_model_pp_plan base_model_tp_plan extra_config_files extra_files "
              "is_decoder is_llama_config model_max_length model_type prefix sub_configs_defaults "
              "tokenizer_class transformers.js_config transformers_version unk_token_id unsloth_*",
     .why = "bookkeeping"},
    {.table = Table::kConfig,
     .use = Use::kNeutral,
     .names = "add_cross_attention is_encoder_decoder tie_encoder_decoder",
     .neutral = "false",
     .why = "the model has an encoder"},
    {.table = Table::kConfig,
     .use = Use::kNeutral,
     .names = "cross_attention_hidden_size",
     .why = "the model has an encoder"},
    {.table = Table::kConfig,
     .use = Use::kNeutral,
     .names = "rope_interleaved",
     .neutral = "false",
     .why = "positions turn adjacent pairs"},
    {.table = Table::kConfig,
     .use = Use::kNeutral,
     .names = "use_mrope",
     .neutral = "false",
     .why = "positions have three parts"},
    {.table = Table::kConfig,
     .use = Use::kNeutral,
     .names = "qk_layernorm use_qk_norm",
     .neutral = "false",
     .why = "queries and keys are normalised"},
    {.table = Table::kConfig,
     .use = Use::kNeutral,
     .names = "full_attn_mod interpolate_factor",
     .neutral = "1",
     .why = "only some layers see everything, or positions are stretched"},
    {.table = Table::kConfig,
     .use = Use::kNeutral,
     .names = "lm_head_bias",
     .neutral = "false",
     .why = "a bias is added"},
    {.table = Table::kConfig,
     .use = Use::kNeutral,
     .names = "pruned_heads",
     .neutral = "{}",
     .why = "heads are missing"},
    {.table = Table::kConfig, .use = Use::kNeutral, .names = "clip_qkv", .why = "queries, keys and values are clipped"},
    {.table = Table::kConfig,
     .use = Use::kNeutral,
     .names = "embedding_multiplier logit_scale logits_scaling residual_multiplier",
     .neutral = "1|1.0",
     .why = "numbers are scaled"},
    {.table = Table::kRope, .classes = "HunYuanDenseV1ForCausalLM", .names = "alpha"},
    {.table = Table::kRope,
     .classes = "Ministral3ForCausalLM Mistral3ForConditionalGeneration",
     .names = "llama_4_scaling_beta"},
    {.table = Table::kRope,
     .use = Use::kHarmless,
     .classes = "Ministral3ForCausalLM Mistral3ForConditionalGeneration",
     .names = "max_position_embeddings",
     .why = "the configuration's own is read"},
    {.table = Table::kRope,
     .names = "attention_factor beta_fast beta_slow factor high_freq_factor low_freq_factor mscale "
              "mscale_all_dim original_max_position_embeddings partial_rotary_factor rope_theta rope_type "
              "mrope_section truncate type short_factor long_factor"},
    {.table = Table::kRope,
     .use = Use::kHarmless,
     .names = "mrope_interleaved",
     .why = "text turns all pairs by one position"},
    {.table = Table::kRope, .inside = Table::kRope, .names = "full_attention sliding_attention"},
    {.table = Table::kRope, .use = Use::kHarmless, .names = "finetuned", .why = "bookkeeping"},
    {.table = Table::kQuantization,
     .names = "linear_class modules_to_not_convert quant_method quantization_mode rms_norm_eps use_rms_norm"},
    {.table = Table::kTokenizer,
     .use = Use::kNeutral,
     .names = "version",
     .neutral = "\"1.0\"",
     .why = "the file has another form"},
    {.table = Table::kTokenizer,
     .use = Use::kHarmless,
     .names = "padding truncation",
     .why = "batches and the cutting of texts"},
    {.table = Table::kTokenizer, .inside = Table::kAddedToken, .names = "added_tokens"},
    {.table = Table::kTokenizer, .inside = Table::kNormalizer, .names = "normalizer"},
    {.table = Table::kTokenizer, .inside = Table::kPreTokenizer, .names = "pre_tokenizer"},
    {.table = Table::kTokenizer, .inside = Table::kPostProcessor, .names = "post_processor"},
    {.table = Table::kTokenizer, .inside = Table::kDecoder, .names = "decoder"},
    {.table = Table::kTokenizer, .inside = Table::kModel, .names = "model"},
    {.table = Table::kModel,
     .names = "byte_fallback continuing_subword_prefix dropout end_of_word_suffix ignore_merges merges type "
              "unk_token vocab"},
    {.table = Table::kModel,
     .use = Use::kHarmless,
     .names = "fuse_unk",
     .why = "every byte has a token, so that nothing is unknown"},
    {.table = Table::kAddedToken, .names = "content id lstrip normalized rstrip single_word special"},
    {.table = Table::kAddedToken, .use = Use::kHarmless, .names = "__type", .why = "bookkeeping"},
    {.table = Table::kNormalizer, .names = "content prepend type"},
    {.table = Table::kNormalizer, .inside = Table::kNormalizer, .names = "normalizers"},
    {.table = Table::kNormalizer, .inside = Table::kPattern, .names = "pattern"},
    {.table = Table::kPattern, .names = "Regex String"},
    {.table = Table::kPreTokenizer,
     .names = "add_prefix_space behavior individual_digits invert prepend_scheme replacement split type "
              "use_regex"},
    {.table = Table::kPreTokenizer, .inside = Table::kPreTokenizer, .names = "pretokenizers"},
    {.table = Table::kPreTokenizer, .inside = Table::kPattern, .names = "pattern"},
    {.table = Table::kPreTokenizer,
     .use = Use::kHarmless,
     .names = "str_rep trim_offsets",
     .why = "places in the text, and the replacement again"},
    {.table = Table::kPostProcessor, .names = "single special_tokens type"},
    {.table = Table::kPostProcessor, .inside = Table::kPostProcessor, .names = "processors"},
    {.table = Table::kPostProcessor,
     .use = Use::kHarmless,
     .names = "add_prefix_space cls pair sep trim_offsets use_regex",
     .why = "places in the text, two texts at once, and types that are refused"},
    {.table = Table::kDecoder,
     .use = Use::kHarmless,
     .names = "add_prefix_space cleanup content pattern prepend_scheme replacement split start stop str_rep "
              "trim_offsets type use_regex",
     .why = "text from ids, not ids from text"},
    {.table = Table::kDecoder,
     .use = Use::kHarmless,
     .inside = Table::kDecoder,
     .names = "decoders",
     .why = "text from ids, not ids from text"},
    {.table = Table::kTokenizerConfig,
     .names = "add_bos_token add_eos_token add_prefix_space added_tokens_decoder additional_special_tokens "
              "bos_token chat_template eos_token extra_special_tokens model_specific_special_tokens pad_token "
              "unk_token"},
    {.table = Table::kTokenizerConfig,
     .use = Use::kHarmless,
     .names = "_commit_hash added_tokens_file auto_map backend device_map from_slow init_inputs is_local "
              "local_files_only merges_file name_or_path processor_class sp_model_kwargs "
              "special_tokens_map_file tokenizer_class tokenizer_file tokenizer_type transformers_version "
              "trust_remote_code vocab_file",
     .why = "bookkeeping"},
    {.table = Table::kTokenizerConfig,
     .use = Use::kHarmless,
     .names = "add_dummy_prefix keep_accents legacy remove_space",
     .why = "tokenizer.json is what it made"},
    {.table = Table::kTokenizerConfig,
     .use = Use::kHarmless,
     .names = "max_len max_length model_input_names model_max_length pad_to_multiple_of pad_token_type_id "
              "padding padding_side return_tensors return_token_type_ids stride truncation truncation_side "
              "truncation_strategy",
     .why = "batches and the cutting of texts"},
    {.table = Table::kTokenizerConfig,
     .use = Use::kHarmless,
     .names = "clean_up_tokenization_spaces errors skip_special_tokens spaces_between_special_tokens",
     .why = "text from ids, not ids from text"},
    {.table = Table::kTokenizerConfig,
     .use = Use::kHarmless,
     .names = "response_schema response_template use_default_system_prompt",
     .why = "chat templates alone"},
    {.table = Table::kTokenizerConfig,
     .use = Use::kHarmless,
     .names = "audio_token boi_token boi_token_id bos_token_id cls_token eoi_token eoi_token_id eos_token_id "
              "eot_token fill_token image_token image_token_id mask_token middle_token pad_token_id "
              "prefix_token sep_token suffix_token unk_token_id video_token vision_bos_token vision_eos_token",
     .why = "a token's name, not its id"},
    {.table = Table::kTokenizerConfig,
     .use = Use::kNeutral,
     .names = "split_special_tokens",
     .neutral = "false",
     .why = "special tokens in a text stay text"},
    {.table = Table::kTokenizerConfig,
     .use = Use::kNeutral,
     .names = "do_lower_case do_normalize normalization tokenize_chinese_chars",
     .neutral = "false",
     .why = "texts are changed first"},
    {.table = Table::kSpecialTokens,
     .names = "additional_special_tokens bos_token eos_token extra_special_tokens pad_token unk_token"},
    {.table = Table::kSpecialTokens,
     .use = Use::kHarmless,
     .names = "audio_token boi_token cls_token eoi_token image_token mask_token sep_token video_token",
     .why = "a token's name, not its id"},
    {.table = Table::kGeneration, .names = "bos_token_id eos_token_id pad_token_id"},
    {.table = Table::kGeneration,
     .use = Use::kHarmless,
     .names = "_from_model_config cache_config cache_implementation compile_config continuous_batching_config "
              "disable_compile max_cache_len output_attentions output_hidden_states output_logits "
              "output_scores prefill_chunk_size return_dict_in_generate transformers_version use_cache",
     .why = "bookkeeping and how the same is computed"},
    {.table = Table::kGeneration,
     .use = Use::kHarmless,
     .names = "assistant_confidence_threshold assistant_early_exit assistant_ensemble_weight "
              "assistant_lookbehind decoder_start_token_id diversity_penalty do_sample dola_layers "
              "early_stopping encoder_no_repeat_ngram_size encoder_repetition_penalty epsilon_cutoff "
              "eta_cutoff is_assistant length_penalty low_memory max_length max_matching_ngram_size "
              "max_new_tokens max_time min_length min_new_tokens min_p num_assistant_tokens "
              "num_assistant_tokens_schedule num_beam_groups num_beams num_return_sequences penalty_alpha "
              "prompt_lookup_num_tokens remove_invalid_values renormalize_logits repetition_penalty "
              "speculation_type target_lookbehind temperature token_healing top_h top_k top_p typical_p "
              "use_mtp watermarking_config",
     .why = "how tokens are drawn, which the command's flags say"},
    {.table = Table::kGeneration,
     .use = Use::kNoted,
     .names = "bad_words_ids begin_suppress_tokens constraints force_words_ids stop_strings suppress_tokens",
     .neutral = "[]",
     .why = "it steers what is drawn, and is not taken over"},
    {.table = Table::kGeneration,
     .use = Use::kNoted,
     .names = "exponential_decay_length_penalty forced_bos_token_id forced_eos_token_id",
     .why = "it steers what is drawn, and is not taken over"},
    {.table = Table::kGeneration,
     .use = Use::kNoted,
     .names = "sequence_bias",
     .neutral = "{}",
     .why = "it steers what is drawn, and is not taken over"},
    {.table = Table::kGeneration,
     .use = Use::kNoted,
     .names = "no_repeat_ngram_size",
     .neutral = "0",
     .why = "it steers what is drawn, and is not taken over"},
    {.table = Table::kGeneration,
     .use = Use::kNoted,
     .names = "guidance_scale",
     .neutral = "1|1.0",
     .why = "it steers what is drawn, and is not taken over"},
};

// Whether the list has the value; with wildcards a last '*' in it stands for any end.
bool is_among(std::string_view list, char separator, std::string_view value, bool wildcards) {
  for (std::size_t begin = 0; begin < list.size();) {
    const std::size_t end = std::min(list.find(separator, begin), list.size());
    const std::string_view one = list.substr(begin, end - begin);
    if (one == value) return true;
    if (wildcards && one.ends_with('*') && value.starts_with(one.substr(0, one.size() - 1))) return true;
    begin = end + 1;
  }
  return false;
}

const Rule* find_rule(Table table, std::string_view name, std::string_view class_name) {
  for (const Rule& rule : kRules) {
    const bool applies = rule.classes.empty() || is_among(rule.classes, ' ', class_name, false);
    if (applies && rule.table == table && is_among(rule.names, ' ', name, true)) return &rule;
  }
  return table == Table::kConfig ? find_rule(Table::kGeneration, name, class_name) : nullptr;
}

class FieldWalk {
 public:
  // class_name: of the model, as config.json has it.
  FieldWalk(std::string folder, std::string_view class_name, const std::vector<std::string>& ignored)
      : folder_(std::move(folder)), class_name_(class_name), ignored_(ignored), used_(ignored.size(), false) {}

  void file(const Json& root, const char* name, Table table) {
    name_ = name;
    members(root, "", table);
  }

  // What is said of a field that cannot be obeyed.
  void refuse(const std::string& field, const std::string& what) {
    if (error_) return;
    const std::string full = concat(name_, ":", field);
    for (std::size_t i = 0; i < ignored_.size(); ++i) {
      if (ignored_[i] != full) continue;
      used_[i] = true;
      notes_.push_back(concat(folder_, "/", name_, ": ", field, ": ", what, "; it is ignored, as --ignore-field says"));
      return;
    }
    error_ = Error{ErrorCode::kUnsupported, concat(folder_, "/", name_, ": ", field, ": ", what, "; --ignore-field ",
                                                   full, " converts without it")};
  }
  void set_file(const char* name) { name_ = name; }

  Result<std::vector<std::string>> finish() {
    if (error_) return *error_;
    for (std::size_t i = 0; i < ignored_.size(); ++i) {
      if (used_[i]) continue;
      return Error{ErrorCode::kInvalidArgument,
                   concat("--ignore-field ", ignored_[i], ": expected FILE:FIELD of a field in ", folder_,
                          " that is refused, found none")};
    }
    return std::move(notes_);
  }

 private:
  void members(const Json& object, const std::string& path, Table table) {
    for (const auto& [key, value] : object.members()) {
      if (error_) return;
      if (!value) continue;
      const std::string field = path.empty() ? std::string(key) : concat(path, ".", key);
      const Rule* rule = find_rule(table, key, class_name_);
      if (rule == nullptr) {
        refuse(field, concat("not a field that rowmax knows, found ", value.text()));
        continue;
      }
      const bool neutral = is_among(rule->neutral, '|', value.text(), false);
      if (rule->use == Use::kNeutral && !neutral) {
        refuse(field, concat("expected ", rule->neutral.empty() ? "null" : rule->neutral, ", found ", value.text(),
                             " (", rule->why, ")"));
      }
      if (rule->use == Use::kNoted && !neutral) {
        notes_.push_back(concat(folder_, "/", name_, ": ", field, " = ", value.text(), ": ", rule->why));
      }
      if (rule->inside == Table::kNone) continue;
      if (value.is_object()) members(value, field, rule->inside);
      for (const Json& element : value.elements()) members(element, field, rule->inside);
    }
  }

  std::string folder_;
  std::string_view class_name_;
  const std::vector<std::string>& ignored_;
  std::vector<bool> used_;
  std::string_view name_;
  std::vector<std::string> notes_;
  std::optional<Error> error_;
};

std::string_view text_of_token(const Json& token) {
  return token.is_object() ? token.find("content").as_string() : token.as_string();
}

// The tokens of tokenizer.json, by what other files say of them.
class TokenChecks {
 public:
  TokenChecks(const FolderJson& files, FieldWalk& walk) : files_(files), walk_(walk) {}

  void run() {
    walk_.set_file("tokenizer_config.json");
    const Json& config = files_.tokenizer_config;
    check_decoder(config.find("added_tokens_decoder"));
    for (const char* name : {"additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens"}) {
      check_known(config.find(name), name);
    }
    check_prefix(config.find("add_prefix_space"));
    walk_.set_file("special_tokens_map.json");
    const Json& map = files_.special_tokens_map;
    for (const char* name : {"additional_special_tokens", "extra_special_tokens"}) check_known(map.find(name), name);
    for (const char* name : {"bos_token", "eos_token", "unk_token", "pad_token"}) {
      const std::string_view mine = text_of_token(map.find(name)), other = text_of_token(config.find(name));
      if (mine.empty() || other.empty() || mine == other) continue;
      walk_.refuse(name, concat("expected ", quote(other), " as in tokenizer_config.json, found ", quote(mine)));
    }
  }

 private:
  // transformers goes by this list where it differs from tokenizer.json's.
  void check_decoder(const Json& decoder) {
    std::map<std::string, Json, std::less<>> by_id;
    for (const Json& token : files_.tokenizer.find("added_tokens").elements()) by_id[token.find("id").text()] = token;
    for (const auto& [id, token] : decoder.members()) {
      const auto found = by_id.find(id);
      const Json added = found != by_id.end() ? found->second : Json();
      for (const char* flag : {"content", "single_word", "lstrip", "rstrip", "normalized", "special"}) {
        const std::string here = value_of(token, flag),
                          there = added ? value_of(added, flag) : std::string("no such token");
        if (here == there) continue;
        walk_.refuse("added_tokens_decoder",
                     concat("id ", id, ": ", flag, ": expected ", there, " as in tokenizer.json, found ", here));
        return;
      }
    }
  }
  static std::string value_of(const Json& token, std::string_view flag) {
    if (const Json value = token.find(flag)) return value.text();
    if (flag == "normalized")
      return token.find("special").is_bool() && token.find("special").as_bool() ? "false" : "true";
    return flag == "content" ? "none" : "false";
  }

  // transformers adds the ones that there are not, under new ids.
  void check_known(const Json& tokens, const char* name) {
    std::vector<Json> list;
    for (const Json& token : tokens.elements()) list.push_back(token);
    for (const auto& member : tokens.members()) list.push_back(member.value);
    for (const Json& token : list) {
      const std::string_view text = text_of_token(token);
      if (text.empty() || is_token(text)) continue;
      walk_.refuse(name, concat("expected tokens of tokenizer.json, found ", quote(text)));
      return;
    }
  }
  bool is_token(std::string_view text) const {
    for (const Json& token : files_.tokenizer.find("added_tokens").elements()) {
      if (token.find("content").is(text)) return true;
    }
    return !files_.tokenizer.find("model").find("vocab").find(text).is_null();
  }

  // Classes that build the pre-tokenizer themselves go by it; tokenizer.json should say the same.
  void check_prefix(const Json& prefix) {
    if (!prefix.is_bool()) return;
    const bool found =
        prefixes(files_.tokenizer.find("pre_tokenizer")) || prefixes(files_.tokenizer.find("normalizer"));
    if (found == prefix.as_bool()) return;
    walk_.refuse("add_prefix_space",
                 concat("expected ", found ? "true" : "false", " as in tokenizer.json, found ", prefix.text()));
  }
  static bool prefixes(const Json& step) {
    const Json type = step.find("type"), space = step.find("add_prefix_space"), scheme = step.find("prepend_scheme");
    for (const char* list : {"pretokenizers", "normalizers"}) {
      for (const Json& part : step.find(list).elements()) {
        if (prefixes(part)) return true;
      }
    }
    if (type.is("Prepend")) return true;
    if (type.is("Metaspace") && scheme) return !scheme.is("never");
    return (type.is("Metaspace") || type.is("ByteLevel")) && (!space.is_bool() || space.as_bool());
  }

  const FolderJson& files_;
  FieldWalk& walk_;
};

}  // namespace

Result<std::vector<std::string>> check_folder_fields(const FolderJson& files, const std::vector<std::string>& ignored) {
  FieldWalk walk(files.folder, files.config.find("architectures").at(0).as_string(), ignored);
  walk.file(files.config, "config.json", Table::kConfig);
  walk.file(files.tokenizer, "tokenizer.json", Table::kTokenizer);
  walk.file(files.tokenizer_config, "tokenizer_config.json", Table::kTokenizerConfig);
  walk.file(files.generation_config, "generation_config.json", Table::kGeneration);
  walk.file(files.special_tokens_map, "special_tokens_map.json", Table::kSpecialTokens);
  TokenChecks(files, walk).run();
  return walk.finish();
}

}  // namespace rowmax::engine
