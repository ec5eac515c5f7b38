// libFuzzer: any bytes give either an error or a file of which everything can be read.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <variant>

#include "rowmax/engine/gguf.h"

namespace {

using rowmax::engine::GgufArray;
using rowmax::engine::GgufFile;
using rowmax::engine::GgufTensor;
using rowmax::engine::GgufType;
using rowmax::engine::GgufValue;

void require(bool condition) {
  if (!condition) std::abort();
}

// Reads every byte, so that the address sanitizer sees each.
std::uint64_t sum(std::span<const std::byte> bytes) {
  std::uint64_t total = 0;
  for (const std::byte b : bytes) total += std::to_integer<std::uint64_t>(b);
  return total;
}

std::uint64_t touch(const GgufArray& array) {
  std::uint64_t total = sum(array.bytes);
  for (const std::string_view text : array.strings) total += sum(std::as_bytes(std::span(text)));
  if (array.element_type == GgufType::kString) {
    require(array.strings.size() == array.size);
    return total;
  }
  for (std::size_t i = 0; i < array.size; ++i) {
    total += static_cast<std::uint64_t>(array.as_int(i)) + (std::isfinite(array.as_double(i)) ? 1u : 0u);
  }
  return total;
}

std::uint64_t touch(const GgufFile& file) {
  std::uint64_t total = 0;
  for (const auto& [key, value] : file.metadata()) {
    require(file.find(key) == &value);
    if (const auto* text = std::get_if<std::string_view>(&value.value)) total += sum(std::as_bytes(std::span(*text)));
    if (const auto* array = std::get_if<GgufArray>(&value.value)) total += touch(*array);
    const bool read = file.get_uint(key).ok() || file.get_float(key).ok() || file.get_bool(key).ok() ||
                      file.get_string(key).ok() || file.get_int_array(key).ok();
    total += read ? 1 : 0;
  }
  for (const GgufTensor& tensor : file.tensors()) {
    require(file.find_tensor(tensor.name) == &tensor);
    require(tensor.n_elements() > 0 && !tensor.data.empty());
    total += sum(tensor.data);
  }
  return total;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = GgufFile::parse(std::as_bytes(std::span(data, size)), "fuzz");
  if (file.ok()) {
    volatile std::uint64_t sink = touch(*file);
    (void)sink;
  } else {
    require(!file.error().message.empty());
  }
  return 0;
}
