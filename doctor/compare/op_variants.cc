// One norm or one product by itself, computed from the reference's own input in all the ways that engines get wrong.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <optional>
#include <span>
#include <string>

#include "base/half.h"
#include "doctor/compare/variants.h"
#include "engine/quant/format.h"

namespace rowmax::doctor {
namespace {

using engine::GgufTensor;
using engine::Stage;
using Matrix = std::vector<std::vector<float>>;  // rows of tokens

constexpr std::int64_t kMostColumns = 256;
// What our own arithmetic may be off from the plain operation in f64.
constexpr double kSame = 1e-3;

double distance(const Matrix& a, const Matrix& b) {
  double difference = 0, length = 0;
  for (std::size_t r = 0; r < b.size(); ++r) {
    for (std::size_t i = 0; i < b[r].size(); ++i) {
      const double d = static_cast<double>(a[r][i]) - b[r][i];
      difference += d * d;
      length += static_cast<double>(b[r][i]) * b[r][i];
    }
  }
  return length > 0 ? std::sqrt(difference / length) : 1;
}

// Rows of a stage at the positions of another; nothing where one is not there.
std::optional<Matrix> rows_at(const StageValues* stage, std::span<const std::int64_t> positions) {
  if (stage == nullptr) return std::nullopt;
  Matrix out;
  for (const std::int64_t position : positions) {
    const auto found = std::ranges::find(stage->positions, position);
    if (found == stage->positions.end()) return std::nullopt;
    const auto row = stage->row(static_cast<std::size_t>(found - stage->positions.begin()));
    out.emplace_back(row.begin(), row.end());
  }
  return out;
}

std::vector<float> vector_of(const engine::Model& model, const std::string& name) {
  const GgufTensor* tensor = model.file().find_tensor(name);
  if (tensor == nullptr || tensor->format == nullptr || tensor->shape.size() != 1) return {};
  std::vector<float> out(static_cast<std::size_t>(tensor->shape[0]));
  engine::decode_row(*tensor->format, tensor->data, 0, tensor->shape[0], out.data());
  return out;
}

// The variants with the least left first; none where ours is not the plain operation.
std::vector<OpVariant> judged(std::vector<std::pair<std::string, Matrix>> made, const Matrix& theirs,
                              const Matrix* ours) {
  // The first one is the plain operation.
  if (made.empty() || (ours != nullptr && distance(made[0].second, *ours) > kSame)) return {};
  std::vector<OpVariant> out;
  for (std::size_t i = 1; i < made.size(); ++i) out.push_back({made[i].first, distance(made[i].second, theirs)});
  std::ranges::stable_sort(out, {}, &OpVariant::residual);
  return out;
}

// ---- norms

std::optional<Matrix> norm_input(const engine::Model& model, const Reference& reference, const StageValues& stage) {
  const std::int64_t layer = stage.stage == Stage::kOutputNorm ? model.shape().n_layer : stage.layer;
  const StageValues* before =
      layer == 0 ? reference.find(Stage::kEmbedding, -1) : reference.find(Stage::kResidual, layer - 1);
  auto rows = rows_at(before, stage.positions);
  if (!rows || stage.stage != Stage::kFfnNorm) return rows;
  const auto mixed = rows_at(reference.find(Stage::kMixerOut, layer), stage.positions);
  if (!mixed) return std::nullopt;
  float residual = 1;
  if (const auto scale = engine::edit_value(model, "residual_scale"); scale.ok()) {
    std::from_chars(scale->data(), scale->data() + scale->size(), residual);
  }
  for (std::size_t r = 0; r < rows->size(); ++r) {
    for (std::size_t i = 0; i < (*rows)[r].size(); ++i) (*rows)[r][i] += residual * (*mixed)[r][i];
  }
  return rows;
}

std::vector<std::pair<std::string, Matrix>> norms_of(const Matrix& x, std::span<const float> weight, double eps) {
  const auto normed = [&](bool centred, auto&& weigh) {
    Matrix out = x;
    for (std::vector<float>& row : out) {
      double mean = 0, square = 0;
      for (const float value : row) mean += value / static_cast<double>(row.size());
      if (!centred) mean = 0;
      for (const float value : row) square += (value - mean) * (value - mean) / static_cast<double>(row.size());
      const double scale = 1 / std::sqrt(square + eps);
      for (std::size_t i = 0; i < row.size(); ++i)
        row[i] = static_cast<float>((row[i] - mean) * scale * weigh(weight[i]));
    }
    return out;
  };
  const auto plain = [](float w) { return static_cast<double>(w); };
  std::vector<std::pair<std::string, Matrix>> out;
  out.emplace_back("", normed(false, plain));
  out.emplace_back("weight + 1", normed(false, [](float w) { return w + 1.0; }));
  out.emplace_back("weight - 1", normed(false, [](float w) { return w - 1.0; }));
  out.emplace_back("without the weight", normed(false, [](float) { return 1.0; }));
  out.emplace_back("layer norm (the mean taken off) in place of RMS norm", normed(true, plain));
  Matrix unnormed = x, only_weighed = x;
  for (std::vector<float>& row : only_weighed) {
    for (std::size_t i = 0; i < row.size(); ++i) row[i] *= weight[i];
  }
  out.emplace_back("without the norm", std::move(unnormed));
  out.emplace_back("weighed, but not normed", std::move(only_weighed));
  return out;
}

std::vector<OpVariant> norm_variants(const engine::Model& model, const Reference& reference, const StageValues& theirs,
                                     const StageValues* ours) {
  const std::string name = theirs.stage == Stage::kOutputNorm
                               ? "output_norm.weight"
                               : "blk." + std::to_string(theirs.layer) + "." +
                                     (theirs.stage == Stage::kAttnNorm ? "attn_norm.weight" : "ffn_norm.weight");
  std::vector<float> weight = vector_of(model, name);
  if (weight.empty() && theirs.stage == Stage::kOutputNorm)
    weight = vector_of(model, "token_embd_norm.weight");  // LFM2
  if (weight.empty() && theirs.stage == Stage::kFfnNorm) {
    weight = vector_of(model, "blk." + std::to_string(theirs.layer) + ".post_attention_norm.weight");
  }
  const auto x = norm_input(model, reference, theirs);
  const auto eps_text = engine::edit_value(model, "rms_norm_eps");
  if (!x || !eps_text.ok() || std::ssize(weight) != theirs.width || std::ssize((*x)[0]) != theirs.width) return {};
  double eps = 0;
  std::from_chars(eps_text->data(), eps_text->data() + eps_text->size(), eps);
  const auto our_rows = rows_at(ours, theirs.positions);
  if (ours != nullptr && !our_rows) return {};
  return judged(norms_of(*x, weight, eps), *rows_at(&theirs, theirs.positions), our_rows ? &*our_rows : nullptr);
}

// ---- products

// Where its rows lie in a tensor that several products share.
enum class Part { kFirst, kLastButOne, kLast };
struct ProductOp {
  Stage out, in;
  const char* weight;
  const char* bias;
  const char* scale;
  const char* shared = nullptr;  // the tensor that may have its rows: q, k and v in it, or gate and up
  Part part = Part::kFirst;
};
constexpr ProductOp kProducts[] = {
    {Stage::kQRaw, Stage::kAttnNorm, "attn_q.weight", nullptr, "attn_q.scale", "attn_qkv.weight", Part::kFirst},
    {Stage::kQRaw, Stage::kAttnNorm, "shortconv.in_proj.weight", nullptr, nullptr},
    {Stage::kKRaw, Stage::kAttnNorm, "attn_k.weight", nullptr, "attn_k.scale", "attn_qkv.weight", Part::kLastButOne},
    {Stage::kV, Stage::kAttnNorm, "attn_v.weight", "attn_v.bias", "attn_v.scale", "attn_qkv.weight", Part::kLast},
    {Stage::kMixerOut, Stage::kAttnOut, "attn_output.weight", "attn_output.bias", "attn_output.scale"},
    {Stage::kMixerOut, Stage::kAttnOut, "shortconv.out_proj.weight", nullptr, nullptr},
    {Stage::kGate, Stage::kFfnNorm, "ffn_gate.weight", nullptr, "ffn_gate.scale", "ffn_up.weight", Part::kLastButOne},
    {Stage::kUp, Stage::kFfnNorm, "ffn_up.weight", nullptr, "ffn_up.scale", "ffn_up.weight", Part::kLast},
    {Stage::kSharedGate, Stage::kFfnNorm, "ffn_gate_shexp.weight", nullptr, nullptr},
    {Stage::kSharedUp, Stage::kFfnNorm, "ffn_up_shexp.weight", nullptr, nullptr},
    {Stage::kBlockOut, Stage::kAct, "ffn_down.weight", nullptr, "ffn_down.scale"},
};

// Where the fields of a block lie that readers get wrong (the structs of engine/quant); -1: it has none.
struct BlockFields {
  std::string_view format;
  std::int64_t scale, min, nibbles, n_nibble_bytes;
};
constexpr BlockFields kBlocks[] = {
    {"Q4_0", 0, -1, 2, 16},  {"Q4_1", 0, 2, 4, 16},   {"Q5_0", 0, -1, 6, 16},   {"Q5_1", 0, 2, 8, 16},
    {"Q8_0", 0, -1, 0, 0},   {"Q2_K", 80, 82, 0, 0},  {"Q3_K", 108, -1, 0, 0},  {"Q4_K", 0, 2, 16, 128},
    {"Q5_K", 0, 2, 48, 128}, {"Q6_K", 208, -1, 0, 0}, {"IQ4_NL", 0, -1, 2, 16},
};

using EditBlock = void (*)(std::byte* block, const BlockFields& fields);
struct BlockVariant {
  const char* name;
  bool (*applies)(const BlockFields& fields);
  EditBlock edit;
};
constexpr std::byte kOneLow{0x00}, kOneHigh{0x3C};  // 1.0 as a half

constexpr BlockVariant kBlockVariants[] = {
    {"without the block minimum", [](const BlockFields& f) { return f.min >= 0; },
     [](std::byte* block, const BlockFields& f) { std::fill_n(block + f.min, 2, std::byte{0}); }},
    {"the sign of the block minimum turned", [](const BlockFields& f) { return f.min >= 0; },
     [](std::byte* block, const BlockFields& f) { block[f.min + 1] ^= std::byte{0x80}; }},
    {"without the block scale", [](const BlockFields& f) { return f.scale >= 0; },
     [](std::byte* block, const BlockFields& f) {
       block[f.scale] = kOneLow;
       block[f.scale + 1] = kOneHigh;
     }},
    {"the halves of each byte swapped", [](const BlockFields& f) { return f.n_nibble_bytes > 0; },
     [](std::byte* block, const BlockFields& f) {
       for (std::int64_t i = f.nibbles; i < f.nibbles + f.n_nibble_bytes; ++i) {
         block[i] = (block[i] << 4) | (block[i] >> 4);
       }
     }},
};

std::vector<float> read_row(const GgufTensor& tensor, std::int64_t row, const BlockVariant* variant,
                            const BlockFields* fields) {
  const std::int64_t cols = tensor.shape[0];
  std::vector<float> out(static_cast<std::size_t>(cols));
  if (variant == nullptr) {
    engine::decode_row(*tensor.format, tensor.data, row, cols, out.data());
    return out;
  }
  // The format has blocks alone: a row by itself is a tensor of one row.
  const auto n_bytes = static_cast<std::size_t>(engine::format_row_bytes(*tensor.format, cols));
  std::vector<std::byte> bytes(n_bytes);
  std::memcpy(bytes.data(), tensor.data.data() + static_cast<std::size_t>(row) * n_bytes, n_bytes);
  for (std::size_t at = 0; at < n_bytes; at += static_cast<std::size_t>(tensor.format->block_bytes)) {
    variant->edit(bytes.data() + at, *fields);
  }
  engine::decode_row(*tensor.format, bytes, 0, cols, out.data());
  return out;
}

// Blocks of 32 whose bytes are taken for neighbours in place of elements j and j + 16.
std::vector<float> interleaved(std::vector<float> row) {
  std::vector<float> out = row;
  for (std::size_t at = 0; at + 32 <= row.size(); at += 32) {
    for (std::size_t j = 0; j < 16; ++j) {
      out[at + 2 * j] = row[at + j];
      out[at + 2 * j + 1] = row[at + j + 16];
    }
  }
  return out;
}

// Each block of n numbers as whole multiples of its largest / 127, the step being a half where that is said: Q8_0 and Q8_1
// (32, a half) and Q8_K (256) of ggml.
struct Rounding {
  const char* name;
  std::size_t n;
  bool half_step;
};
constexpr Rounding kRoundings[] = {{"its input rounded to 8 bits in blocks of 32", 32, true},
                                   {"its input rounded to 8 bits in blocks of 256", 256, false}};

Matrix rounded(Matrix x, const Rounding& rounding) {
  for (std::vector<float>& row : x) {
    for (std::size_t at = 0; at < row.size(); at += rounding.n) {
      const auto block = std::span(row).subspan(at, std::min(rounding.n, row.size() - at));
      float most = 0;
      for (const float value : block) most = std::max(most, std::abs(value));
      if (most == 0) continue;
      const float exact = most / 127, step = rounding.half_step ? base::f16_to_f32(base::f32_to_f16(exact)) : exact;
      for (float& value : block) value = std::round(value / exact) * step;
    }
  }
  return x;
}

// Rows of a tensor: those of a product, and where others as many lie that could be taken for them.
struct TensorRows {
  const GgufTensor* tensor = nullptr;
  std::int64_t first = 0, n = 0;
  std::int64_t neighbour = -1;  // the first of k's for v, of v's for k, of up's for gate, of gate's for up; -1: none
  bool whole() const { return n == tensor->shape[1]; }
};

class Product {
  // Row i of those that begin there.
  auto read_from(std::int64_t first, const BlockVariant* variant = nullptr, const BlockFields* fields = nullptr) const {
    return [this, first, variant, fields](std::int64_t i) { return read_row(tensor_, first + i, variant, fields); };
  }

