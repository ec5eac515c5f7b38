#include "tools/make_model/synthetic/synthetic_model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/math/f64.h"
#include "engine/arch/architecture.h"
#include "engine/io/gguf_stream.h"
#include "engine/model/weight_table.h"
#include "rowmax/try.h"
#include "tools/make_model/synthetic/planned_tensor.h"
#include "tools/make_model/synthetic/random.h"
#include "tools/make_model/synthetic/vocabulary.h"

namespace rowmax::tools {
namespace {

using engine::GgufWriter;

// What distinguishes the files of one architecture from another's.
struct ArchRow {
  std::string_view name;
  std::string_view written = {};  // general.architecture, where that is another name
  const char* pre = nullptr;      // nullptr: a SentencePiece vocabulary
  std::int64_t layers = 2;
  std::int64_t head_dim = 0;  // 0: embd / heads
  std::int64_t window = 0;
  double rope_base = 1e4;
  double eps = 1e-6;
  bool rope_base_key = true;
  bool rope_dimension_key = false;
  bool head_length_keys = false;
  bool square_query = false;  // heads * head_dim = embd (llama.cpp refuses other qwen2 files)
  bool other_names = false;   // of tensors that have two (WeightInfo::other_name)
  bool post_norms = false;    // and so an embedding that is scaled
  bool soft_caps = false;
  bool experts = false, shared_expert = false;
  bool untied = false;      // the architecture has no other models
  bool gemma4 = false;      // heads of two sizes, shared keys and values, embeddings for each layer
  bool beside = false;      // experts beside the FFN; layers without a window have K for V
  bool latent = false;      // attention over latents, DeepSeek's experts
  bool hybrid = false;      // delta nets between the layers that attend
  bool short_conv = false;  // short convolutions between them
  bool long_rope = false;   // LongRoPE of three quarters of each head, from a 32nd of the context on
};

constexpr ArchRow kArchs[] = {
    {.name = "llama", .pre = "smollm", .eps = 1e-5, .rope_dimension_key = true},
    {.name = "qwen2", .pre = "qwen2", .rope_base = 1e6, .square_query = true},
    {.name = "qwen3", .pre = "qwen2", .head_dim = 32, .rope_base = 1e6, .head_length_keys = true},
    {.name = "qwen3moe", .pre = "qwen2", .head_dim = 32, .rope_base = 1e6, .head_length_keys = true, .experts = true},
    {.name = "qwen35",
     .pre = "qwen35",
     .layers = 4,
     .head_dim = 32,
     .rope_base = 1e7,
     .head_length_keys = true,
     .hybrid = true},
    {.name = "qwen35moe",
     .pre = "qwen35",
     .layers = 4,
     .head_dim = 32,
     .rope_base = 1e7,
     .head_length_keys = true,
     .experts = true,
     .shared_expert = true,
     .hybrid = true},
    {.name = "phi3", .pre = "gpt-4o", .eps = 1e-5, .long_rope = true},
    // Gemma 2 files carry no RoPE base: it is part of the architecture.
    {.name = "gemma2",
     .layers = 4,
     .head_dim = 32,
     .window = 64,
     .rope_base_key = false,
     .head_length_keys = true,
     .post_norms = true,
     .soft_caps = true},
    {.name = "gemma3",
     .layers = 7,
     .head_dim = 32,
     .window = 64,
     .rope_base = 1e6,
     .head_length_keys = true,
     .post_norms = true},
    {.name = "gemma4", .layers = 8, .head_dim = 32, .window = 64, .rope_base = 1e6, .post_norms = true, .gemma4 = true},
    {.name = "gemma4_moe",
     .written = "gemma4",
     .layers = 6,
     .head_dim = 32,
     .window = 64,
     .rope_base = 1e6,
     .post_norms = true,
     .experts = true,
     .gemma4 = true,
     .beside = true},
    {.name = "gpt-oss",
     .pre = "gpt-4o",
     .layers = 4,
     .head_dim = 32,
     .window = 64,
     .rope_base = 150000,
     .eps = 1e-5,
     .head_length_keys = true,
     .other_names = true,
     .experts = true,
     .untied = true},
    {.name = "lfm2",
     .pre = "lfm2",
     .layers = 4,
     .rope_base = 1e6,
     .eps = 1e-5,
     .square_query = true,
     .short_conv = true},
    {.name = "lfm2moe",
     .pre = "lfm2",
     .layers = 4,
     .rope_base = 1e6,
     .eps = 1e-5,
     .square_query = true,
     .experts = true,
     .short_conv = true},
    {.name = "deepseek2",
     .pre = "deepseek-v3",
     .layers = 3,
     .head_dim = 32,
     .rope_base = 1e6,
     .rope_dimension_key = true,
     .experts = true,
     .latent = true},
    {.name = "bitnet", .pre = "llama-bpe", .eps = 1e-5, .rope_dimension_key = true, .square_query = true},
    {.name = "bitnet-b1.58",
     .pre = "llama-bpe",
     .rope_base = 500000,
     .eps = 1e-5,
     .rope_dimension_key = true,
     .square_query = true},
};

const ArchRow* find_arch(std::string_view name) {
  const auto* row = std::ranges::find(kArchs, name, &ArchRow::name);
  return row == std::end(kArchs) ? nullptr : row;
}

Error invalid(std::string message) { return Error{ErrorCode::kInvalidArgument, std::move(message)}; }

std::int64_t least_vocabulary(const ArchRow& row) {
  return row.pre != nullptr ? byte_level_vocabulary_size() : sentence_piece_vocabulary_size();
}

Status check(const SyntheticSpec& spec, const ArchRow& row) {
  const std::pair<const char*, std::int64_t> sizes[] = {
      {"layers", spec.layers}, {"embd", spec.embd},   {"heads", spec.heads},     {"kv_heads", spec.kv_heads},
      {"ff", spec.ff},         {"vocab", spec.vocab}, {"context", spec.context}, {"head_dim", spec.head_dim}};
  for (const auto& [name, value] : sizes) {
    // The upper bound keeps every product of two sizes far inside 63 bits.
    if (value < 1 || value > (1 << 24)) {
      return invalid(std::string(name) + " is " + std::to_string(value) + ", expected 1 to 16777216");
    }
  }
  if (row.experts && !(spec.experts_used <= spec.experts && spec.expert_ff > 0 && spec.expert_ff <= 1 << 24)) {
    return invalid("experts_used must be at most experts, and expert_ff positive");
  }
  if (row.latent) {
    const std::pair<const char*, std::int64_t> parts[] = {
        {"kv_rank", spec.kv_rank}, {"rope_dim", spec.rope_dim}, {"value_dim", spec.value_dim}};
    for (const auto& [name, value] : parts) {
      if (value < 1 || value > 4096) return invalid(std::string(name) + " must be from 1 to 4096");
    }
    if (spec.rope_dim % 2 != 0 || spec.rope_dim >= spec.head_dim) {
      return invalid("rope_dim must be even and below head_dim");
    }
    if (spec.q_rank > 1 << 24) return invalid("q_rank must be at most 16777216");
    if (spec.dense_layers < 0 || spec.dense_layers > spec.layers) return invalid("dense_layers must be at most layers");
    const std::int64_t groups = spec.expert_groups;
    if (groups < 1 || spec.experts % groups != 0 || spec.experts_used > spec.experts / groups * ((groups + 1) / 2)) {
      return invalid("expert_groups must divide experts, and half of them hold experts_used");
    }
  }
  if (row.hybrid && spec.delta_value_heads % spec.delta_key_heads != 0) {
    return invalid("delta_value_heads must be a multiple of delta_key_heads");
  }
  if (row.short_conv && (spec.conv_width < 2 || spec.conv_width > 8 || spec.interval < 1)) {
    return invalid("conv_width must be 2 to 8, and interval positive");
  }
  if (spec.heads % spec.kv_heads != 0) return invalid("heads must be a multiple of kv_heads");
  if (row.beside && (spec.global_kv_heads < 1 || spec.heads % spec.global_kv_heads != 0)) {
    return invalid("heads must be a multiple of global_kv_heads");
  }
  if (spec.head_dim % 2 != 0) return invalid("head_dim must be even (RoPE turns pairs)");
  if (row.square_query && spec.heads * spec.head_dim != spec.embd) {
    return invalid("architecture " + spec.arch + " needs heads * head_dim = embd");
  }
  if (row.window == 0 && spec.window != 0) return invalid("architecture " + spec.arch + " has no window");
  if (spec.window < 0) return invalid("window must not be negative");
  if (spec.vocab < least_vocabulary(row)) {
    return invalid("vocab is " + std::to_string(spec.vocab) + ", the tokenizer of " + spec.arch + " needs at least " +
                   std::to_string(least_vocabulary(row)));
  }
  const bool numbers_ok =
      spec.rope_base > 0 && std::isfinite(spec.rope_base) && spec.eps > 0 && std::isfinite(spec.eps);
  if (!numbers_ok) return invalid("rope_base and eps must be positive");
  if (spec.yarn_factor != 0 && !(spec.yarn_factor > 1 && std::isfinite(spec.yarn_factor))) {
    return invalid("yarn_factor must be above 1");
  }
  if (spec.arch != "llama" && (spec.biases || spec.rope_factors)) {
    return invalid("biases and rope_factors are choices of architecture llama only");
  }
  return {};
}

// Gain of queries and keys: scores of a standard deviation of about 3, so that attention picks few keys. With flat
// attention all positions see the same average, and a greedy answer is one token repeated.
constexpr float kSharp = 1.75f;
// Logits of a standard deviation of about 2.
constexpr float kLogits = 2.0f;
// Gain of the norms behind a layer's parts, where there are any: the token's own embedding (of unit size in these
// architectures) must not outweigh them, or each answer repeats its last token.
constexpr float kPostNorm = 2.0f;

// A file before its tensors' bytes are made.
struct PlannedFile {
  GgufWriter keys;
  std::vector<PlannedTensor> tensors;
};

struct MatrixChoice {
  const engine::FormatInfo* type;
  Values values;
};

class Builder {
 public:
  Builder(const SyntheticSpec& spec, const ArchRow& row, MatrixChoice body, MatrixChoice head, MatrixChoice experts)
      : spec_(spec), row_(row), body_(body), head_(head), experts_(experts) {}

