#include "rowmax/doctor/report.h"

#include <utility>

namespace rowmax::doctor {

const char* verdict_name(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::kPass: return "pass";
    case Verdict::kFail: return "fail";
    case Verdict::kInconclusive: return "inconclusive";
    case Verdict::kSkipped: return "skipped";
  }
  return "?";
}

CheckResult CheckResult::pass(std::string_view id, std::int64_t n_compared, std::string reason) {
  if (n_compared <= 0) return inconclusive(id, "nothing was compared");
  CheckResult result;
  result.id = id;
  result.verdict = Verdict::kPass;
  result.n_compared = n_compared;
  result.reason = std::move(reason);
  return result;
}

CheckResult CheckResult::fail(std::string_view id, std::int64_t n_compared, std::string reason) {
  CheckResult result;
  result.id = id;
  result.verdict = Verdict::kFail;
  result.n_compared = n_compared;
  result.reason = std::move(reason);
  return result;
}

CheckResult CheckResult::inconclusive(std::string_view id, std::string reason) {
  CheckResult result;
  result.id = id;
  result.reason = std::move(reason);
  return result;
}

CheckResult CheckResult::skipped(std::string_view id, std::string reason) {
  CheckResult result = inconclusive(id, std::move(reason));
  result.verdict = Verdict::kSkipped;
  return result;
}

const std::vector<CauseInfo>& cause_table() {
  static const std::vector<CauseInfo> table = {
      {"truncation", "the file ends too early, or its sizes do not fit"},
      {"rope_pairing", "RoPE turns the wrong pairs of dimensions"},
      {"rope_base", "RoPE's base frequency"},
      {"rope_scaling", "how RoPE stretches positions (linear, llama3, YaRN)"},
      {"rope_dimension", "how many dimensions of a head turn"},
      {"norm_eps", "the eps of RMS norms"},
      {"norm_kind", "RMS norm or layer norm"},
      {"norm_weight", "weights of a norm, or whether one is added to them"},
      {"norm_place", "before or behind which product a norm stands"},
      {"qk_norm", "the norm of queries and keys"},
      {"missing_bias", "a bias that is missing, zero or not added"},
      {"weight_transposed", "a matrix whose rows and columns are exchanged"},
      {"weight_swapped", "two tensors that stand in each other's place"},
      {"layer_order", "layers in the wrong order"},
      {"weight_scaled", "a tensor that is too large or too small by a factor"},
      {"weight_zero", "a tensor, or rows of it, that are zero"},
      {"weight_corrupt", "a tensor whose numbers are damaged"},
      {"weight_nonfinite", "NaN or infinity in a tensor"},
      {"head_mapping", "which K/V head a query head reads"},
      {"attention_scale", "what scores are multiplied by"},
      {"softcap", "the cap of scores or logits"},
      {"window", "the sliding window"},
      {"mask", "which keys a query sees"},
      {"sinks", "attention sinks"},
      {"activation", "the activation of the FFN"},
      {"sub_norm", "the norm before an output product (BitNet)"},
      {"gate_order", "which half of a gated product is the gate, and where it lies"},
      {"value_head_order", "which value head of a recurrent layer goes with which key head"},
      {"conv", "the short convolution of recurrent layers"},
      {"state", "the recurrent state"},
      {"router", "how experts are chosen and weighed"},
      {"expert_order", "which expert is which"},
      {"ternary_layout", "the order of a packed type's elements"},
      {"ternary_scale", "the scale or the values of ternary weights"},
      {"rotation", "matrices that are stored turned (Hadamard)"},
      {"embedding_scale", "what embeddings are multiplied by"},
      {"residual_scale", "what a layer's output is multiplied by"},
      {"logit_scale", "what logits are multiplied by"},
      {"tied_head", "whether the output matrix is the embedding"},
      {"bos", "the token at the beginning"},
      {"pre_tokenizer", "how text is cut before merging"},
      {"special_tokens", "the ids of special tokens"},
      {"template", "the chat template"},
      {"stop_ids", "the tokens that end a text"},
      {"kv_cache", "keys and values from earlier tokens"},
      {"sampler", "how a token is drawn from logits"},
      {"format_kernel", "the arithmetic of a format on this processor"},
  };
  return table;
}

}  // namespace rowmax::doctor
