#include "engine/convert/hf_tensors.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/fp_env.h"
#include "engine/convert/hf_transforms.h"
#include "engine/convert/hf_weights.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::string_view kDraftLayers = "mtp.layers.";

const FormatInfo* float_format(std::string_view dtype) {
  return dtype == "F32" || dtype == "F16" || dtype == "BF16" ? find_format(dtype) : nullptr;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t dim : shape) text += concat(text.size() > 1 ? ", " : "", dim);
  return text + "]";
}

// A tensor to be written: its name and shape, and the tensors of the folder that it is made of. GGUF's order of dims is
// fastest first, the folder's slowest first.
struct Wanted {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<std::string> names;              // in the folder: one, or one for each expert
  std::vector<std::int64_t> stored;            // shape of each of them
  std::vector<std::int64_t> also_stored = {};  // another that is as good; empty: none
  bool matrix = false;                         // of a layer: may be packed, or rounded to ternary weights
  const HfWeight* weight = nullptr;            // of a layer
  HfForm form = HfForm::kPlain;
  bool packed4 = false;  // names: blocks and scales of MXFP4
};

class Mapper {
 public:
  Mapper(const Checkpoint& checkpoint, const HfModel& model, const ModelSpec& spec, Executor& executor)
      : checkpoint_(checkpoint), model_(model), arch_(*model.architecture), spec_(spec), executor_(executor) {}

  Result<HfTensors> run() {
    for (const std::string_view nested : {"model.language_model.", "language_model.model."}) {
      if (arch_.other_text() && has(concat(nested, "embed_tokens.weight"))) prefix_ = nested;
    }
    if (arch_.nested && has("language_model.lm_head.weight")) head_ = "language_model.lm_head.weight";
    if (arch_.trunk && has("embed_tokens.weight")) prefix_ = "";
    ROWMAX_RETURN_IF_ERROR(list_wanted());
    ROWMAX_RETURN_IF_ERROR(check_all_known());
    if (missing_) return *missing_;
    for (const Wanted& each : wanted_) {
      ROWMAX_TRY(rows, build(each));
      rows.drop();  // it was read to be checked
      out_.tensors.push_back(std::move(rows));
      if (&each == &wanted_[0]) add_rope_factors();
    }
    return std::move(out_);
  }

 private:
  static Error problem(ErrorCode code, const CheckpointTensor& found, std::string_view name, std::string_view text) {
    return Error{code, concat(found.file->name(), ": tensor ", quote(name), " ", text)};
  }
  static Error unsupported(const CheckpointTensor& found, std::string_view name, std::string_view text) {
    return problem(ErrorCode::kUnsupported, found, name, text);
  }

  bool has(std::string_view name) const { return checkpoint_.tensors().contains(name); }
  const CheckpointTensor& find(std::string_view name) const { return checkpoint_.tensors().find(name)->second; }

  // What the file needs, in the order in which it is written.
  Status list_wanted() {
    const std::int64_t n_embd = spec_.shape.n_embd;
    add({.name = "token_embd.weight",
         .shape = {n_embd, model_.vocab_size},
         .names = {prefix_ + "embed_tokens.weight"},
         .stored = {model_.vocab_size, n_embd}});
    for (std::int64_t i = 0; i < spec_.shape.n_layer; ++i) {
      ROWMAX_RETURN_IF_ERROR(
          add_layer(concat(prefix_, "layers.", i, "."), i, spec_.layers[static_cast<std::size_t>(i)]));
    }
    if (model_.n_draft_layer > 0) ROWMAX_RETURN_IF_ERROR(add_draft_layer());
    if (spec_.layer_embd() > 0) list_layer_embeddings();
    add({.name = spec_.output_norm_name.empty() ? "output_norm.weight" : spec_.output_norm_name,
         .shape = {n_embd},
         .names = {prefix_ + (arch_.lfm2 ? "embedding_norm.weight" : "norm.weight")},
         .stored = {n_embd},
         .form = HfForm::kNorm});
    const bool head = wants_head();
    if (!head && !spec_.may_tie) {
      return Error{ErrorCode::kUnsupported,
                   concat(model_.text_path, ": tie_word_embeddings: expected false (models of architecture ",
                          spec_.architecture, " have a head of their own), found true")};
    }
    if (head) {
      add({.name = "output.weight",
           .shape = {n_embd, model_.vocab_size},
           .names = {head_},
           .stored = {model_.vocab_size, n_embd}});
    }
    return {};
  }