  Result<PlannedFile> build() {
    add_keys();
    ROWMAX_TRY(model, read_spec());
    if (row_.pre != nullptr) {
      add_byte_level_vocabulary(writer_, spec_.vocab, spec_.pre);
    } else {
      add_sentence_piece_vocabulary(writer_, spec_.vocab);
    }
    if (spec_.rope_factors) add_rope_factors();
    if (row_.gemma4) add_layer_embeddings();
    if (row_.long_rope) add_long_rope_factors();
    // Architectures with post norms multiply the embedding by sqrt(embd), so there the output norm takes the gain.
    const bool scaled = row_.post_norms;
    matrix("token_embd.weight", spec_.embd, spec_.vocab, scaled ? 1.0f : kLogits, head_);
    for (std::int64_t layer = 0; layer < spec_.layers; ++layer) add_layer(model, layer);
    norm(model.output_norm_name.empty() ? "output_norm.weight" : model.output_norm_name, spec_.embd,
         scaled ? kLogits : 1.0f);
    if (spec_.untied || row_.untied) matrix("output.weight", spec_.embd, spec_.vocab, scaled ? 1.0f : kLogits, head_);
    return PlannedFile{std::move(writer_), std::move(tensors_)};
  }

 private:
  std::string architecture() const { return std::string(row_.written.empty() ? row_.name : row_.written); }
  std::string key(std::string_view name) const;
  void count(std::string_view name, std::int64_t value);
  void add_keys();
  void add_gemma4_keys();
  // What the engine makes of the keys: which weights there are, and their shapes.
  Result<engine::ModelSpec> read_spec() const;
  void add_layer(const engine::ModelSpec& model, std::int64_t layer);
  void add_vector(const engine::WeightInfo& info, const std::string& name, std::int64_t size);
  void add_rope_factors();
  void add_layer_embeddings();
  std::int64_t long_rope_dimensions() const { return std::max<std::int64_t>(spec_.head_dim * 3 / 8, 1) * 2; }
  void add_long_rope_factors();
  void add_fused(const engine::ModelSpec& model, std::int64_t index, const engine::FusedWeights& fused);
  // columns: the fan-in. Elements of standard deviation gain/sqrt(columns).
  void matrix(const std::string& name, std::int64_t columns, std::int64_t rows, float gain, MatrixChoice choice);
  void matrix(const std::string& name, std::int64_t columns, std::int64_t rows, float gain = 1.0f) {
    matrix(name, columns, rows, gain, body_);
  }
  // All norms of a GGUF are plain factors (the converter has added Gemma's 1): gain, give or take a tenth.
  void norm(const std::string& name, std::int64_t size, float gain = 1.0f);
  void bias(const std::string& name, std::int64_t size);

