#include <algorithm>
#include <charconv>
#include <cmath>
#include <initializer_list>
#include <string>
#include <vector>

#include "engine/arch/architecture.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// "a = 1 (key x.a), b = 2 (default)": the facts of that name that the model has, with their sources, or only the first.
std::string stated(const std::vector<ModelFact>& facts, FactNames names, bool first_alone) {
  std::string text;
  while (!names.empty()) {
    const std::string_view name = names.substr(0, names.find(' '));
    names.remove_prefix(std::min(names.size(), name.size() + 1));
    const auto fact = std::ranges::find(facts.rbegin(), facts.rend(), name, &ModelFact::name);
    if (fact == facts.rend()) continue;
    text += (text.empty() ? "" : ", ") + fact->name + " = " + fact->value + " (" + fact->source + ")";
    if (first_alone) break;
  }
  return text;
}

// Hands out the file's tensors, once each, and knows in the end which ones nobody wanted.
class Claims {
 public:
  // facts: what errors name where a tensor is not as the file's keys say.
  Claims(const GgufFile& file, const std::vector<ModelFact>& facts)
      : file_(file), facts_(facts), claimed_(file.tensors().size(), false) {}

  // A vector (any shape of f32) or matrices. needed: what decides that it is there.
  Status take(const std::string& name, const WeightShape& shape, bool matrix, bool required, WeightSource& source,
              FactNames needed = {}) {
    const GgufTensor* tensor = file_.find_tensor(name);
    if (tensor == nullptr) {
      return required ? Status(missing(name, needed)) : Status();
    }
    std::vector<std::int64_t> expected{shape.cols, shape.rows, shape.n};
    const auto same = [&](std::vector<std::int64_t> found) {
      std::vector<std::int64_t> wanted = expected;
      while (wanted.size() > 1 && wanted.back() == 1) wanted.pop_back();
      while (found.size() > wanted.size() && found.back() == 1) found.pop_back();
      return found == wanted;
    };
    if (!same(tensor->shape)) {
      while (expected.size() > 1 && expected.back() == 1) expected.pop_back();
      return Error{ErrorCode::kCorrupt, file_.name() + ": tensor '" + name + "': expected shape " +
                                            shape_text(expected) + ", found " + shape_text(tensor->shape) +
                                            reasons(shape, expected, tensor->shape)};
    }
    if (!matrix && tensor->format->block_elements != 1) {
      return unsupported(name, "expected type F32, F16 or BF16, found type " + std::to_string(tensor->type));
    }
    if (shape.n > 1 && (tensor->format->tail_bytes > 0 || shape.rows % tensor->format->row_group != 0)) {
      return unsupported(name, std::string(tensor->format->name) +
                                   " has one scale for the whole tensor or rows in groups across experts");
    }
    claimed_[static_cast<std::size_t>(tensor - file_.tensors().data())] = true;
    source = {tensor->name, tensor->format, shape.rows, shape.cols, shape.n, tensor->data};
    return {};
  }

  // Matrices for each head, as take(), or in one with all their rows, as some converters write them.
  Status take_heads(const std::string& name, const WeightShape& shape, WeightSource& source, FactNames needed) {
    const GgufTensor* tensor = file_.find_tensor(name);
    if (tensor == nullptr || tensor->shape.size() != 2) return take(name, shape, true, true, source, needed);
    ROWMAX_RETURN_IF_ERROR(
        take(name, {shape.cols, shape.rows * shape.n, 1, {shape.facts[0], shape.facts[1]}}, true, true, source));
    if (source.format->tail_bytes > 0 || shape.rows % source.format->row_group != 0) {
      return unsupported(name, std::string(source.format->name) +
                                   " has one scale for the whole tensor or rows in groups across heads");
    }
    source.rows = shape.rows;
    source.n = shape.n;
    return {};
  }

  Error missing(const std::string& name, FactNames needed = {}) const {
    std::string text = file_.name() + ": tensor '" + name + "' is missing";
    const std::string layer = name.substr(0, name.find('.', std::string_view("blk.").size()) + 1);
    const bool none = name.starts_with("blk.") && std::ranges::none_of(file_.tensors(), [&](const GgufTensor& tensor) {
                        return tensor.name.starts_with(layer);
                      });
    const std::string why = stated(facts_, none ? "block_count" : needed, true);
    if (!why.empty()) text += (none ? ", as all of its layer; it is expected by " : "; it is expected by ") + why;
    return {ErrorCode::kCorrupt, std::move(text)};
  }
  Error unsupported(const std::string& name, const std::string& why) const {
    return {ErrorCode::kUnsupported, file_.name() + ": tensor '" + name + "': " + why};
  }
  bool has(const std::string& name) const { return file_.find_tensor(name) != nullptr; }
  // Known tensors that nothing uses: all whose names begin so. How many.
  std::int64_t pass_over(std::string_view prefix) {
    std::int64_t n = 0;
    for (std::size_t i = 0; i < claimed_.size(); ++i) {
      if (!file_.tensors()[i].name.starts_with(prefix)) continue;
      claimed_[i] = true;
      ++n;
    }
    n_passed_over_ += n;
    return n;
  }
  std::int64_t n_passed_over() const { return n_passed_over_; }