 public:
  Product(Matrix x, const TensorRows& rows, std::vector<float> bias, double scale)
      : x_(std::move(x)), tensor_(*rows.tensor), rows_(rows), bias_(std::move(bias)), scale_(scale) {
    const std::int64_t n = rows.n, step = std::max<std::int64_t>(1, n / kMostColumns);
    for (std::int64_t i = 0; i < n && std::ssize(columns_) < kMostColumns; i += step) columns_.push_back(i);
  }

  Matrix columns_of(const StageValues& stage, std::span<const std::int64_t> positions) const {
    Matrix out = *rows_at(&stage, positions);
    for (std::vector<float>& row : out) {
      std::vector<float> some;
      for (const std::int64_t c : columns_) some.push_back(row[static_cast<std::size_t>(c)]);
      row = std::move(some);
    }
    return out;
  }

  std::vector<std::pair<std::string, Matrix>> with_rounded_input() const {
    std::vector<std::pair<std::string, Matrix>> out;
    for (const Rounding& rounding : kRoundings) {
      Product other = *this;
      other.x_ = rounded(x_, rounding);
      out.emplace_back(place() + rounding.name, other.product(read_from(rows_.first), 1));
    }
    return out;
  }

  // The first one is the plain product. Each variant stands here with the input as it is, and rounded as engines do it.
  std::vector<std::pair<std::string, Matrix>> all() const {
    auto out = with_this_input();
    for (auto& each : with_rounded_input()) out.push_back(std::move(each));
    for (const Rounding& rounding : kRoundings) {
      Product other = *this;
      other.x_ = rounded(x_, rounding);
      auto more = other.with_this_input();
      std::move(more.begin() + 1, more.end(), std::back_inserter(out));
    }
    return out;
  }

