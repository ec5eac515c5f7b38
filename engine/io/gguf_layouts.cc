#include <algorithm>
#include <cstring>

#include "base/guarded.h"
#include "engine/io/gguf_format.h"
#include "rowmax/engine/gguf.h"

namespace rowmax::engine {
namespace {

bool holds(const GgufTensor& tensor, const FormatInfo& format) {
  if (tensor.shape.size() < 2) return false;
  const std::int64_t cols = tensor.shape[0], rows = tensor.n_elements() / cols;
  return cols % format.block_elements == 0 && rows % format.row_group == 0 &&
         format_tensor_bytes(format, rows, cols) == static_cast<std::int64_t>(tensor.data.size());
}

bool chosen_by_name(std::uint32_t id, const GgufOptions& options) {
  return std::ranges::any_of(formats_of(id), [&](const FormatInfo& format) {
    return std::ranges::find(options.formats, format.name) != options.formats.end();
  });
}

// FNV-1a: not meant to withstand anybody.
class Hash {
 public:
  void add(const void* bytes, std::size_t n) noexcept {
    const auto* p = static_cast<const unsigned char*>(bytes);
    for (std::size_t i = 0; i < n; ++i) value_ = (value_ ^ p[i]) * 0x100000001B3u;
  }
  void add(std::uint64_t number) noexcept { add(&number, sizeof number); }
  std::uint64_t value() const noexcept { return value_; }

 private:
  std::uint64_t value_ = 0xCBF29CE484222325u;
};

std::vector<GgufLayoutDoubt> find_doubts(const GgufFile& file) {
  std::vector<GgufLayoutDoubt> doubts;
  std::vector<std::uint32_t> seen;
  for (const GgufTensor& first : file.tensors()) {
    if (first.format == nullptr || std::ranges::find(seen, first.type) != seen.end()) continue;
    seen.push_back(first.type);
    if (chosen_by_name(first.type, file.options())) continue;
    for (const FormatInfo& other : formats_of(first.type)) {
      const bool all = std::ranges::all_of(file.tensors(), [&](const GgufTensor& tensor) {
        return tensor.type != first.type || (tensor.format != &other && holds(tensor, other));
      });
      if (all) doubts.push_back({first.format->name, other.name});
    }
  }
  return doubts;
}

std::vector<GgufLayoutChoice> find_choices(const GgufFile& file) {
  std::vector<GgufLayoutChoice> choices;
  std::vector<std::uint32_t> seen;
  for (const GgufTensor& tensor : file.tensors()) {
    if (tensor.format == nullptr || std::ranges::find(seen, tensor.type) != seen.end()) continue;
    seen.push_back(tensor.type);
    GgufLayoutChoice choice{tensor.format->name, {}};
    for (const FormatInfo& format : formats_of(tensor.type)) choice.names.emplace_back(format.name);
    if (choice.names.size() > 1) choices.push_back(std::move(choice));
  }
  return choices;
}

}  // namespace

Result<std::vector<GgufLayoutChoice>> gguf_layout_choices(const GgufFile& file) {
  return base::guarded([&]() -> Result<std::vector<GgufLayoutChoice>> { return find_choices(file); });
}

Result<std::vector<GgufLayoutDoubt>> gguf_layout_doubts(const GgufFile& file) {
  return base::guarded([&]() -> Result<std::vector<GgufLayoutDoubt>> { return find_doubts(file); });
}

std::uint64_t gguf_content_hash(const GgufFile& file) {
  constexpr std::size_t kSample = 4096;
  Hash hash;
  hash.add(file.file_bytes());
  for (const GgufTensor& tensor : file.tensors()) {
    hash.add(tensor.name.data(), tensor.name.size());
    hash.add(tensor.type);
    for (const std::int64_t n : tensor.shape) hash.add(static_cast<std::uint64_t>(n));
    const std::size_t n = std::min(kSample, tensor.data.size());
    hash.add(tensor.data.data(), n);
    hash.add(tensor.data.last(n).data(), n);
  }
  return hash.value();
}

}  // namespace rowmax::engine