  Status all_claimed(const ModelSpec& spec) const {
    for (std::size_t i = 0; i < claimed_.size(); ++i) {
      if (claimed_[i]) continue;
      const std::string_view name = file_.tensors()[i].name;
      const std::string why = stated(facts_, unused_by(name, spec), true);
      return Error{ErrorCode::kUnsupported, file_.name() + ": tensor '" + std::string(name) + "' is not used by " +
                                                (why.empty() ? "this architecture" : "a model with " + why) +
                                                "; running without it would give wrong text"};
    }
    return {};
  }

 private:
  // "; 96 follows from expert_shared_count = 2 (key ...)" of each length that is not as expected.
  std::string reasons(const WeightShape& shape, const std::vector<std::int64_t>& expected,
                      const std::vector<std::int64_t>& found) const {
    std::string text;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (i < found.size() && found[i] == expected[i]) continue;
      const std::string why = stated(facts_, shape.facts[i], false);
      if (!why.empty()) text += "; " + std::to_string(expected[i]) + " follows from " + why;
    }
    return text;
  }
  // What decides that a tensor nobody wanted is not there; empty: the architecture.
  static FactNames unused_by(std::string_view name, const ModelSpec& spec) {
    const WeightInfo* info = find_layer_weight(name);
    if (info == nullptr) return name.starts_with("per_layer_") ? "layer_embedding_length" : FactNames();
    std::int64_t layer = std::ssize(spec.layers);
    const std::string_view number = name.substr(std::string_view("blk.").size());
    std::from_chars(number.data(), number.data() + number.find('.'), layer);
    if (layer >= std::ssize(spec.layers)) return "block_count";
    const bool wanted = info->presence(spec.layers[static_cast<std::size_t>(layer)]) != Presence::kNever;
    return wanted ? FactNames() : info->presence.facts;
  }

  const GgufFile& file_;
  const std::vector<ModelFact>& facts_;
  std::vector<bool> claimed_;
  std::int64_t n_passed_over_ = 0;
};

// The parts of a tensor that holds several weights; none where the file has them apart.
Status map_fused(Claims& claims, const ModelSpec& spec, std::int64_t index, const FusedWeights& fused,
                 LayerSources& sources) {
  const LayerSpec& layer = spec.layers[static_cast<std::size_t>(index)];
  const std::string name = WeightInfo::tensor(index, fused.name);
  if (!claims.has(name) || claims.has(weight_info(fused.parts[0]).tensor(index))) return {};
  WeightSource whole;
  ROWMAX_RETURN_IF_ERROR(claims.take(name, fused_shape(fused, spec.shape, layer), true, true, whole));
  std::size_t begin = 0;
  for (const W id : fused.parts) {
    const WeightShape shape = weight_info(id).shape(spec.shape, layer);
    if (whole.format->tail_bytes > 0 || shape.rows % whole.format->row_group != 0) {
      return claims.unsupported(name, std::string(whole.format->name) +
                                          " has one scale for the whole tensor or rows in groups across its parts");
    }
    const auto n = static_cast<std::size_t>(shape.rows * format_row_bytes(*whole.format, shape.cols));
    const std::size_t stride = whole.bytes.size() / static_cast<std::size_t>(whole.n);
    sources[id] = whole;
    sources[id].rows = shape.rows;
    sources[id].stride = whole.n > 1 ? stride : 0;
    sources[id].bytes = whole.bytes.subspan(begin, static_cast<std::size_t>(whole.n - 1) * stride + n);
    begin += n;
  }
  return {};
}

constexpr std::string_view kLatentTogether = "attn_kv_b.weight";