 private:
  std::vector<std::pair<std::string, Matrix>> with_this_input() const {
    std::vector<std::pair<std::string, Matrix>> out;
    const auto plain = read_from(rows_.first);
    out.emplace_back("", product(plain, 1));
    const std::string_view format = tensor_.format->name;
    const std::string where = place();
    const auto* fields = std::ranges::find(kBlocks, format, &BlockFields::format);
    if (fields != std::end(kBlocks)) {
      for (const BlockVariant& variant : kBlockVariants) {
        if (!variant.applies(*fields)) continue;
        out.emplace_back(where + variant.name, product(read_from(rows_.first, &variant, fields), 1));
      }
      if (fields->n_nibble_bytes == 16) {
        out.emplace_back(where + "a byte's halves taken for neighbours",
                         product([&](std::int64_t row) { return interleaved(plain(row)); }, 1));
      }
    }
    if (!bias_.empty()) out.emplace_back(where + "without the bias", product(plain, 0));
    if (scale_ != 1) {
      Matrix unscaled = out[0].second;
      for (std::vector<float>& row : unscaled) {
        for (float& value : row) value = static_cast<float>(value / scale_);
      }
      if (bias_.empty()) out.emplace_back(where + "without the matrix's scale", std::move(unscaled));
    }
    if (rows_.neighbour >= 0) {
      out.emplace_back(where + "the rows of its neighbour", product(read_from(rows_.neighbour), 1));
      const std::int64_t begin = std::min(rows_.first, rows_.neighbour);
      const std::int64_t odd = rows_.first == begin ? 0 : 1;
      const auto in_turns = [&](std::int64_t i) { return read_row(tensor_, begin + 2 * i + odd, nullptr, nullptr); };
      out.emplace_back(where + "its rows and its neighbour's in turns", product(in_turns, 1));
    }
    if (rows_.whole() && tensor_.shape[0] == tensor_.shape[1])
      out.emplace_back(where + "the matrix transposed", transposed());
    return out;
  }

