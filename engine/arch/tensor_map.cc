#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "engine/arch/architecture.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::uint32_t kF32 = 0;

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// Hands out the file's tensors, once each, and knows in the end which ones nobody wanted.
class Claims {
 public:
  explicit Claims(const GgufFile& file) : file_(file), claimed_(file.tensors().size(), false) {}

  // cols: the fast dimension. Vectors have rows == 0 and are f32.
  Status take(const std::string& name, std::int64_t cols, std::int64_t rows, bool required, WeightSource& source) {
    const GgufTensor* tensor = file_.find_tensor(name);
    if (tensor == nullptr) {
      if (!required) return {};
      return Error{ErrorCode::kCorrupt, file_.name() + ": tensor '" + name + "' is missing"};
    }
    std::vector<std::int64_t> expected{cols};
    if (rows > 0) expected.push_back(rows);
    std::vector<std::int64_t> found = tensor->shape;
    while (found.size() > expected.size() && found.back() == 1) found.pop_back();
    if (found != expected) {
      return Error{ErrorCode::kCorrupt, file_.name() + ": tensor '" + name + "': expected shape " +
                                            shape_text(expected) + ", found " + shape_text(tensor->shape)};
    }
    if (rows == 0 && tensor->type != kF32) {
      return Error{ErrorCode::kUnsupported, file_.name() + ": tensor '" + name + "': expected type F32, found type " +
                                                std::to_string(tensor->type)};
    }
    claimed_[static_cast<std::size_t>(tensor - file_.tensors().data())] = true;
    source = {tensor->name, tensor->format, rows > 0 ? rows : 1, cols, tensor->data};
    return {};
  }

  Status all_claimed() const {
    for (std::size_t i = 0; i < claimed_.size(); ++i) {
      if (claimed_[i]) continue;
      return Error{ErrorCode::kUnsupported,
                   file_.name() + ": tensor '" + std::string(file_.tensors()[i].name) +
                       "' is not used by this architecture; running without it would give wrong text"};
    }
    return {};
  }

 private:
  const GgufFile& file_;
  std::vector<bool> claimed_;
};

Status map_layer(Claims& claims, const ModelSpec& spec, std::int64_t index, LayerSources& layer) {
  const ModelShape& s = spec.shape;
  const std::string prefix = "blk." + std::to_string(index) + ".";
  const std::int64_t q = s.n_head * s.head_dim, kv = s.n_kv_head * s.head_dim;
  const bool bias = spec.qkv_bias_required;
  struct Row {
    const char* name;
    std::int64_t cols, rows;
    bool required;
    WeightSource* source;
  };
  std::vector<Row> rows = {
      {"attn_norm.weight", s.n_embd, 0, true, &layer.attn_norm},
      {"attn_q.weight", s.n_embd, q, true, &layer.attn_q},
      {"attn_k.weight", s.n_embd, kv, true, &layer.attn_k},
      {"attn_v.weight", s.n_embd, kv, true, &layer.attn_v},
      {"attn_output.weight", q, s.n_embd, true, &layer.attn_output},
      {"attn_q.bias", q, 0, bias, &layer.q_bias},
      {"attn_k.bias", kv, 0, bias, &layer.k_bias},
      {"attn_v.bias", kv, 0, bias, &layer.v_bias},
      {"attn_output.bias", s.n_embd, 0, false, &layer.output_bias},
      {"ffn_norm.weight", s.n_embd, 0, true, &layer.ffn_norm},
      {"ffn_gate.weight", s.n_embd, s.n_ff, true, &layer.ffn_gate},
      {"ffn_up.weight", s.n_embd, s.n_ff, true, &layer.ffn_up},
      {"ffn_down.weight", s.n_ff, s.n_embd, true, &layer.ffn_down},
  };
  if (spec.qk_norm) {
    rows.push_back({"attn_q_norm.weight", s.head_dim, 0, true, &layer.q_norm});
    rows.push_back({"attn_k_norm.weight", s.head_dim, 0, true, &layer.k_norm});
  }
  if (spec.sub_norms) {
    rows.push_back({"attn_sub_norm.weight", q, 0, true, &layer.attn_sub_norm});
    rows.push_back({"ffn_sub_norm.weight", s.n_ff, 0, true, &layer.ffn_sub_norm});
  }
  if (spec.matrix_scales) {
    const std::pair<const char*, WeightSource*> scales[] = {
        {"attn_q.scale", &layer.q_scale},      {"attn_k.scale", &layer.k_scale},
        {"attn_v.scale", &layer.v_scale},      {"attn_output.scale", &layer.output_scale},
        {"ffn_gate.scale", &layer.gate_scale}, {"ffn_up.scale", &layer.up_scale},
        {"ffn_down.scale", &layer.down_scale}};
    for (const auto& [name, source] : scales) rows.push_back({name, 1, 0, false, source});
  }
  if (spec.post_norms) {
    rows.push_back({"post_attention_norm.weight", s.n_embd, 0, true, &layer.post_attn_norm});
    rows.push_back({"post_ffw_norm.weight", s.n_embd, 0, true, &layer.post_ffn_norm});
  }
  for (const Row& row : rows) {
    ROWMAX_RETURN_IF_ERROR(claims.take(prefix + row.name, row.cols, row.rows, row.required, *row.source));
  }
  return {};
}

