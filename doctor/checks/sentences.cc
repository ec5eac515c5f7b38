#include "doctor/checks/sentences.h"

#include <charconv>
#include <utility>

namespace rowmax::doctor {
namespace {

// 'text' behind `word` and a blank.
std::string quoted_after(std::string_view message, std::string_view word) {
  const std::string start = std::string(word) + " '";
  const std::size_t at = message.find(start);
  if (at == std::string_view::npos) return "";
  const std::size_t from = at + start.size(), to = message.find('\'', from);
  return to == std::string_view::npos ? "" : std::string(message.substr(from, to - from));
}

struct Row {
  std::string_view part, cause;
};

// The first row whose part is in the name.
constexpr Row kTensors[] = {
    {"attn_q.bias", "missing_bias"},
    {"attn_k.bias", "missing_bias"},
    {"attn_v.bias", "missing_bias"},
    {"attn_output.bias", "missing_bias"},
    {"sub_norm", "sub_norm"},
    {"attn_q_norm", "qk_norm"},
    {"attn_k_norm", "qk_norm"},
    {"post_", "norm_place"},
    {"pre_ffw", "norm_place"},
    {"norm.bias", "norm_kind"},
    {"attn_sinks", "sinks"},
    {"exp_probs_b", "router"},
    {"gate_inp", "router"},
    {"conv1d", "conv"},
    {"shortconv", "conv"},
    {"ssm_norm", "norm_weight"},
    {"ssm_", "state"},
    {"rope_freqs", "rope_scaling"},
    {"rope_factors", "rope_scaling"},
    {"rope_magnitude", "rope_scaling"},
    {"exps.scale", "router"},
    {".scale", "ternary_scale"},
    {"_scale", "ternary_scale"},
    {"norm", "norm_weight"},
    {".bias", "missing_bias"},
    {"", "truncation"},  // a matrix
};

constexpr Row kKeys[] = {
    {"layer_norm_rms_epsilon", "norm_eps"},
    {"layer_norm_epsilon", "norm_kind"},
    {"rope.freq_base", "rope_base"},
    {"freq_base", "rope_base"},
    {"rope.dimension", "rope_dimension"},
    {"rope.", "rope_scaling"},
    {"sliding_window", "window"},
    {"softcapping", "softcap"},
    {"attention.scale", "attention_scale"},
    {"embedding_scale", "embedding_scale"},
    {"residual_scale", "residual_scale"},
    {"logit_scale", "logit_scale"},
    {"attention.head_count", "head_mapping"},
    {"attention.key_length", "head_mapping"},
    {"attention.value_length", "head_mapping"},
    {"attention.causal", "mask"},
    {"expert", "router"},
    {"ssm.conv", "conv"},
    {"shortconv.", "conv"},
    {"ssm.", "state"},
    {"prism.hadamard", "rotation"},
    {"tokenizer.ggml.pre", "pre_tokenizer"},
    {"tokenizer.chat_template", "template"},
    {"bos", "bos"},
    {"eos", "stop_ids"},
    {"eot", "stop_ids"},
    {"tokenizer.", "special_tokens"},
};

template <std::size_t n>
std::string_view first_match(const Row (&rows)[n], std::string_view name) {
  for (const Row& row : rows) {
    if (name.find(row.part) != std::string_view::npos) return row.cause;
  }
  return "";
}

}  // namespace

TensorName split_tensor_name(std::string_view tensor) {
  constexpr std::string_view kStart = "blk.";
  if (!tensor.starts_with(kStart)) return {-1, tensor};
  const char* const end = tensor.data() + tensor.size();
  std::int64_t layer = -1;
  const auto [behind, code] = std::from_chars(tensor.data() + kStart.size(), end, layer);
  if (code != std::errc() || behind == end || *behind != '.' || layer < 0) return {-1, tensor};
  return {layer, std::string_view(behind + 1, static_cast<std::size_t>(end - behind - 1))};
}

Place place_in(std::string_view message) {
  Place place;
  place.tensor = quoted_after(message, "tensor");
  place.key = quoted_after(message, "key");
  place.layer = split_tensor_name(place.tensor).layer;
  return place;
}

std::string_view cause_of_tensor(std::string_view kind) { return first_match(kTensors, kind); }
std::string_view cause_of_key(std::string_view key) { return first_match(kKeys, key); }

CheckResult refusal(std::string_view id, std::int64_t n_compared, std::string reason, std::string_view message) {
  CheckResult result = CheckResult::fail(id, n_compared, std::move(reason));
  result.place = place_in(message);
  result.measured = 1;
  result.threshold = 0;
  result.unit = "refusals";
  return result;
}

}  // namespace rowmax::doctor
