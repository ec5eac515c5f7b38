#include "engine/convert/hf_tensors.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "base/fp_env.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

enum class For { kAll, kPlain, kGemma, kTernary };
enum Flags : unsigned { kNone = 0, kNeeded = 1, kMatrix = 2, kQuery = 4, kKey = 8, kNorm = 16 };

// A module of a layer: its name in transformers and in GGUF.
struct Module {
  std::string_view hf, gguf;
  For used_by;
  unsigned flags;
};
constexpr Module kLayerModules[] = {
    {"input_layernorm", "attn_norm", For::kAll, kNeeded | kNorm},
    {"self_attn.q_proj", "attn_q", For::kAll, kNeeded | kMatrix | kQuery},
    {"self_attn.k_proj", "attn_k", For::kAll, kNeeded | kMatrix | kKey},
    {"self_attn.v_proj", "attn_v", For::kAll, kNeeded | kMatrix},
    {"self_attn.q_norm", "attn_q_norm", For::kAll, kNorm},
    {"self_attn.k_norm", "attn_k_norm", For::kAll, kNorm},
    {"self_attn.attn_sub_norm", "attn_sub_norm", For::kTernary, kNorm},
    {"self_attn.inner_attn_ln", "attn_sub_norm", For::kTernary, kNorm},
    {"self_attn.o_proj", "attn_output", For::kAll, kNeeded | kMatrix},
    {"post_attention_layernorm", "ffn_norm", For::kPlain, kNeeded | kNorm},
    {"post_attention_layernorm", "post_attention_norm", For::kGemma, kNeeded | kNorm},
    {"pre_feedforward_layernorm", "ffn_norm", For::kGemma, kNeeded | kNorm},
    {"post_feedforward_layernorm", "post_ffw_norm", For::kGemma, kNeeded | kNorm},
    {"mlp.gate_proj", "ffn_gate", For::kAll, kNeeded | kMatrix},
    {"mlp.up_proj", "ffn_up", For::kAll, kNeeded | kMatrix},
    {"mlp.ffn_sub_norm", "ffn_sub_norm", For::kTernary, kNorm},
    {"mlp.ffn_layernorm", "ffn_sub_norm", For::kTernary, kNorm},
    {"mlp.down_proj", "ffn_down", For::kAll, kNeeded | kMatrix},
};

bool applies(const Module& module, const HfArchitecture& arch) {
  switch (module.used_by) {
    case For::kAll: return true;
    case For::kPlain: return !arch.gemma;
    case For::kGemma: return arch.gemma;
    case For::kTernary: return arch.ternary;
  }
  return false;
}

// Where a tensor goes.
struct Target {
  std::string name;
  unsigned flags = kNone;
  std::tuple<int, std::int64_t, int> order{};  // before, in (which layer, which module) or behind the layers
  bool bias = false;
};

const FormatInfo* float_format(std::string_view dtype) {
  return dtype == "F32" || dtype == "F16" || dtype == "BF16" ? find_format(dtype) : nullptr;
}

class Mapper {
 public:
  Mapper(const Checkpoint& checkpoint, const HfModel& model, Executor& executor)
      : checkpoint_(checkpoint), model_(model), executor_(executor) {}

  Result<HfTensors> run() {
    for (const auto& [name, found] : checkpoint_.tensors()) ROWMAX_RETURN_IF_ERROR(map(std::string(name), found));
    for (const auto& [name, found] : checkpoint_.tensors()) {
      if (!name.ends_with(".weight_scale") || scales_used_.contains(std::string(name))) continue;
      return unsupported(found, name, "is the factor of no packed matrix");
    }
    ROWMAX_RETURN_IF_ERROR(check_complete());
    add_rope_factors();
    std::ranges::stable_sort(mapped_, {}, &Mapped::order);
    for (Mapped& each : mapped_) out_.tensors.push_back(std::move(each.rows));
    return std::move(out_);
  }

 private:
  struct Mapped {
    std::tuple<int, std::int64_t, int> order;
    TensorRows rows;
  };

  static Error problem(ErrorCode code, const CheckpointTensor& found, std::string_view name, std::string_view text) {
    return Error{code, concat(found.file->name(), ": tensor ", quote(name), " ", text)};
  }
  static Error unsupported(const CheckpointTensor& found, std::string_view name, std::string_view text) {
    return problem(ErrorCode::kUnsupported, found, name, text);
  }