  void list_layer_embeddings() {
    const std::int64_t n_embd = spec_.shape.n_embd, n = spec_.layer_embd(), all = n * spec_.shape.n_layer;
    add({.name = "per_layer_token_embd.weight",
         .shape = {all, model_.vocab_size},
         .names = {prefix_ + "embed_tokens_per_layer.weight"},
         .stored = {model_.vocab_size, all}});
    add({.name = "per_layer_model_proj.weight",
         .shape = {n_embd, all},
         .names = {prefix_ + "per_layer_model_projection.weight"},
         .stored = {all, n_embd}});
    add({.name = "per_layer_proj_norm.weight",
         .shape = {n},
         .names = {prefix_ + "per_layer_projection_norm.weight"},
         .stored = {n},
         .form = HfForm::kNorm});
  }

  // Of layers that read the keys and values of others; transformers passes over what they have of their own.
  bool is_unused_kv(std::string_view name) const {
    const auto [layer, rest] = layer_of(name);
    const bool kv =
        rest == ".self_attn.k_proj.weight" || rest == ".self_attn.v_proj.weight" || rest == ".self_attn.k_norm.weight";
    return kv && layer >= spec_.shape.n_layer - model_.n_shared_kv && layer < spec_.shape.n_layer;
  }

  // Of layers that the configuration counts behind the model's.
  bool is_draft(std::string_view name) const {
    const std::int64_t layer = layer_of(name).first;
    return layer >= spec_.shape.n_layer && layer < spec_.shape.n_layer + model_.n_left_out;
  }