  const SyntheticSpec& spec_;
  const ArchRow& row_;
  const MatrixChoice body_, head_, experts_;
  GgufWriter writer_;
  std::vector<PlannedTensor> tensors_;
};

std::string Builder::key(std::string_view name) const { return architecture() + "." + std::string(name); }
void Builder::count(std::string_view name, std::int64_t value) {
  writer_.set_uint32(key(name), static_cast<std::uint32_t>(value));
}

void Builder::add_keys() {
  writer_.set_string("general.architecture", architecture());
  // llama.cpp looks for tokens of Phi-3's in a file whose name has "phi3" in it, and fails without them.
  const std::string name = spec_.arch == "phi3" ? "phi" : spec_.arch;
  writer_.set_string("general.name", "synthetic " + name + ", random weights, seed " + std::to_string(spec_.seed));
  count("context_length", spec_.context);
  count("embedding_length", spec_.embd);
  count("block_count", spec_.layers);
  if ((!row_.experts || row_.short_conv || row_.latent || row_.beside) && !spec_.double_wide)
    count("feed_forward_length", spec_.ff);
  count("attention.head_count", spec_.heads);
  if (!row_.short_conv && !row_.beside) count("attention.head_count_kv", spec_.kv_heads);
  writer_.set_float32(key("attention.layer_norm_rms_epsilon"), static_cast<float>(spec_.eps));
  count("vocab_size", spec_.vocab);
  if (row_.rope_base_key || spec_.rope_base != row_.rope_base) {
    writer_.set_float32(key("rope.freq_base"), static_cast<float>(spec_.rope_base));
  }
  if (!row_.gemma4 && !row_.latent && (row_.head_length_keys || spec_.head_dim * spec_.heads != spec_.embd)) {
    count("attention.key_length", spec_.head_dim);
    count("attention.value_length", spec_.head_dim);
  }
  if (row_.rope_dimension_key) count("rope.dimension_count", row_.latent ? spec_.rope_dim : spec_.head_dim);
  if (row_.experts) {
    count("expert_count", spec_.experts);
    count("expert_used_count", spec_.experts_used);
    count("expert_feed_forward_length", spec_.expert_ff);
  }
  if (row_.short_conv) {
    std::vector<std::int32_t> kv_heads;
    for (std::int64_t layer = 0; layer < spec_.layers; ++layer) {
      const bool attends = spec_.attending.empty() ? (layer + 1) % spec_.interval == 0
                                                   : std::ranges::find(spec_.attending, layer) != spec_.attending.end();
      kv_heads.push_back(attends ? static_cast<std::int32_t>(spec_.kv_heads) : 0);
    }
    writer_.set_int32s(key("attention.head_count_kv"), kv_heads);
    count("shortconv.l_cache", spec_.conv_width);
  }
  if (row_.short_conv && row_.experts) {
    count("leading_dense_block_count", spec_.dense_layers);
    count("expert_gating_func", 2);
  }
  if (row_.latent) {
    count("attention.key_length", spec_.kv_rank + spec_.rope_dim);
    count("attention.value_length", spec_.kv_rank);
    count("attention.key_length_mla", spec_.head_dim);
    count("attention.value_length_mla", spec_.value_dim);
    count("attention.kv_lora_rank", spec_.kv_rank);
    if (spec_.q_rank > 0) count("attention.q_lora_rank", spec_.q_rank);
    count("leading_dense_block_count", spec_.dense_layers);
    count("expert_shared_count", 1);
    count("expert_gating_func", 2);
    count("expert_group_count", spec_.expert_groups);
    count("expert_group_used_count", (spec_.expert_groups + 1) / 2);
    writer_.set_float32(key("expert_weights_scale"), 1.75f);
    writer_.set_bool(key("expert_weights_norm"), true);
  }
  if (row_.shared_expert) count("expert_shared_feed_forward_length", spec_.shared_ff);
  if (row_.hybrid) {
    const auto n_pair = static_cast<std::int32_t>(spec_.head_dim / 8);
    count("rope.dimension_count", 2 * n_pair);
    // Other engines want to know whose pairs they would be in an image.
    writer_.set_int32s(key("rope.dimension_sections"), {(n_pair + 2) / 3, (n_pair + 1) / 3, n_pair / 3, 0});
    count("full_attention_interval", spec_.interval);
    count("ssm.conv_kernel", 4);
    count("ssm.state_size", spec_.delta_dim);
    count("ssm.group_count", spec_.delta_key_heads);
    count("ssm.time_step_rank", spec_.delta_value_heads);
    count("ssm.inner_size", spec_.delta_value_heads * spec_.delta_dim);
  }
  if (row_.gemma4) add_gemma4_keys();
  if (spec_.yarn_factor > 0) {
    writer_.set_string(key("rope.scaling.type"), "yarn");
    writer_.set_float32(key("rope.scaling.factor"), static_cast<float>(spec_.yarn_factor));
    count("rope.scaling.original_context_length",
          static_cast<std::int64_t>(static_cast<double>(spec_.context) / spec_.yarn_factor));
    if (row_.latent) writer_.set_float32(key("rope.scaling.yarn_log_multiplier"), 0.0707f);  // as DeepSeek V2 Lite
  }
  if (row_.long_rope) {
    count("rope.dimension_count", long_rope_dimensions());
    count("rope.scaling.original_context_length", std::max<std::int64_t>(spec_.context / 32, 2));
    writer_.set_float32(key("rope.scaling.attn_factor"), 1.1902381f);  // of 4096 made 131072
    count("attention.sliding_window", 0);
  }
  if (spec_.window > 0) count("attention.sliding_window", spec_.window);
  if (row_.soft_caps) {
    writer_.set_float32(key("attn_logit_softcapping"), 50.0f);
    writer_.set_float32(key("final_logit_softcapping"), 30.0f);
  }
}

void Builder::add_gemma4_keys() {
  const std::int64_t global = 2 * spec_.head_dim, first_shared = spec_.layers - spec_.shared_kv_layers;
  count("attention.key_length", global);
  count("attention.value_length", global);
  count("attention.key_length_swa", spec_.head_dim);
  count("attention.value_length_swa", spec_.head_dim);
  count("rope.dimension_count", global);
  count("rope.dimension_count_swa", spec_.head_dim);
  writer_.set_float32(key("rope.freq_base_swa"), 10000.0f);
  count("attention.shared_kv_layers", spec_.shared_kv_layers);
  count("embedding_length_per_layer_input", spec_.layer_embd);
  writer_.set_float32(key("final_logit_softcapping"), 30.0f);
  std::vector<bool> local;
  std::vector<std::int32_t> widths, kv_heads;
  for (std::int64_t layer = 1; layer <= spec_.layers; ++layer) {
    local.push_back(layer % spec_.interval != 0 && layer != spec_.layers);
    widths.push_back(static_cast<std::int32_t>(layer <= first_shared || !spec_.double_wide ? spec_.ff : 2 * spec_.ff));
  }
  writer_.set_bools(key("attention.sliding_window_pattern"), local);
  for (const bool windowed : local) {
    kv_heads.push_back(static_cast<std::int32_t>(windowed ? spec_.kv_heads : spec_.global_kv_heads));
  }
  if (row_.beside) writer_.set_int32s(key("attention.head_count_kv"), kv_heads);
  if (spec_.double_wide) writer_.set_int32s(key("feed_forward_length"), widths);
}

Result<engine::ModelSpec> Builder::read_spec() const {
  ROWMAX_TRY(bytes, writer_.bytes());
  ROWMAX_TRY(file, engine::GgufFile::parse(bytes, "keys"));
  engine::ModelSpec model;
  model.architecture = architecture();
  engine::KeyReader keys(file, {}, model.architecture);
  for (const engine::Architecture& row : engine::architectures()) {
    if (row.name == model.architecture) row.read(keys, model);
  }
  if (keys.failed()) return keys.take_error();
  model.for_layers([&](engine::LayerSpec& layer) {
    layer.product_norms = spec_.product_norms;
    if (row_.latent) layer.ffn.choice_bias = layer.ffn.kind == engine::FfnKind::kExperts;  // a tensor says it
    layer.attention.v_is_k = row_.beside && layer.attention.window == 0;
  });
  return model;
}

void Builder::add_layer(const engine::ModelSpec& model, std::int64_t index) {
  using engine::W;
  using engine::WeightKind;
  const engine::LayerSpec& layer = model.layers[static_cast<std::size_t>(index)];
  // Projections so small that converters leave them alone.
  const MatrixChoice plain{engine::find_format("F32"), Values::kNormal};
  for (const engine::WeightInfo& info : engine::weight_table()) {
    if (const engine::FusedWeights* fused = engine::fused_with(info.id, layer)) {
      if (info.id == fused->parts[0]) add_fused(model, index, *fused);
      continue;
    }
    const engine::Presence presence = info.presence(layer);
    const bool bias = info.name.ends_with(".bias");
    if (presence == engine::Presence::kNever) continue;
    if (presence == engine::Presence::kOptional && !(bias && spec_.biases)) continue;
    const engine::WeightShape shape = info.shape(model.shape, layer);
    // As their files have them.
    const bool other = (row_.hybrid || row_.other_names) && !info.other_name.empty();
    const std::string name = engine::WeightInfo::tensor(index, other ? info.other_name : info.name);
    const bool scores =
        info.id == W::kAttnQ || info.id == W::kAttnK || info.id == W::kLatentQB || info.id == W::kLatentK;
    const float gain = scores ? kSharp : 1.0f;
    switch (info.kind) {
      case WeightKind::kVector:
        add_vector(info, name, shape.cols * shape.rows);
        if (shape.rows > 1) tensors_.back().shape = {shape.cols, shape.rows};
        break;
      case WeightKind::kMatrix: matrix(name, shape.cols, shape.rows, gain, info.hadamard ? body_ : plain); break;
      case WeightKind::kTransposed: matrix(name, shape.cols, shape.rows, gain, plain); break;
      case WeightKind::kExperts:
      case WeightKind::kHeads:
        matrix(name, shape.cols, shape.rows * shape.n, gain, info.kind == WeightKind::kExperts ? experts_ : body_);
        tensors_.back().shape = {shape.cols, shape.rows, shape.n};
        break;
    }
  }
}

void Builder::add_fused(const engine::ModelSpec& model, std::int64_t index, const engine::FusedWeights& fused) {
  const engine::LayerSpec& layer = model.layers[static_cast<std::size_t>(index)];
  const engine::WeightShape shape = engine::fused_shape(fused, model.shape, layer);
  const bool experts = engine::weight_info(fused.parts[0]).kind == engine::WeightKind::kExperts;
  matrix(engine::WeightInfo::tensor(index, fused.name), shape.cols, shape.rows * shape.n,
         fused.parts[0] == engine::W::kAttnQ ? kSharp : 1.0f, experts ? experts_ : body_);
  if (experts) tensors_.back().shape = {shape.cols, shape.rows, shape.n};
}

void Builder::add_vector(const engine::WeightInfo& info, const std::string& name, std::int64_t size) {
  using engine::W;
  if (info.id == W::kDeltaDecay) {  // -e^x: heads that remember a few tokens and heads that remember hundreds
    std::vector<float> values = random_normal(spec_.seed, name, size);
    for (float& value : values) value = static_cast<float>(-base::exp_f64(1.5 * static_cast<double>(value) - 2));
    tensors_.push_back(plan_vector(name, std::move(values)));
  } else if (info.name.ends_with(".bias")) {
    bias(name, size);
  } else if (info.id == W::kAttnQNorm || info.id == W::kAttnKNorm) {
    norm(name, size, kSharp);
  } else if (info.id == W::kLayerOutputScale) {
    std::vector<float> values = random_normal(spec_.seed, name, size);
    for (float& value : values) value = 0.7f + 0.1f * value;
    tensors_.push_back(plan_vector(name, std::move(values)));
  } else if (info.id == W::kPostAttnNorm || info.id == W::kPostFfnNorm) {
    norm(name, size, kPostNorm);
  } else if (info.id == W::kRouterNorm) {  // or the router would hardly tell experts apart
    norm(name, size, std::sqrt(static_cast<float>(size)));
  } else {
    norm(name, size);
  }
}

// The divisors of Llama 3's RoPE frequencies: 1 for wave lengths that fit the original context four times, 8 for those
// that do not fit it once, a blend between.
void Builder::add_rope_factors() {
  constexpr double kFactor = 8, kLow = 1, kHigh = 4, kTwoPi = 6.283185307179586;
  const double original = static_cast<double>(spec_.context) / 4;
  std::vector<float> factors;
  for (std::int64_t i = 0; i < spec_.head_dim; i += 2) {
    const double exponent = static_cast<double>(i) / static_cast<double>(spec_.head_dim);
    const double wave_length = kTwoPi * base::pow_f64(spec_.rope_base, exponent);
    double factor = 1;
    if (wave_length > original / kLow) {
      factor = kFactor;
    } else if (wave_length >= original / kHigh) {
      const double smooth = (original / wave_length - kLow) / (kHigh - kLow);
      factor = 1 / ((1 - smooth) / kFactor + smooth);
    }
    factors.push_back(static_cast<float>(factor));
  }
  tensors_.push_back(plan_vector("rope_freqs.weight", std::move(factors)));
}

// What gemma4's tokens bring for each layer; and a quarter of each global head turns, the rest as good as not at all.
void Builder::add_layer_embeddings() {
  std::vector<float> factors(static_cast<std::size_t>(spec_.head_dim), 1e30f);
  std::fill_n(factors.begin(), factors.size() / 4, 1.0f);
  tensors_.push_back(plan_vector("rope_freqs.weight", std::move(factors)));
  if (spec_.layer_embd == 0) return;
  const std::int64_t all = spec_.layer_embd * spec_.layers;
  matrix("per_layer_token_embd.weight", all, spec_.vocab, std::sqrt(static_cast<float>(spec_.layers)), head_);
  matrix("per_layer_model_proj.weight", spec_.embd, all);
  norm("per_layer_proj_norm.weight", spec_.layer_embd);
}

// Divisors as those of Phi 4 mini are: the slower a pair, the more; 1 to 32 above the original context, below it 1 to 4.
void Builder::add_long_rope_factors() {
  const std::int64_t n_pair = long_rope_dimensions() / 2;
  for (const auto& [name, most] : {std::pair{"rope_factors_short.weight", 4.0}, {"rope_factors_long.weight", 32.0}}) {
    std::vector<float> factors;
    for (std::int64_t i = 0; i < n_pair; ++i) {
      factors.push_back(static_cast<float>(base::pow_f64(most, static_cast<double>(i) / static_cast<double>(n_pair))));
    }
    tensors_.push_back(plan_vector(name, std::move(factors)));
  }
}

void Builder::matrix(const std::string& name, std::int64_t columns, std::int64_t rows, float gain,
                     MatrixChoice choice) {
  const float deviation = gain / std::sqrt(static_cast<float>(columns));
  tensors_.push_back(plan_matrix(name, *choice.type, columns, rows, choice.values, deviation));
  tensors_.back().repeat = spec_.repeat;
}

void Builder::norm(const std::string& name, std::int64_t size, float gain) {
  std::vector<float> values = random_normal(spec_.seed, name, size);
  for (float& value : values) value = gain * (1.0f + 0.1f * value);
  tensors_.push_back(plan_vector(name, std::move(values)));
}

void Builder::bias(const std::string& name, std::int64_t size) {
  std::vector<float> values = random_normal(spec_.seed, name, size);
  for (float& value : values) value *= 0.5f;
  tensors_.push_back(plan_vector(name, std::move(values)));
}

Result<Values> find_values(const std::string& name) {
  if (name == "normal") return Values::kNormal;
  if (name == "ternary") return Values::kTernary;
  if (name == "binary") return Values::kBinary;
  return invalid("unknown values '" + name + "', expected normal, ternary or binary");
}

Result<PlannedFile> plan_file(const SyntheticSpec& partial) {
  ROWMAX_TRY(spec, with_defaults(partial));
  ROWMAX_TRY(type, find_matrix_type(spec.type));
  ROWMAX_TRY(values, find_values(spec.values));
  MatrixChoice head{type, values};
  if (!spec.head_type.empty()) {
    ROWMAX_TRY(head_type, find_matrix_type(spec.head_type));
    head = {head_type, Values::kNormal};
  }
  MatrixChoice experts{type, values};
  if (!spec.expert_type.empty()) {
    ROWMAX_TRY(expert_type, find_matrix_type(spec.expert_type));
    experts.type = expert_type;
  }
  return Builder(spec, *find_arch(spec.arch), {type, values}, head, experts).build();
}

}  // namespace

Result<SyntheticSpec> with_defaults(SyntheticSpec spec) {
  const ArchRow* row = find_arch(spec.arch);
  if (row == nullptr) {
    std::string known;
    for (const ArchRow& each : kArchs) known += (known.empty() ? "" : ", ") + std::string(each.name);
    return invalid("unknown architecture '" + spec.arch + "', expected one of " + known);
  }
  if (spec.layers == 0) spec.layers = row->layers;
  if (spec.head_dim == 0) spec.head_dim = row->head_dim;
  if (spec.head_dim == 0 && spec.heads > 0) spec.head_dim = spec.embd / spec.heads;
  const auto usual = [](bool applies, std::int64_t& field, std::int64_t value) {
    if (applies && field == 0) field = value;
  };
  usual(row->experts, spec.experts, 8);
  usual(row->experts, spec.experts_used, 2);
  usual(row->experts, spec.expert_ff, spec.ff / 2);
  usual(row->shared_expert, spec.shared_ff, spec.expert_ff);
  usual(row->latent, spec.kv_rank, 32);
  usual(row->latent, spec.q_rank, 24);
  usual(row->latent, spec.rope_dim, 8);
  usual(row->latent, spec.value_dim, 24);
  usual(row->latent, spec.dense_layers, 1);
  usual(row->latent, spec.expert_groups, 2);
  if (row->latent) spec.kv_heads = 1;
  usual(row->hybrid, spec.interval, 4);
  usual(row->gemma4 || row->short_conv, spec.interval, 3);
  usual(row->short_conv, spec.conv_width, 3);
  usual(row->short_conv && row->experts, spec.dense_layers, 1);
  usual(row->gemma4 && !row->beside, spec.layer_embd, 16);
  usual(row->gemma4 && !row->beside, spec.shared_kv_layers, 3);
  usual(row->beside, spec.global_kv_heads, std::max<std::int64_t>(spec.kv_heads / 2, 1));
  // Of each kind there is a layer before them.
  if (row->gemma4)
    spec.shared_kv_layers = std::clamp<std::int64_t>(spec.layers - spec.interval, 0, spec.shared_kv_layers);
  usual(row->hybrid, spec.delta_key_heads, 2);
  usual(row->hybrid, spec.delta_value_heads, 4);
  usual(row->hybrid, spec.delta_dim, 16);
  if (spec.window == 0) spec.window = row->window;
  if (spec.rope_base == 0) spec.rope_base = row->rope_base;
  if (spec.eps == 0) spec.eps = row->eps;
  if (spec.vocab == 0) spec.vocab = least_vocabulary(*row);
  if (spec.pre.empty() && row->pre != nullptr) spec.pre = row->pre;
  ROWMAX_RETURN_IF_ERROR(check(spec, *row));
  return spec;
}

SyntheticSpec odd_spec(std::string arch) {
  SyntheticSpec spec;
  const ArchRow* row = find_arch(arch);
  spec.arch = std::move(arch);
  spec.layers = 3;
  spec.embd = 96;
  spec.heads = 3;
  spec.kv_heads = 1;
  spec.head_dim = row != nullptr && row->square_query ? 32 : 40;
  spec.ff = 224;
  spec.vocab = 431;
  spec.context = 1000;
  if (row != nullptr && row->hybrid) {
    spec.layers = 5;
    spec.interval = 3;
    spec.delta_key_heads = 3;
    spec.delta_value_heads = 6;
    spec.delta_dim = 20;
  }
  if (row != nullptr && row->short_conv) {
    spec.layers = 5;
    spec.conv_width = 4;
  }
  if (row != nullptr && row->experts) {
    spec.experts = 7;
    spec.experts_used = 3;
    spec.expert_ff = 96;
  }
  if (row != nullptr && row->latent) {
    spec.kv_rank = 36;
    spec.q_rank = 28;
    spec.rope_dim = 12;
    spec.value_dim = 20;
    spec.experts = 9;
    spec.expert_groups = 3;
  }
  if (row != nullptr && row->window > 0) {
    spec.window = 37;
    spec.layers = 7;
  }
  if (row != nullptr && row->gemma4 && !row->beside) spec.double_wide = true;
  return spec;
}

const std::vector<std::string>& synthetic_architectures() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const ArchRow& row : kArchs) out.emplace_back(row.name);
    return out;
  }();
  return names;
}

