#include "engine/convert/hadamard.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "engine/io/hadamard_keys.h"
#include "engine/io/text.h"
#include "engine/model/weight_table.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::string_view kEmbedding = "token_embd.weight";
constexpr std::string_view kHead = "output.weight";
using Signs = std::vector<std::int8_t>;

// "blk.<layer>." of layers that guess tokens ahead: models are run without them, so their matrices stay as they are.
std::set<std::string_view> draft_layers(const std::vector<TensorRows>& tensors) {
  std::set<std::string_view> prefixes;
  for (const TensorRows& tensor : tensors) {
    const std::size_t at = tensor.name.find(".nextn.");
    if (at != std::string::npos) prefixes.insert(std::string_view(tensor.name).substr(0, at + 1));
  }
  return prefixes;
}

bool is_layer_matrix(std::string_view name, const std::set<std::string_view>& draft) {
  const WeightInfo* row = find_layer_weight(name);
  return row != nullptr && row->hadamard && !draft.contains(name.substr(0, name.find('.', name.find('.') + 1) + 1));
}

// Fair coins, fixed by width and column: the finaliser of splitmix64.
Signs signs_for(std::int64_t width) {
  Signs signs;
  for (std::int64_t column = 0; column < width; ++column) {
    auto bits = (static_cast<std::uint64_t>(width) << 32) + static_cast<std::uint64_t>(column) + 0x9E3779B97F4A7C15ull;
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9ull;
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBull;
    signs.push_back((bits >> 63) != 0 ? -1 : 1);
  }
  return signs;
}

// A row w becomes H (s * w) / sqrt(block); scratch has as many numbers.
void fold_row(float* row, const Signs& signs, std::int64_t block, std::vector<double>& scratch) {
  const std::size_t n = signs.size(), run = static_cast<std::size_t>(block);
  for (std::size_t i = 0; i < n; ++i) scratch[i] = static_cast<double>(row[i]) * signs[i];
  for (std::size_t h = 1; h < run; h *= 2) {
    for (std::size_t i = 0; i < n; ++i) {
      if ((i & h) != 0) continue;
      const double a = scratch[i], b = scratch[i + h];
      scratch[i] = a + b;
      scratch[i + h] = a - b;
    }
  }
  const double root = std::sqrt(static_cast<double>(block));
  for (std::size_t i = 0; i < n; ++i) row[i] = static_cast<float>(scratch[i] / root);
}

void fold_tensor(TensorRows& tensor, std::int64_t block, std::shared_ptr<const Signs> signs) {
  tensor.read = [read = std::move(tensor.read), cols = tensor.cols(), block, signs = std::move(signs)](
                    std::int64_t row, std::int64_t n_rows, float* out) {
    read(row, n_rows, out);
    std::vector<double> scratch(signs->size());
    for (std::int64_t i = 0; i < n_rows; ++i) fold_row(out + i * cols, *signs, block, scratch);
  };
  tensor.format = nullptr;  // its bytes say something else now
}

void set_keys(GgufWriter& keys, std::int64_t block, const std::map<std::int64_t, std::shared_ptr<const Signs>>& signs,
              const std::vector<std::string>& products, const std::vector<std::string>& lookups) {
  const auto key = [](std::string_view name) { return concat(kHadamardPrefix, name); };
  std::vector<std::int32_t> widths;
  Signs values;
  for (const auto& [width, of_width] : signs) {
    widths.push_back(static_cast<std::int32_t>(width));
    values.insert(values.end(), of_width->begin(), of_width->end());
  }
  keys.set_uint32(key("version"), kHadamardVersion);
  keys.set_uint32(key("block_size"), static_cast<std::uint32_t>(block));
  keys.set_string(key("transform"), kHadamardTransform);
  keys.set_string(key("axis"), kHadamardAxis);
  keys.set_string(key("sign_mode"), "explicit");
  keys.set_int32s(key("sign_widths"), widths);
  // Bytes, as in the published files.
  GgufArray array{GgufType::kI8, values.size(), std::as_bytes(std::span(values)), {}};
  keys.set_value(key("sign_values"), {GgufType::kArray, std::move(array)});
  keys.set_strings(key("weight_names"), products);
  keys.set_strings(key("inverse_weight_names"), lookups);
}

}  // namespace

Status fold_hadamard(std::vector<TensorRows>& tensors, std::int64_t block, GgufWriter& keys,
                     std::vector<std::string>& notices) {
  if (!is_hadamard_block(block)) {
    return Error{ErrorCode::kInvalidArgument,
                 concat("--hadamard: expected a power of two up to ", kHadamardMaxBlock, ", found ", block)};
  }
  const bool tied = std::ranges::find(tensors, kHead, &TensorRows::name) == tensors.end();
  const std::set<std::string_view> draft = draft_layers(tensors);
  std::vector<std::string> products, lookups;
  std::map<std::int64_t, std::shared_ptr<const Signs>> signs;
  for (TensorRows& tensor : tensors) {
    const bool lookup = tensor.name == kEmbedding;
    if (tensor.shape.size() < 2 || !(lookup || tensor.name == kHead || is_layer_matrix(tensor.name, draft))) continue;
    if (lookup && tied) {
      notices.push_back(concat(tensor.name, " is the head too and stays as it is"));
      continue;
    }
    if (tensor.cols() % block != 0) {
      return Error{ErrorCode::kInvalidArgument, concat("--hadamard: expected a divisor of the ", tensor.cols(),
                                                       " columns of ", quote(tensor.name), ", found ", block)};
    }
    auto& of_width = signs[tensor.cols()];
    if (of_width == nullptr) of_width = std::make_shared<const Signs>(signs_for(tensor.cols()));
    fold_tensor(tensor, block, of_width);
    (lookup ? lookups : products).push_back(tensor.name);
  }
  if (products.empty()) {
    return Error{ErrorCode::kUnsupported, "--hadamard: the model has no matrix that could be turned"};
  }
  set_keys(keys, block, signs, products, lookups);
  return {};
}

}  // namespace rowmax::engine