// Older files of latent attention have both matrices of all heads in one tensor: of each head the columns of k's, then the
// rows of v's.
Status map_latent(Claims& claims, const ModelSpec& spec, std::int64_t index, LayerSources& sources) {
  const LayerSpec& layer = spec.layers[static_cast<std::size_t>(index)];
  const std::string name = WeightInfo::tensor(index, kLatentTogether);
  if (layer.mixer != MixerKind::kLatent || !claims.has(name)) return {};
  if (claims.has(weight_info(W::kLatentK).tensor(index))) return {};
  const WeightShape k = weight_info(W::kLatentK).shape(spec.shape, layer),
                    v = weight_info(W::kLatentV).shape(spec.shape, layer);
  WeightSource whole;
  constexpr FactNames kRows = "head_count head_dim rope_dimensions value_head_dim";
  ROWMAX_RETURN_IF_ERROR(
      claims.take(name, {v.cols, k.n * (k.cols + v.rows), 1, {v.facts[0], kRows}}, true, true, whole));
  if (whole.format->tail_bytes > 0 || whole.format->row_group > 1) {
    return claims.unsupported(name, std::string(whole.format->name) +
                                        " has one scale for the whole tensor or rows in groups across its parts");
  }
  whole.n = k.n;
  WeightSource &keys = sources[W::kLatentK] = whole, &values = sources[W::kLatentV] = whole;
  keys.rows = k.rows;
  keys.cols = k.cols;
  keys.columns = true;
  values.rows = v.rows;
  values.cols = v.cols;
  values.first_row = k.cols;
  return {};
}

// Whether a layer has a weight of its own by that name, for which it then stands.
bool is_own_name(const LayerSpec& layer, std::string_view name) {
  return std::ranges::any_of(weight_table(), [&](const WeightInfo& info) {
    return info.name == name && info.presence(layer) != Presence::kNever;
  });
}

Status map_layer(Claims& claims, const ModelSpec& spec, std::int64_t index, LayerSources& sources) {
  const LayerSpec& layer = spec.layers[static_cast<std::size_t>(index)];
  for (const FusedWeights& fused : fused_weights()) {
    if (fused.read(layer)) ROWMAX_RETURN_IF_ERROR(map_fused(claims, spec, index, fused, sources));
  }
  ROWMAX_RETURN_IF_ERROR(map_latent(claims, spec, index, sources));
  for (const WeightInfo& info : weight_table()) {
    const Presence presence = info.presence(layer);
    if (presence == Presence::kNever || sources[info.id].present()) continue;
    std::string name = info.tensor(index);
    if (!info.other_name.empty() && !claims.has(name) && !is_own_name(layer, info.other_name)) {
      const std::string other = WeightInfo::tensor(index, info.other_name);
      if (!claims.has(other) && presence == Presence::kRequired) {
        return claims.missing(name + "' or '" + other, info.presence.facts);
      }
      if (claims.has(other)) name = other;
    }
    const WeightShape shape = info.shape(spec.shape, layer);
    for (const FusedWeights& fused : fused_weights()) {
      if (!fused.read(layer) || fused.parts[0] != info.id || claims.has(name)) continue;
      return claims.missing(name + "' or '" + WeightInfo::tensor(index, fused.name), info.presence.facts);
    }
    ROWMAX_RETURN_IF_ERROR(info.kind == WeightKind::kHeads
                               ? claims.take_heads(name, shape, sources[info.id], info.presence.facts)
                               : claims.take(name, shape, is_matrix(info.kind), presence == Presence::kRequired,
                                             sources[info.id], info.presence.facts));
  }
  return {};
}

// What converters leave of layers that read the keys and values of others.
void pass_over_kv(Claims& claims, const ModelSpec& spec, std::vector<ModelFact>& facts) {
  std::int64_t n = 0, n_layer = 0;
  for (std::int64_t i = 0; i < spec.shape.n_layer; ++i) {
    const LayerSpec& layer = spec.layers[static_cast<std::size_t>(i)];
    if (layer.mixer != MixerKind::kAttention || layer.attention.has_kv()) continue;
    const std::int64_t before = n;
    for (const W id : {W::kAttnK, W::kAttnV, W::kAttnKNorm}) n += claims.pass_over(weight_info(id).tensor(i));
    n_layer += n > before ? 1 : 0;
  }
  if (n == 0) return;
  facts.push_back({"shared_kv", std::to_string(n) + " tensors, not used",
                   "attn_k, attn_v and attn_k_norm of the last " + std::to_string(n_layer) + " layers that have them"});
}