Result<GgufWriter> make_synthetic_model(const SyntheticSpec& spec) {
  ROWMAX_TRY(file, plan_file(spec));
  for (const PlannedTensor& tensor : file.tensors) {
    std::vector<std::byte> bytes;
    const Sink append = [&](std::span<const std::byte> piece) -> Status {
      bytes.insert(bytes.end(), piece.begin(), piece.end());
      return {};
    };
    ROWMAX_RETURN_IF_ERROR(emit(tensor, spec.seed, append));
    file.keys.add_tensor(tensor.name, tensor.type->id, tensor.shape, std::move(bytes));
  }
  return std::move(file.keys);
}

Status write_synthetic_model(const SyntheticSpec& spec, const std::string& path) {
  ROWMAX_TRY(file, plan_file(spec));
  std::vector<engine::GgufTensorPlan> plans;
  for (const PlannedTensor& tensor : file.tensors) plans.push_back(file_plan(tensor));
  ROWMAX_TRY(stream, engine::GgufStream::create(path, file.keys, std::move(plans)));
  const Sink append = [&](std::span<const std::byte> piece) { return stream.append(piece); };
  for (const PlannedTensor& tensor : file.tensors) ROWMAX_RETURN_IF_ERROR(emit(tensor, spec.seed, append));
  return stream.commit();
}

Result<std::vector<std::byte>> synthetic_model_bytes(const SyntheticSpec& spec) {
  ROWMAX_TRY(writer, make_synthetic_model(spec));
  return writer.bytes();
}

}  // namespace rowmax::tools