// llama3 frequency factors: n_rot / 2 divisors for every RoPE of the model.
Status take_rope_factors(const GgufFile& file, Claims& claims, ModelSpec& spec, std::vector<ModelFact>& facts) {
  WeightSource source;
  ROWMAX_RETURN_IF_ERROR(claims.take("rope_freqs.weight", spec.ropes[0].n_rot / 2, 0, false, source));
  if (!source.present()) return {};
  std::vector<float> divisors(static_cast<std::size_t>(source.cols));
  std::memcpy(divisors.data(), source.bytes.data(), divisors.size() * sizeof(float));
  for (float divisor : divisors) {
    if (!(divisor > 0) || !std::isfinite(divisor)) {
      return Error{ErrorCode::kCorrupt, file.name() +
                                            ": tensor 'rope_freqs.weight': expected finite factors above 0, found " +
                                            std::to_string(divisor)};
    }
  }
  for (RopeSpec& rope : spec.ropes) rope.divisors = divisors;
  facts.push_back({"rope_frequency_factors", std::to_string(divisors.size()) + " factors", "tensor rope_freqs.weight"});
  return {};
}

Status check_vocabulary(const GgufFile& file, std::int64_t rows) {
  if (file.find("tokenizer.ggml.tokens") == nullptr) return {};  // the tokenizer will refuse by itself
  ROWMAX_TRY(tokens, file.get_array("tokenizer.ggml.tokens", GgufType::kString));
  if (static_cast<std::int64_t>(tokens->size) == rows) return {};
  return Error{ErrorCode::kCorrupt, file.name() + ": tensor 'token_embd.weight' has " + std::to_string(rows) +
                                        " rows, but key 'tokenizer.ggml.tokens' lists " + std::to_string(tokens->size) +
                                        " tokens"};
}

}  // namespace

Status map_tensors(const GgufFile& file, ModelSpec& spec, WeightSources& sources, std::vector<ModelFact>& facts) {
  Claims claims(file);
  const GgufTensor* embedding = file.find_tensor("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() < 2) {
    return Error{ErrorCode::kCorrupt, file.name() + ": tensor 'token_embd.weight' is missing or not a matrix"};
  }
  spec.shape.n_vocab = embedding->shape[1];
  const ModelShape& s = spec.shape;
  ROWMAX_RETURN_IF_ERROR(claims.take("token_embd.weight", s.n_embd, s.n_vocab, true, sources.token_embedding));
  ROWMAX_RETURN_IF_ERROR(check_vocabulary(file, s.n_vocab));
  ROWMAX_RETURN_IF_ERROR(claims.take("output_norm.weight", s.n_embd, 0, true, sources.output_norm));
  ROWMAX_RETURN_IF_ERROR(claims.take("output.weight", s.n_embd, s.n_vocab, false, sources.output));
  sources.tied = !sources.output.present();
  if (sources.tied) sources.output = sources.token_embedding;
  facts.push_back({"output_head", sources.tied ? "tied to token_embd.weight" : "output.weight",
                   sources.tied ? "no tensor output.weight" : "tensor output.weight"});
  sources.layers.resize(static_cast<std::size_t>(s.n_layer));
  for (std::int64_t i = 0; i < s.n_layer; ++i) {
    ROWMAX_RETURN_IF_ERROR(map_layer(claims, spec, i, sources.layers[static_cast<std::size_t>(i)]));
  }
  ROWMAX_RETURN_IF_ERROR(take_rope_factors(file, claims, spec, facts));
  return claims.all_claimed();
}

}  // namespace rowmax::engine