  // The number of a layer, -1 for other tensors, and what is behind it.
  std::pair<std::int64_t, std::string_view> layer_of(std::string_view name) const {
    const std::string start = prefix_ + "layers.";
    std::int64_t layer = -1;
    if (!name.starts_with(start)) return {layer, {}};
    const char* const end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + start.size(), end, layer);
    return {layer, std::string_view(parsed.ptr, end)};
  }

  // Whether the head is a tensor of its own: as transformers has it, one that differs counts even where it is tied.
  bool wants_head() {
    if (!model_.tied) return true;
    if (!has(head_)) return false;
    used_.insert(head_);
    if (is_embedding(find(head_))) {
      out_.notices.push_back(
          "lm_head.weight is left out: the configuration ties it to the embedding, and it is the same");
      return false;
    }
    out_.notices.push_back("lm_head.weight is kept: tie_word_embeddings is true, but it differs from the embedding");
    return true;
  }

  // Whether the tensor holds the weights of the embedding once more, in whatever type.
  bool is_embedding(const CheckpointTensor& head) const {
    if (!has(prefix_ + "embed_tokens.weight")) return false;
    const CheckpointTensor& embedding = find(prefix_ + "embed_tokens.weight");
    const SafetensorsTensor &a = *head.tensor, &b = *embedding.tensor;
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
    embedding.file->drop_pages(b.data);
    return true;
  }

  Status add_layer(const std::string& prefix, std::int64_t index, const LayerSpec& layer) {
    std::map<W, std::string> found;  // by which name
    std::map<W, std::string> first;  // by which it would be
    for (const HfWeight& row : hf_weights(arch_.lfm2)) {
      if (const FusedWeights* fused = fused_with(row.id, layer)) {
        const bool first_row = row.id == fused->parts[0] && found.emplace(row.id, row.name).second;
        if (first_row) add_fused(prefix, index, layer, *fused);
        continue;
      }
      if (!is_wanted(row, layer)) continue;
      Wanted wanted = wanted_of(row, prefix, index, layer);
      const std::string name = wanted.names[0];
      first.emplace(row.id, name);
      if (!std::ranges::any_of(wanted.names, [&](const std::string& each) { return has(each); })) continue;
      const auto [other, is_new] = found.emplace(row.id, name);
      if (!is_new) {
        return problem(ErrorCode::kCorrupt, find(name), name,
                       concat("is a second ", wanted.name, ", beside ", quote(other->second)));
      }
      add(std::move(wanted));
    }
    for (const auto& [id, name] : first) {
      if (!found.contains(id)) miss(name, name_of(id, index));
    }
    return {};
  }

  // As the folder has it, so the file has it.
  void add_fused(const std::string& prefix, std::int64_t index, const LayerSpec& layer, const FusedWeights& fused) {
    const WeightShape shape = fused_shape(fused, spec_.shape, layer);
    Wanted wanted{.name = WeightInfo::tensor(index, fused.name),
                  .shape = {shape.cols, shape.rows},
                  .names = {concat(prefix, hf_fused_name(fused.parts[0]))},
                  .stored = {shape.rows, shape.cols}};
    wanted.matrix = weight_info(fused.parts[0]).kind == WeightKind::kMatrix;
    if (!wanted.matrix) {  // of experts
      wanted.shape.push_back(shape.n);
      wanted.stored.insert(wanted.stored.begin(), shape.n);
    }
    add(std::move(wanted));
  }

  // Biases are there where the configuration says so.
  bool is_wanted(const HfWeight& row, const LayerSpec& layer) const {
    if (row.when != nullptr && !row.when(layer)) return false;
    switch (weight_info(row.id).presence(layer)) {
      case Presence::kNever: return false;
      case Presence::kRequired: return true;
      case Presence::kOptional: return row.id == W::kAttnOutputBias ? model_.output_bias : model_.input_biases;
    }
    return false;
  }

  std::string name_of(W id, std::int64_t index) const {
    const WeightInfo& info = weight_info(id);
    const bool other = (arch_.hybrid || arch_.other_names) && !info.other_name.empty();
    return other ? WeightInfo::tensor(index, info.other_name) : info.tensor(index);
  }

  Wanted wanted_of(const HfWeight& row, const std::string& prefix, std::int64_t index, const LayerSpec& layer) const {
    const WeightInfo& info = weight_info(row.id);
    const WeightShape size = info.shape(spec_.shape, layer);
    Wanted out{.name = name_of(row.id, index),
               .shape = {size.cols, size.rows},
               .names = {prefix + std::string(row.name)},
               .stored = {size.rows, size.cols},
               .also_stored = {},
               .matrix = info.kind == WeightKind::kMatrix,
               .weight = &row,
               .form = row.form};
    if (info.kind == WeightKind::kVector) {
      if (size.rows == 1) {
        out.shape.pop_back();
        out.stored = {size.cols};
      } else {
        out.stored = {size.rows, row.parts * size.cols};
      }
    }
    if (row.form == HfForm::kConv) {
      out.also_stored = out.stored;
      out.stored = {size.rows, 1, size.cols};
    }
    if (info.kind == WeightKind::kHeads) {
      const LatentSpec& latent = layer.latent;
      out.shape.push_back(size.n);
      out.stored = {size.n * (latent.nope_dim + latent.v_dim), latent.rank};
      return out;
    }
    if (info.kind != WeightKind::kExperts) return out;
    out.shape.push_back(size.n);
    if (row.form == HfForm::kColumns) {
      out.stored = {size.n, size.cols, row.parts * size.rows};
      out.packed4 = has(out.names[0] + "_blocks");
      if (out.packed4) out.names = {out.names[0] + "_blocks", out.names[0] + "_scales"};
      return out;
    }
    const std::string fused = prefix + std::string(row.fused);
    if (has(fused)) {
      out.names = {fused};
      out.stored = {size.n, row.parts * size.rows, size.cols};
      return out;
    }
    out.names.clear();
    const std::size_t star = row.name.find('*');
    for (std::int64_t i = 0; i < size.n; ++i) {
      out.names.push_back(concat(prefix, row.name.substr(0, star), i, row.name.substr(star + 1)));
    }
    return out;
  }

  // A layer that attends, with the FFN of the others.
  Status add_draft_layer() {
    LayerSpec layer = spec_.layers.back();
    layer.mixer = MixerKind::kAttention;
    const std::int64_t index = spec_.shape.n_layer, n_embd = spec_.shape.n_embd;
    ROWMAX_RETURN_IF_ERROR(add_layer(concat(kDraftLayers, "0."), index, layer));
    for (const HfDraftWeight& row : hf_draft_weights()) {
      Wanted wanted{.name = concat("blk.", index, ".nextn.", row.gguf),
                    .shape = {n_embd},
                    .names = {concat("mtp.", row.name)},
                    .stored = {n_embd}};
      if (row.norm) {
        wanted.form = HfForm::kNorm;
      } else {
        wanted.shape = {2 * n_embd, n_embd};
        wanted.stored = {n_embd, 2 * n_embd};
      }
      add(std::move(wanted));
    }
    return {};
  }

  void add(Wanted wanted) {
    for (const std::string& name : wanted.names) {
      used_.insert(name);
      if (!has(name)) miss(name, wanted.name);
    }
    wanted_.push_back(std::move(wanted));
  }

  // Kept until it is known that nothing unknown is there, which may be the same under another name.
  void miss(const std::string& name, const std::string& gguf) {
    if (missing_) return;
    const std::string file = checkpoint_.paths().size() == 1 ? checkpoint_.paths()[0] : "the checkpoint";
    missing_ =
        Error{ErrorCode::kCorrupt, concat(file, ": tensor ", quote(name), ", which becomes ", gguf, ", is missing")};
  }

  // What a name begins with, of tensors that see images or hear; "": another's.
  static std::string_view visual_part(std::string_view name) {
    for (const std::string_view part :
         {"model.visual.", "visual.", "model.vision_tower.", "vision_tower.", "model.multi_modal_projector.",
          "multi_modal_projector.", "model.audio_tower.", "model.embed_vision.", "model.embed_audio."}) {
      if (name.starts_with(part)) return part;
    }
    return "";
  }

  Status check_all_known() {
    std::int64_t n_visual = 0, n_unused = 0, n_draft = 0;
    std::string_view visual;
    for (const auto& [key, found] : checkpoint_.tensors()) {
      const std::string name(key);
      if (used_.contains(name)) continue;
      if (name.ends_with(".rotary_emb.inv_freq")) continue;  // follows from the configuration
      if (name.ends_with(".weight_scale")) {                 // read with its matrix
        const std::string matrix = name.substr(0, name.size() - 6);
        if (has(matrix) && (find(matrix).tensor->dtype == "U8" || model_.float_codes)) continue;
        return unsupported(found, name, "is the factor of no packed matrix");
      }
      if (const std::string_view part = visual_part(name); arch_.other_text() && !part.empty()) {
        ++n_visual;
        visual = part;
        continue;
      }
      if (is_unused_kv(name)) {
        ++n_unused;
        continue;
      }
      if (arch_.hybrid && name.starts_with("mtp.") && model_.n_draft_layer == 0) continue;  // hf_model.cc says so
      if (is_draft(name)) {
        ++n_draft;
        continue;
      }
      return unsupported(found, name,
                         concat("is not known to ", arch_.class_name,
                                name.ends_with(".bias") ? " with these attention_bias and mlp_bias" : ""));
    }
    if (n_visual > 0) {
      out_.notices.push_back(concat("the part that sees images (", n_visual, " tensors ", visual, "*) is left out"));
    }
    if (n_draft > 0) {
      out_.notices.push_back(concat(n_draft, " tensors of layers behind the last one, which guess tokens ahead (",
                                    prefix_, "layers.", spec_.shape.n_layer,
                                    "), are left out: rowmax does not use them"));
    }
    if (n_unused > 0) {
      out_.notices.push_back(
          concat(n_unused, " tensors of layers that read the keys and values of others are left out"));
    }
    return {};
  }

  Result<TensorRows> build(const Wanted& wanted) {
    TensorRows rows;
    rows.name = wanted.name;
    rows.shape = wanted.shape;
    for (const std::string& name : wanted.names) {
      if (wanted.packed4) break;
      const CheckpointTensor& found = find(name);
      const bool packed = found.tensor->dtype == "U8" && wanted.matrix;
      ROWMAX_RETURN_IF_ERROR(check_shape(wanted, name, packed));
      if (!packed) ROWMAX_RETURN_IF_ERROR(check_floats(name));
      rows.stored_bytes += found.tensor->data.size();
      rows.from = rows.from.empty() || rows.from == found.tensor->dtype ? found.tensor->dtype : "mixed";
    }
    rows.done = [parts = parts_of(wanted)] {
      for (const CheckpointTensor& part : parts) part.file->drop_pages(part.tensor->data);
    };
    const std::string& name = wanted.names[0];
    if (wanted.packed4) {
      ROWMAX_RETURN_IF_ERROR(unpack4(wanted, rows));
    } else if (find(name).tensor->dtype == "U8") {
      ROWMAX_RETURN_IF_ERROR(unpack(name, find(name), rows));
    } else {
      read_floats(wanted, rows);
      if (wanted.matrix && model_.ternarise) ternarise(rows, executor_);
      if (wanted.matrix && model_.float_codes && name.find("layers.") != std::string::npos) {
        if (!has(name + "_scale")) {
          return problem(ErrorCode::kCorrupt, find(name), name, "holds codes, but there is no " + name + "_scale");
        }
        ROWMAX_TRY(factor, read_scale(find(name + "_scale"), name + "_scale"));
        multiply(rows, factor);
        out_.packed = true;
      }
    }
    transform(wanted, rows);
    return rows;
  }

  std::vector<CheckpointTensor> parts_of(const Wanted& wanted) const {
    std::vector<CheckpointTensor> parts;
    for (const std::string& name : wanted.names) parts.push_back(find(name));
    return parts;
  }

  Status check_shape(const Wanted& wanted, const std::string& name, bool packed) const {
    const CheckpointTensor& found = find(name);
    const std::vector<std::int64_t>& shape = found.tensor->shape;
    std::vector<std::int64_t> expected = wanted.stored;
    if (packed) expected[0] /= 4;
    if (shape == expected && (!packed || wanted.stored[0] % 4 == 0)) return {};
    if (!wanted.also_stored.empty() && shape == wanted.also_stored) return {};
    return problem(
        ErrorCode::kCorrupt, found, name,
        concat("has shape ", shape_text(shape), ", expected ", shape_text(expected), " to become ", wanted.name));
  }

  // Types and numbers, of tensors that several others are made of once.
  Status check_floats(const std::string& name) {
    if (!checked_.insert(name).second) return {};
    const CheckpointTensor& found = find(name);
    const FormatInfo* format = float_format(found.tensor->dtype);
    if (format == nullptr) {
      return unsupported(found, name, concat("expected F32, F16 or BF16, found ", found.tensor->dtype));
    }
    const std::vector<std::int64_t>& shape = found.tensor->shape;
    std::int64_t rows = 1;
    for (std::size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
    const InvalidWeight bad = find_invalid(*format, {found.tensor->data.data(), rows, shape.back()},
                                           [&] { found.file->drop_pages(found.tensor->data); });
    if (bad.row < 0) return {};
    return problem(ErrorCode::kCorrupt, found, name,
                   concat("row ", bad.row, ": expected ", bad.expected, ", found ", bad.found));
  }

  // One tensor as it is, or rows of experts: of a tensor each, or of one in which each has `parts` matrices.
  void read_floats(const Wanted& wanted, TensorRows& rows) const {
    const std::int64_t cols = rows.cols();
    struct Part {
      const FormatInfo* format;
      TensorView view;
    };
    std::vector<Part> parts;
    for (const CheckpointTensor& part : parts_of(wanted)) {
      const FormatInfo* format = float_format(part.tensor->dtype);
      const std::int64_t n = std::ssize(part.tensor->data) / (cols * format->block_bytes);
      parts.push_back({format, {part.tensor->data.data(), n, cols}});
    }
    if (wanted.form == HfForm::kColumns) return read_columns(wanted, parts[0].format, parts[0].view.bytes, rows);
    if (wanted.form == HfForm::kHeadColumns || wanted.form == HfForm::kHeadRows) {
      return read_heads(wanted, parts[0].format, parts[0].view.bytes, rows);
    }
    if (parts.size() == 1 && (wanted.weight == nullptr || parts[0].view.rows == rows.rows())) {
      rows.format = parts[0].format;
      rows.bytes = find(wanted.names[0]).tensor->data;
      rows.read = [part = parts[0]](std::int64_t row, std::int64_t n_rows, float* out) {
        part.format->decode(part.view, row, n_rows, out);
      };
      return;
    }
    const bool fused = parts.size() == 1;
    const std::int64_t height = rows.shape[1];
    const std::int64_t stride = fused ? height * wanted.weight->parts : 0,
                       first = fused ? height * wanted.weight->part : 0;
    rows.read = [parts = std::move(parts), fused, height, stride, first, cols](std::int64_t row, std::int64_t n_rows,
                                                                               float* out) {
      while (n_rows > 0) {
        const std::int64_t expert = row / height, within = row % height, n = std::min(n_rows, height - within);
        const Part& part = parts[fused ? 0 : static_cast<std::size_t>(expert)];
        part.format->decode(part.view, expert * stride + first + within, n, out);
        row += n;
        n_rows -= n;
        out += n * cols;
      }
    };
  }

  // HfForm::kColumns, numbers.
  static void read_columns(const Wanted& wanted, const FormatInfo* format, const std::byte* data, TensorRows& rows) {
    const std::int64_t cols = rows.cols(), part = wanted.weight->part, parts = wanted.weight->parts;
    if (rows.shape.size() == 2) {  // biases
      rows.read = [=](std::int64_t row, std::int64_t n_rows, float* out) {
        std::vector<float> line(static_cast<std::size_t>(parts * cols));
        for (const std::int64_t end = row + n_rows; row < end; ++row) {
          format->decode({data, row + 1, parts * cols}, row, 1, line.data());
          for (std::int64_t col = 0; col < cols; ++col) *out++ = line[static_cast<std::size_t>(col * parts + part)];
        }
      };
      return;
    }
    const std::int64_t height = rows.shape[1], width = parts * height;
    rows.read = [=](std::int64_t row, std::int64_t n_rows, float* out) {
      for (const std::int64_t end = row + n_rows; row < end; ++row) {
        const std::int64_t first = row / height * cols * width + row % height * parts + part;
        for (std::int64_t col = 0; col < cols; ++col) {  // numbers as rows of one
          const std::int64_t at = first + col * width;
          format->decode({data, at + 1, 1}, at, 1, out++);
        }
      }
    };
  }

  // HfForm::kHeadColumns and kHeadRows.
  static void read_heads(const Wanted& wanted, const FormatInfo* format, const std::byte* data, TensorRows& rows) {
    const std::int64_t cols = rows.cols(), height = rows.shape[1], stride = wanted.stored[0] / rows.shape[2];
    if (wanted.form == HfForm::kHeadRows) {
      rows.read = [=](std::int64_t row, std::int64_t n_rows, float* out) {
        for (const std::int64_t end = row + n_rows; row < end; ++row, out += cols) {
          const std::int64_t at = row / height * stride + (stride - height) + row % height;
          format->decode({data, at + 1, cols}, at, 1, out);
        }
      };
      return;
    }
    rows.read = [=](std::int64_t row, std::int64_t n_rows, float* out) {
      for (const std::int64_t end = row + n_rows; row < end; ++row) {
        for (std::int64_t col = 0; col < cols; ++col) {  // numbers as rows of one
          const std::int64_t at = (row / height * stride + col) * height + row % height;
          format->decode({data, at + 1, 1}, at, 1, out++);
        }
      }
    };
  }

  // MXFP4 (OCP Microscaling Formats 1.0): 32 numbers e2m1, an even one in the low half of its byte, times 2^(scale - 127).
  Status unpack4(const Wanted& wanted, TensorRows& rows) {
    const CheckpointTensor &blocks = find(wanted.names[0]), &scales = find(wanted.names[1]);
    const std::int64_t n = rows.shape[2], height = rows.shape[1], cols = rows.cols(), n_block = cols / 32;
    const std::int64_t part = wanted.weight->part, parts = wanted.weight->parts;
    std::vector<std::int64_t> shape{n, parts * height, n_block, 16};
    for (std::size_t i : {0, 1}) {
      const CheckpointTensor& found = find(wanted.names[i]);
      if (found.tensor->dtype != "U8" || found.tensor->shape != shape || cols % 32 != 0) {
        return problem(ErrorCode::kCorrupt, found, wanted.names[i],
                       concat("is ", found.tensor->dtype, " ", shape_text(found.tensor->shape), ", expected U8 ",
                              shape_text(shape), " to become ", wanted.name));
      }
      shape.pop_back();
      rows.stored_bytes += found.tensor->data.size() / static_cast<std::size_t>(parts);
    }
    for (const std::byte scale : scales.tensor->data) {
      if (std::to_integer<int>(scale) <= kMaxScale) continue;
      return problem(ErrorCode::kCorrupt, scales, wanted.names[1],
                     concat("expected scales up to ", kMaxScale, ", found ", std::to_integer<int>(scale)));
    }
    rows.from = "MXFP4";
    rows.format = find_format("MXFP4");
    // GGUF has a block's scale in front of it, its first half in the low halves of bytes.
    rows.stored = [=, codes = blocks.tensor->data.data(), exponents = scales.tensor->data.data()](
                      std::int64_t row, std::int64_t n_rows, std::byte* out) {
      for (const std::int64_t end = row + n_rows; row < end; ++row) {
        const std::int64_t first = (row * parts + part) * n_block;
        for (std::int64_t block = first; block < first + n_block; ++block) {
          *out++ = exponents[block];
          const auto code = [&](std::int64_t i) { return codes[block * 16 + i / 2] >> (i % 2 * 4) & std::byte{15}; };
          for (std::int64_t i = 0; i < 16; ++i) *out++ = code(i) | code(i + 16) << 4;
        }
      }
    };
    rows.read = [stored = rows.stored, format = rows.format, cols](std::int64_t row, std::int64_t n_rows, float* out) {
      std::vector<std::byte> line(static_cast<std::size_t>(format_row_bytes(*format, cols)));
      for (const std::int64_t end = row + n_rows; row < end; ++row, out += cols) {
        stored(row, 1, line.data());
        format->decode({line.data(), 1, cols}, 0, 1, out);
      }
    };
    return {};
  }
  static constexpr int kMaxScale = 252;  // more and 6 is no f32

  // Four rows in a byte: bits 2i of byte (r, c) are 1 + the code of row i * M / 4 + r.
  // Source: transformers, integrations/bitnet.py (pack_weights).
  Status unpack(const std::string& name, const CheckpointTensor& found, TensorRows& rows) {
    if (!has(name + "_scale")) {
      return problem(ErrorCode::kCorrupt, found, name, "holds packed codes, but there is no " + name + "_scale");
    }
    ROWMAX_TRY(stored, read_scale(find(name + "_scale"), name + "_scale"));
    const float scale = model_.divide_scales ? 1.0f / stored : stored;
    const std::byte* codes = found.tensor->data.data();
    for (const std::byte byte : found.tensor->data) {
      if ((byte & (byte >> 1) & std::byte{0x55}) == std::byte{0}) continue;
      return problem(ErrorCode::kCorrupt, found, name, "expected codes 0, 1 and 2, found code 3");
    }
    const std::int64_t cols = rows.shape[0], quarter = rows.shape[1] / 4;
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

  void transform(const Wanted& wanted, TensorRows& rows) const {
    if (wanted.form == HfForm::kNorm && arch_.norms_plus_one) add_one(rows);
    if (wanted.form == HfForm::kDecay) negate_exp(rows);
    if ((wanted.form == HfForm::kQuery || wanted.form == HfForm::kKey) && arch_.adjacent_rope) {
      // Row 2i + j of a head was row i + j * head_dim / 2.
      take(rows, [half = model_.head_dim / 2, dim = model_.head_dim](std::int64_t row) {
        return row / dim * dim + row % dim / 2 + row % 2 * half;
      });
    }
    if (wanted.weight != nullptr) order_value_heads(*wanted.weight, rows);
  }

  // Of matrices the rows, of vectors the numbers.
  static void take(TensorRows& rows, Source source) {
    rows.shape.size() == 1 ? take_columns(rows, std::move(source)) : take_rows(rows, std::move(source));
  }

  void order_value_heads(const HfWeight& weight, TensorRows& rows) const {
    if (weight.heads == HfValueHeads::kNone) return;
    const auto layer = std::ranges::find(spec_.layers, MixerKind::kDeltaNet, &LayerSpec::mixer);
    const DeltaNetSpec& delta = layer->delta;  // the same in all of them
    if (delta.n_key_head == delta.n_value_head) return;
    const std::int64_t unit = weight.heads == HfValueHeads::kNumbers ? 1 : delta.value_dim;
    const std::int64_t before = weight.heads == HfValueHeads::kChannels ? 2 * delta.key_width() : 0;
    Source source = [=, n_key = delta.n_key_head, together = delta.n_value_head / delta.n_key_head](std::int64_t i) {
      if (i < before) return i;
      const std::int64_t head = (i - before) / unit;
      return before + (head % n_key * together + head / n_key) * unit + (i - before) % unit;
    };
    weight.heads == HfValueHeads::kColumns ? take_columns(rows, std::move(source)) : take(rows, std::move(source));
  }

  void add_rope_factors() {
    for (const auto& [name, values] : model_.rope_factors) {
      TensorRows rows;
      rows.name = name;
      rows.from = "computed";
      rows.shape = {std::ssize(values)};
      rows.read = [factors = values](std::int64_t, std::int64_t, float* out) { std::ranges::copy(factors, out); };
      out_.tensors.insert(out_.tensors.begin(), std::move(rows));
    }
  }

  const Checkpoint& checkpoint_;
  const HfModel& model_;
  const HfArchitecture& arch_;
  const ModelSpec& spec_;
  Executor& executor_;
  std::string prefix_ = "model.", head_ = "lm_head.weight";
  std::vector<Wanted> wanted_;
  std::set<std::string> used_, checked_;
  std::optional<Error> missing_;
  HfTensors out_;
};

}  // namespace

HfFound look_at(const Checkpoint& checkpoint) {
  HfFound out;
  std::int64_t& most = out.n_draft_layer;
  for (const auto& [name, found] : checkpoint.tensors()) {
    if (name.ends_with("layers.0.self_attn.q_proj.norm.weight")) out.product_norms = true;
    if (!name.starts_with(kDraftLayers)) continue;
    const std::string_view rest = name.substr(kDraftLayers.size());
    std::int64_t layer = -1;
    const auto [end, code] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
    if (code == std::errc() && layer >= 0 && layer < 4096) most = std::max(most, layer + 1);
  }
  return out;
}

Result<HfTensors> map_hf_tensors(const Checkpoint& checkpoint, const HfModel& model, const ModelSpec& spec,
                                 Executor& executor) {
  return Mapper(checkpoint, model, spec, executor).run();
}

}  // namespace rowmax::engine