// Biases that may be there are there in every layer, or in none.
Status check_biases(const Claims& claims, const ModelSpec& spec, const std::vector<LayerSources>& sources) {
  for (const WeightInfo& info : weight_table()) {
    std::int64_t with = -1, without = -1;
    for (std::size_t i = sources.size(); i-- > 0;) {
      if (info.presence(spec.layers[i]) != Presence::kOptional || !info.name.ends_with(".bias")) continue;
      (sources[i][info.id].present() ? with : without) = static_cast<std::int64_t>(i);
    }
    if (with < 0 || without < 0) continue;
    Error error = claims.missing(info.tensor(without));
    error.message += ", while '" + info.tensor(with) + "' is there: expected it in all layers or in none";
    return error;
  }
  return {};
}

// n_rot / 2 divisors for every RoPE of the model; none where they are not required and the tensor is not there.
Result<std::vector<float>> take_divisors(const GgufFile& file, Claims& claims, const ModelSpec& spec, const char* name,
                                         bool required) {
  WeightSource source;
  ROWMAX_RETURN_IF_ERROR(
      claims.take(name, {spec.ropes[0].n_rot / 2, 1, 1, {"rope_dimensions"}}, false, required, source));
  std::vector<float> divisors(static_cast<std::size_t>(source.cols));
  if (source.present()) decode_row(*source.format, source.bytes, 0, source.cols, divisors.data());
  for (float divisor : divisors) {
    if (!(divisor > 0) || !std::isfinite(divisor)) {
      return Error{ErrorCode::kCorrupt, file.name() + ": tensor '" + name +
                                            "': expected finite factors above 0, found " + std::to_string(divisor)};
    }
  }
  return divisors;
}

// Those of llama3, or the two sets of LongRoPE.
Status take_rope_factors(const GgufFile& file, Claims& claims, ModelSpec& spec, std::vector<ModelFact>& facts) {
  if (spec.ropes[0].long_rope) {
    ROWMAX_TRY(short_ones, take_divisors(file, claims, spec, "rope_factors_short.weight", true));
    ROWMAX_TRY(long_ones, take_divisors(file, claims, spec, "rope_factors_long.weight", true));
    for (RopeSpec& rope : spec.ropes) {
      if (!rope.long_rope) continue;
      rope.divisors = short_ones;
      rope.long_rope->long_divisors = long_ones;
    }
    const std::string context = std::to_string(spec.ropes[0].long_rope->original_context);
    facts.push_back({"rope_frequency_factors", std::to_string(short_ones.size()) + " factors, two sets",
                     "tensors rope_factors_short.weight, rope_factors_long.weight"});
    const std::string key = spec.architecture + ".rope.scaling.original_context_length";
    facts.push_back({"rope_factors_in_use", "short up to a context (--ctx) of " + context + ", long above",
                     file.find(key) != nullptr ? "key " + key : "default: context_length"});
    return {};
  }
  const bool required =
      std::ranges::any_of(spec.ropes, [](const RopeSpec& rope) { return rope.factors == RopeFactors::kRequired; });
  ROWMAX_TRY(divisors, take_divisors(file, claims, spec, "rope_freqs.weight", required));
  if (divisors.empty()) return {};
  for (RopeSpec& rope : spec.ropes) {
    if (rope.factors != RopeFactors::kNever) rope.divisors = divisors;
  }
  facts.push_back({"rope_frequency_factors", std::to_string(divisors.size()) + " factors", "tensor rope_freqs.weight"});
  return {};
}