  std::string place() const {
    return "product with " + std::string(tensor_.name) + ", format " + tensor_.format->name + ": ";
  }
  template <class Row>
  Matrix product(Row&& row_of, float bias_factor) const {
    Matrix out(x_.size(), std::vector<float>(columns_.size()));
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      const std::vector<float> w = row_of(columns_[c]);
      const float bias = bias_.empty() ? 0 : bias_factor * bias_[static_cast<std::size_t>(columns_[c])];
      for (std::size_t r = 0; r < x_.size(); ++r) {
        double sum = 0;
        for (std::size_t i = 0; i < w.size(); ++i) sum += static_cast<double>(w[i]) * x_[r][i];
        out[r][c] = static_cast<float>(sum * scale_ + bias);
      }
    }
    return out;
  }
  Matrix transposed() const {
    std::vector<std::vector<double>> sums(x_.size(), std::vector<double>(columns_.size(), 0.0));
    for (std::int64_t row = 0; row < tensor_.shape[1]; ++row) {
      const std::vector<float> w = read_row(tensor_, row, nullptr, nullptr);
      for (std::size_t r = 0; r < x_.size(); ++r) {
        const double x = x_[r][static_cast<std::size_t>(row)];
        for (std::size_t c = 0; c < columns_.size(); ++c) sums[r][c] += x * w[static_cast<std::size_t>(columns_[c])];
      }
    }
    Matrix out(x_.size(), std::vector<float>(columns_.size()));
    for (std::size_t r = 0; r < x_.size(); ++r) {
      for (std::size_t c = 0; c < columns_.size(); ++c) {
        const float bias = bias_.empty() ? 0 : bias_[static_cast<std::size_t>(columns_[c])];
        out[r][c] = static_cast<float>(sums[r][c] * scale_ + bias);
      }
    }
    return out;
  }