  std::optional<Target> target_of(std::string_view name) const {
    if (name == "model.embed_tokens.weight") return Target{"token_embd.weight", kNeeded, {0, 0, 0}};
    if (name == "model.norm.weight") return Target{"output_norm.weight", kNorm, {2, 0, 0}};
    if (name == "lm_head.weight") return Target{"output.weight", kNone, {2, 0, 1}};
    constexpr std::string_view kLayers = "model.layers.";
    if (!name.starts_with(kLayers)) return std::nullopt;
    name.remove_prefix(kLayers.size());
    std::int64_t layer = -1;
    const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), layer);
    if (code != std::errc() || end == name.data() + name.size() || *end != '.' || layer < 0 ||
        layer >= model_.n_layer) {
      return std::nullopt;
    }
    const std::string_view rest(end + 1, static_cast<std::size_t>(name.data() + name.size() - end - 1));
    const std::size_t dot = rest.rfind('.');
    if (dot == std::string_view::npos) return std::nullopt;
    const std::string_view module = rest.substr(0, dot), kind = rest.substr(dot + 1);
    for (const Module& row : kLayerModules) {
      if (row.hf != module || !applies(row, *model_.architecture)) continue;
      const bool bias = kind == "bias" && has_bias(row);
      if (kind != "weight" && !bias) return std::nullopt;
      return Target{concat("blk.", layer, ".", row.gguf, ".", kind),
                    row.flags,
                    {1, layer, static_cast<int>(&row - kLayerModules) * 2 + (bias ? 1 : 0)},
                    bias};
    }
    return std::nullopt;
  }

  bool has_bias(const Module& module) const {
    if (module.gguf == "attn_output") return model_.output_bias;
    return model_.input_biases && module.hf.starts_with("self_attn.") && (module.flags & kMatrix) != 0;
  }

  // Whether the tensor holds the weights of the embedding once more, in whatever type.
  bool is_embedding(const CheckpointTensor& head) const {
    const auto embedding = checkpoint_.tensors().find("model.embed_tokens.weight");
    if (embedding == checkpoint_.tensors().end()) return false;
    const SafetensorsTensor &a = *head.tensor, &b = *embedding->second.tensor;
    const FormatInfo *a_format = float_format(a.dtype), *b_format = float_format(b.dtype);
    if (a.shape != b.shape || a.shape.size() != 2 || a_format == nullptr || b_format == nullptr) return false;
    const std::int64_t rows = a.shape[0], cols = a.shape[1];
    std::vector<float> left(static_cast<std::size_t>(cols)), right(left);
    const base::ScopedFpEnv fp_env;
    for (std::int64_t row = 0; row < rows; ++row) {
      a_format->decode({a.data.data(), rows, cols}, row, 1, left.data());
      b_format->decode({b.data.data(), rows, cols}, row, 1, right.data());
      if (left != right) return false;
    }
    head.file->drop_pages(a.data);
    embedding->second.file->drop_pages(b.data);
    return true;
  }

  Status map(const std::string& name, const CheckpointTensor& found) {
    if (name.ends_with(".rotary_emb.inv_freq")) return {};  // follows from the configuration
    if (name.ends_with(".weight_scale")) return {};         // read with its matrix
    if (name == "lm_head.weight" && model_.tied) {
      if (is_embedding(found)) {
        out_.notices.push_back(
            "lm_head.weight is left out: the configuration ties it to the embedding, and it is the same");
        return {};
      }
      // As transformers does.
      out_.notices.push_back("lm_head.weight is kept: tie_word_embeddings is true, but it differs from the embedding");
    }
    const std::optional<Target> target = target_of(name);
    if (!target)
      return unsupported(found, name,
                         concat("is not known to ", model_.architecture->class_name,
                                name.ends_with(".bias") ? " with these attention_bias and "
                                                          "mlp_bias"
                                                        : ""));
    const SafetensorsTensor& tensor = *found.tensor;
    if (tensor.shape.empty() || tensor.shape.size() > 2 || std::ranges::count(tensor.shape, 0) > 0) {
      return problem(ErrorCode::kCorrupt, found, name,
                     concat("has ", tensor.shape.size(), " dims or none, expected 1 or 2"));
    }
    TensorRows rows;
    rows.name = target->name;
    rows.from = tensor.dtype;
    rows.shape.assign(tensor.shape.rbegin(), tensor.shape.rend());
    rows.done = [found] { found.file->drop_pages(found.tensor->data); };
    rows.bytes = tensor.data;
    const bool matrix = (target->flags & kMatrix) != 0 && !target->bias;
    if (tensor.dtype == "U8" && matrix) {
      ROWMAX_RETURN_IF_ERROR(unpack(name, found, rows));
    } else {
      ROWMAX_RETURN_IF_ERROR(read_floats(name, found, rows));
      if (matrix && model_.ternarise) ternarise(rows);
    }
    if (target->name == "token_embd.weight" && tensor.shape[0] != model_.vocab_size) {
      return problem(ErrorCode::kCorrupt, found, name,
                     concat("has ", tensor.shape[0], " rows, expected vocab_size ", model_.vocab_size));
    }
    ROWMAX_RETURN_IF_ERROR(transform(*target, name, found, rows));
    if (!names_.insert(target->name).second) {
      return problem(ErrorCode::kCorrupt, found, name, concat("is a second ", target->name));
    }
    rows.drop();  // it was read to be checked
    mapped_.push_back({target->order, std::move(rows)});
    return {};
  }

  Status read_floats(const std::string& name, const CheckpointTensor& found, TensorRows& rows) const {
    const FormatInfo* format = float_format(found.tensor->dtype);
    if (format == nullptr) {
      return unsupported(found, name, concat("expected F32, F16 or BF16, found ", found.tensor->dtype));
    }
    const TensorView view{found.tensor->data.data(), rows.rows(), rows.cols()};
    const InvalidWeight bad = find_invalid(*format, view, rows.done);
    if (bad.row >= 0) {
      return problem(ErrorCode::kCorrupt, found, name,
                     concat("row ", bad.row, ": expected ", bad.expected, ", found ", bad.found));
    }
    rows.format = format;
    rows.read = [view, format](std::int64_t row, std::int64_t n_rows, float* out) {
      format->decode(view, row, n_rows, out);
    };
    return {};
  }

  // Four rows in a byte: bits 2i of byte (r, c) are 1 + the code of row i * M / 4 + r.
  // Source: transformers, integrations/bitnet.py (pack_weights).
  Status unpack(const std::string& name, const CheckpointTensor& found, TensorRows& rows) {
    if (rows.shape.size() != 2) return problem(ErrorCode::kCorrupt, found, name, "expected 2 dims of packed codes");
    const auto scale_tensor = checkpoint_.tensors().find(name + "_scale");
    if (scale_tensor == checkpoint_.tensors().end()) {
      return problem(ErrorCode::kCorrupt, found, name, "holds packed codes, but there is no " + name + "_scale");
    }
    scales_used_.insert(name + "_scale");
    ROWMAX_TRY(stored, read_scale(scale_tensor->second, name + "_scale"));
    const float scale = model_.divide_scales ? 1.0f / stored : stored;
    const std::byte* codes = found.tensor->data.data();
    for (const std::byte byte : found.tensor->data) {
      if ((byte & (byte >> 1) & std::byte{0x55}) == std::byte{0}) continue;
      return problem(ErrorCode::kCorrupt, found, name, "expected codes 0, 1 and 2, found code 3");
    }
    const std::int64_t cols = rows.shape[0], quarter = rows.shape[1];
    rows.shape[1] = 4 * quarter;
    rows.from = "packed";
    rows.read = [codes, cols, quarter, scale](std::int64_t row, std::int64_t n_rows, float* out) {
      for (std::int64_t r = row; r < row + n_rows; ++r) {
        const std::byte* line = codes + r % quarter * cols;
        const auto shift = static_cast<int>(2 * (r / quarter));
        for (std::int64_t c = 0; c < cols; ++c) {
          const int code = std::to_integer<int>(line[c] >> shift) & 3;
          *out++ = scale * static_cast<float>(code - 1);
        }
      }
    };
    out_.packed = true;
    return {};
  }

  Result<float> read_scale(const CheckpointTensor& found, const std::string& name) const {
    const SafetensorsTensor& tensor = *found.tensor;
    const FormatInfo* format = float_format(tensor.dtype);
    const bool single = std::ranges::all_of(tensor.shape, [](std::int64_t dim) { return dim == 1; });
    if (format == nullptr || !single) return problem(ErrorCode::kCorrupt, found, name, "expected one float");
    float scale = 0;
    format->decode({tensor.data.data(), 1, 1}, 0, 1, &scale);
    if (std::isfinite(scale) && scale > 0 && std::isfinite(1 / scale)) return scale;
    return problem(ErrorCode::kCorrupt, found, name, "expected a finite number above 0");
  }

  // The rule of BitNet b1.58: s = mean |w| of the matrix (at least 1e-5), each weight the nearest of -s, 0 and s, by
  // w * (1 / s) rounded half to even. Source: transformers, integrations/bitnet.py (WeightQuant).
  void ternarise(TensorRows& rows) const {
    const std::int64_t cols = rows.cols();
    std::vector<double> sums(static_cast<std::size_t>(rows.rows()));
    std::vector<std::vector<float>> buffers(static_cast<std::size_t>(executor_.concurrency()));
    for (auto& buffer : buffers) buffer.resize(static_cast<std::size_t>(cols));
    parallel_for(executor_, rows.rows(), [&](std::int64_t row, int worker) {
      const base::ScopedFpEnv fp_env;
      std::vector<float>& values = buffers[static_cast<std::size_t>(worker)];
      rows.read(row, 1, values.data());
      double sum = 0;
      for (const float value : values) sum += static_cast<double>(std::fabs(value));
      sums[static_cast<std::size_t>(row)] = sum;
    });
    double total = 0;
    for (const double sum : sums) total += sum;
    const double mean = total / static_cast<double>(cols * rows.rows());
    const float inverse = 1.0f / std::max(static_cast<float>(mean), 1e-5f);
    const float scale = 1.0f / inverse;
    rows.read = [read = std::move(rows.read), cols, inverse, scale](std::int64_t row, std::int64_t n_rows, float* out) {
      read(row, n_rows, out);
      for (std::int64_t i = 0; i < n_rows * cols; ++i) {
        // Half to even at +-0.5 is 0: what is above is 1.
        const float scaled = out[i] * inverse;
        out[i] = scaled > 0.5f ? scale : scaled < -0.5f ? -scale : 0.0f;
      }
    };
    rows.format = nullptr;
    rows.from = "master";
  }

  Status transform(const Target& target, const std::string& name, const CheckpointTensor& found,
                   TensorRows& rows) const {
    if ((target.flags & kNorm) != 0 && model_.architecture->norms_plus_one) {
      rows.read = [read = std::move(rows.read), cols = rows.cols()](std::int64_t row, std::int64_t n, float* out) {
        read(row, n, out);
        for (std::int64_t i = 0; i < n * cols; ++i) out[i] += 1.0f;
      };
      rows.format = nullptr;
    }
    if (!model_.architecture->adjacent_rope || (target.flags & (kQuery | kKey)) == 0) return {};
    const std::int64_t heads = (target.flags & kQuery) != 0 ? model_.n_head : model_.n_kv_head;
    if (rows.shape.back() != heads * model_.head_dim) {
      return problem(ErrorCode::kCorrupt, found, name,
                     concat("has ", rows.shape.back(), " rows, expected ", heads, " heads of ", model_.head_dim));
    }
    // Row 2i + j of a head was row i + j * head_dim / 2.
    const auto source = [half = model_.head_dim / 2, dim = model_.head_dim](std::int64_t row) {
      return row / dim * dim + row % dim / 2 + row % 2 * half;
    };
    if (target.bias) {
      rows.read = [read = std::move(rows.read), source, n_all = rows.cols()](std::int64_t, std::int64_t, float* out) {
        std::vector<float> values(static_cast<std::size_t>(n_all));
        read(0, 1, values.data());
        for (std::int64_t i = 0; i < n_all; ++i) out[i] = values[static_cast<std::size_t>(source(i))];
      };
    } else {
      rows.read = [read = std::move(rows.read), source, cols = rows.cols()](std::int64_t row, std::int64_t n,
                                                                            float* out) {
        for (std::int64_t i = 0; i < n; ++i) read(source(row + i), 1, out + i * cols);
      };
    }
    rows.format = nullptr;
    return {};
  }

  Status check_complete() const {
    const auto need = [&](const std::string& name) -> Status {
      if (names_.contains(name)) return {};
      const std::string file = checkpoint_.paths().size() == 1 ? checkpoint_.paths()[0] : "the checkpoint";
      return Error{ErrorCode::kCorrupt, concat(file, ": the tensor that becomes ", name, " is missing")};
    };
    ROWMAX_RETURN_IF_ERROR(need("token_embd.weight"));
    ROWMAX_RETURN_IF_ERROR(need("output_norm.weight"));
    if (!model_.tied) ROWMAX_RETURN_IF_ERROR(need("output.weight"));
    for (std::int64_t layer = 0; layer < model_.n_layer; ++layer) {
      for (const Module& module : kLayerModules) {
        const bool sub_norm = module.used_by == For::kTernary && model_.architecture->ternary;
        if (!applies(module, *model_.architecture) || ((module.flags & kNeeded) == 0 && !sub_norm)) continue;
        ROWMAX_RETURN_IF_ERROR(need(concat("blk.", layer, ".", module.gguf, ".weight")));
        if (has_bias(module)) ROWMAX_RETURN_IF_ERROR(need(concat("blk.", layer, ".", module.gguf, ".bias")));
      }
    }
    return {};
  }

  void add_rope_factors() {
    if (model_.rope_factors.empty()) return;
    TensorRows rows;
    rows.name = "rope_freqs.weight";
    rows.from = "computed";
    rows.shape = {std::ssize(model_.rope_factors)};
    rows.read = [factors = model_.rope_factors](std::int64_t, std::int64_t, float* out) {
      std::ranges::copy(factors, out);
    };
    mapped_.push_back({{0, 0, -1}, std::move(rows)});
  }

  const Checkpoint& checkpoint_;
  const HfModel& model_;
  Executor& executor_;
  std::vector<Mapped> mapped_;
  std::set<std::string> names_, scales_used_;
  HfTensors out_;
};

}  // namespace

Result<HfTensors> map_hf_tensors(const Checkpoint& checkpoint, const HfModel& model, Executor& executor) {
  return Mapper(checkpoint, model, executor).run();
}

}  // namespace rowmax::engine