constexpr const char* kLabelsTensor = "cls.output.weight";
constexpr std::int64_t kMostLabels = 1024;

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
  constexpr FactNames kEmbd = "embedding_length", kLayerEmbd = "layer_embedding_length";
  Claims claims(file, facts);
  const GgufTensor* embedding = file.find_tensor("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() < 2) {
    return Error{ErrorCode::kCorrupt, file.name() + ": tensor 'token_embd.weight' is missing or not a matrix"};
  }
  spec.shape.n_vocab = embedding->shape[1];
  const ModelShape& s = spec.shape;
  ROWMAX_RETURN_IF_ERROR(
      claims.take("token_embd.weight", {s.n_embd, s.n_vocab, 1, {kEmbd}}, true, true, sources.token_embedding));
  ROWMAX_RETURN_IF_ERROR(check_vocabulary(file, s.n_vocab));
  std::string norm = "output_norm.weight";
  if (!spec.output_norm_name.empty() && !claims.has(norm)) {
    if (!claims.has(spec.output_norm_name)) return claims.missing(spec.output_norm_name + "' or '" + norm);
    norm = spec.output_norm_name;
  }
  ROWMAX_RETURN_IF_ERROR(claims.take(norm, {s.n_embd, 1, 1, {kEmbd}}, false, true, sources.output_norm));
  if (!spec.may_tie && !claims.has("output.weight")) {
    Error error = claims.missing("output.weight");
    error.message += "; models of architecture " + spec.architecture + " have a head of their own";
    return error;
  }
  ROWMAX_RETURN_IF_ERROR(claims.take("output.weight", {s.n_embd, s.n_vocab, 1, {kEmbd}}, true, false, sources.output));
  sources.tied = !sources.output.present();
  if (sources.tied) sources.output = sources.token_embedding;
  sources.qk_rows = spec.ropes[0].pairing;
  facts.push_back({"output_head", sources.tied ? "tied to token_embd.weight" : "output.weight",
                   sources.tied ? "no tensor output.weight" : "tensor output.weight"});
  if (const GgufTensor* labels = file.find_tensor(kLabelsTensor); spec.may_rank && labels != nullptr) {
    const std::int64_t n = labels->shape.size() > 1 ? labels->shape[1] : 1;
    if (n > kMostLabels) {
      return claims.unsupported(
          kLabelsTensor, "expected at most " + std::to_string(kMostLabels) + " labels, found " + std::to_string(n));
    }
    ROWMAX_RETURN_IF_ERROR(claims.take(kLabelsTensor, {s.n_embd, n, 1, {kEmbd}}, true, true, sources.labels));
    facts.push_back({"labels_of_texts", std::to_string(n), "tensor " + std::string(kLabelsTensor)});
  }
  if (const std::int64_t n = spec.layer_embd(); n > 0) {
    const std::int64_t all = n * s.n_layer;
    constexpr FactNames kAll = "layer_embedding_length block_count";
    ROWMAX_RETURN_IF_ERROR(claims.take("per_layer_token_embd.weight", {all, s.n_vocab, 1, {kAll}}, true, true,
                                       sources.layer_embedding, kLayerEmbd));
    ROWMAX_RETURN_IF_ERROR(claims.take("per_layer_model_proj.weight", {s.n_embd, all, 1, {kEmbd, kAll}}, true, true,
                                       sources.layer_projection, kLayerEmbd));
    ROWMAX_RETURN_IF_ERROR(claims.take("per_layer_proj_norm.weight", {n, 1, 1, {kLayerEmbd}}, false, true,
                                       sources.layer_projection_norm, kLayerEmbd));
  }
  sources.layers.resize(static_cast<std::size_t>(s.n_layer));
  std::int64_t n_doubled = 0;
  pass_over_kv(claims, spec, facts);
  for (std::int64_t i = 0; i < s.n_layer; ++i) {
    if (spec.layers[static_cast<std::size_t>(i)].mixer == MixerKind::kLatent &&
        claims.has(weight_info(W::kLatentK).tensor(i))) {
      n_doubled += claims.pass_over(WeightInfo::tensor(i, kLatentTogether));
    }
    LayerSources& layer = sources.layers[static_cast<std::size_t>(i)];
    ROWMAX_RETURN_IF_ERROR(map_layer(claims, spec, i, layer));
    spec.layers[static_cast<std::size_t>(i)].attention.biases =
        std::ranges::any_of(std::initializer_list<W>{W::kAttnQBias, W::kAttnKBias, W::kAttnVBias, W::kAttnOutputBias},
                            [&](W id) { return layer[id].present(); });
  }
  if (n_doubled > 0) {
    facts.push_back({"latent_together", std::to_string(n_doubled) + " tensors, not used: those apart hold the same",
                     "blk.*." + std::string(kLatentTogether)});
  }
  ROWMAX_RETURN_IF_ERROR(check_biases(claims, spec, sources.layers));
  for (std::int64_t i = s.n_layer; i < s.n_layer + spec.n_draft_layer; ++i) {
    const std::string needed = "blk." + std::to_string(i) + ".nextn.eh_proj.weight";
    if (!claims.has(needed)) {
      return Error{ErrorCode::kCorrupt, file.name() + ": key '" + spec.architecture +
                                            ".nextn_predict_layers' = " + std::to_string(spec.n_draft_layer) +
                                            " (of block_count " + std::to_string(s.n_layer + spec.n_draft_layer) +
                                            ") says that block " + std::to_string(i) +
                                            " guesses tokens ahead, but tensor '" + needed + "' is missing"};
    }
    const std::int64_t n = claims.pass_over("blk." + std::to_string(i) + ".");
    facts.push_back({"draft_layer", std::to_string(n) + " tensors, not used", "blk." + std::to_string(i) + ".*"});
  }
  ROWMAX_RETURN_IF_ERROR(take_rope_factors(file, claims, spec, facts));
  sources.n_passed_over = claims.n_passed_over();
  return claims.all_claimed(spec);
}

}  // namespace rowmax::engine
