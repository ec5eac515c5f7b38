// libFuzzer: any bytes give either an error or a file whose tensors are whole, apart and inside it.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "engine/io/safetensors.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = rowmax::engine::SafetensorsFile::parse(std::as_bytes(std::span(data, size)), "fuzz");
  if (!file.ok()) {
    require(!file.error().message.empty());
    return 0;
  }
  std::uint64_t total = 0, sum = 0;
  for (const auto& tensor : file->tensors()) {
    require(file->find(tensor.name) == &tensor);
    for (const std::byte byte : tensor.data) sum += std::to_integer<std::uint64_t>(byte);
    total += tensor.data.size();
  }
  require(total <= size);
  volatile std::uint64_t sink = sum;
  (void)sink;
  return 0;
}