  Matrix x_;
  const GgufTensor& tensor_;
  TensorRows rows_;
  std::vector<float> bias_;
  double scale_;
  std::vector<std::int64_t> columns_;
};

// The rows of a product of `width` numbers; none where the file has neither a tensor of its own nor a shared one.
std::optional<TensorRows> rows_of(const engine::GgufFile& file, const std::string& block, const ProductOp& op,
                                  std::int64_t width) {
  const auto find = [&](const char* name) {
    const GgufTensor* tensor = file.find_tensor(block + name);
    return tensor != nullptr && tensor->format != nullptr && tensor->shape.size() == 2 ? tensor : nullptr;
  };
  const GgufTensor* own = find(op.weight);
  if (own != nullptr && own->shape[1] == width) return TensorRows{own, 0, width, -1};
  // Delta nets have one of this name, too.
  const GgufTensor* shared = op.shared == nullptr || find("ssm_out.weight") != nullptr ? nullptr : find(op.shared);
  if (shared == nullptr) return std::nullopt;
  const std::int64_t last = shared->shape[1] - width, before = last - width;
  if (before < 0) return std::nullopt;
  if (op.part == Part::kFirst) return TensorRows{shared, 0, width, -1};
  return op.part == Part::kLast ? TensorRows{shared, last, width, before} : TensorRows{shared, before, width, last};
}

// The product that makes the stage; nothing where it is another kind of operation or its input is not there.
std::optional<Product> product_of(const engine::Model& model, const Reference& reference, const StageValues& theirs) {
  const engine::GgufFile& file = model.file();
  Stage in = Stage::kOutputNorm;
  std::optional<TensorRows> rows;
  std::vector<float> bias, scale;
  if (theirs.stage == Stage::kLogits) {
    const ProductOp own{Stage::kLogits, in, "output.weight", nullptr, nullptr},
        tied{Stage::kLogits, in, "token_embd.weight", nullptr, nullptr};
    rows = rows_of(file, "", file.find_tensor(own.weight) != nullptr ? own : tied, theirs.width);
  } else {
    const std::string block = "blk." + std::to_string(theirs.layer) + ".";
    // Beside experts the dense FFN's stages are those that all tokens share, by its own tensors.
    const bool beside = file.find_tensor(block + "pre_ffw_norm_2.weight") != nullptr;
    if (beside && (theirs.stage == Stage::kGate || theirs.stage == Stage::kUp || theirs.stage == Stage::kBlockOut)) {
      return std::nullopt;
    }
    for (ProductOp op : kProducts) {
      if (op.out != theirs.stage) continue;
      if (beside && op.out == Stage::kSharedGate) op.weight = "ffn_gate.weight";
      if (beside && op.out == Stage::kSharedUp) op.weight = "ffn_up.weight";
      rows = rows_of(file, block, op, theirs.width);
      if (!rows) continue;
      in = op.in;
      if (op.bias != nullptr) bias = vector_of(model, block + op.bias);
      if (op.scale != nullptr) scale = vector_of(model, block + op.scale);
      break;
    }
  }
  // A matrix that is stored turned multiplies turned rows.
  if (!rows || file.find("prism.hadamard.version") != nullptr) return std::nullopt;
  auto x = rows_at(reference.find(in, theirs.layer), theirs.positions);
  if (!x || std::ssize((*x)[0]) != rows->tensor->shape[0] || (!bias.empty() && std::ssize(bias) != theirs.width)) {
    return std::nullopt;
  }
  return Product(std::move(*x), *rows, std::move(bias), scale.empty() ? 1 : scale[0]);
}

std::vector<OpVariant> product_variants(const engine::Model& model, const Reference& reference,
                                        const StageValues& theirs, const StageValues* ours) {
  const auto product = product_of(model, reference, theirs);
  if (!product) return {};
  std::optional<Matrix> our_columns;
  if (ours != nullptr) our_columns = product->columns_of(*ours, theirs.positions);
  return judged(product->all(), product->columns_of(theirs, theirs.positions), our_columns ? &*our_columns : nullptr);
}

}  // namespace

std::vector<OpVariant> op_variants(const engine::Model& model, const Reference& reference, const StageValues& theirs,
                                   const StageValues* ours) {
  const Stage stage = theirs.stage;
  if (stage == Stage::kAttnNorm || stage == Stage::kFfnNorm || stage == Stage::kOutputNorm) {
    return norm_variants(model, reference, theirs, ours);
  }
  return product_variants(model, reference, theirs, ours);
}

OpVariant with_rounded_input(const engine::Model& model, const Reference& reference, const StageValues& theirs) {
  OpVariant best{"", std::numeric_limits<double>::infinity()};
  const auto product = product_of(model, reference, theirs);
  if (!product) return best;
  const Matrix columns = product->columns_of(theirs, theirs.positions);
  for (const auto& [name, made] : product->with_rounded_input()) {
    const double left = distance(made, columns);
    if (left < best.residual) best = {name, left};
  }
  return best;
}

}  // namespace rowmax::doctor
