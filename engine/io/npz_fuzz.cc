// libFuzzer: any bytes, as an archive and as the one member of a sound archive (whose checksum nobody would guess), give
// either an error or arrays that lie inside the file, each as large as its shape says.
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "engine/io/npz.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void read(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  const auto arrays = rowmax::engine::read_npz(bytes, "fuzz");
  if (!arrays.ok()) {
    require(!arrays.error().message.empty());
    return;
  }
  std::uint64_t sum = 0;
  for (const auto& array : *arrays) {
    require(array.data.data() >= bytes.data() && array.data.data() + array.data.size() <= bytes.data() + bytes.size());
    require(array.dtype.size() == 3);
    std::uint64_t n = static_cast<std::uint64_t>(array.dtype[2] - '0');
    for (const std::int64_t dim : array.shape) {
      require(dim >= 0);
      n *= static_cast<std::uint64_t>(dim);
    }
    require(n == array.data.size());
    for (const std::byte byte : array.data) sum += std::to_integer<std::uint64_t>(byte);
  }
  volatile std::uint64_t sink = sum;
  (void)sink;
}

void put(std::string& out, std::uint64_t value, int n_bytes) {
  for (int i = 0; i < n_bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

std::string archive_of(std::string_view member) {
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const char c : member) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320u : 0u);
  }
  const std::string name = "a.npy";
  std::string common;
  put(common, 20, 4);
  put(common, 0, 6);  // stored
  put(common, ~crc, 4);
  put(common, member.size(), 4);
  put(common, member.size(), 4);
  put(common, name.size(), 4);
  std::string out;
  put(out, 0x04034b50, 4);
  out += common + name + std::string(member);
  const std::size_t directory = out.size();
  put(out, 0x02014b50, 4);
  put(out, 20, 2);
  out += common;
  out.append(10, '\0');
  put(out, 0, 4);
  out += name;
  const std::size_t end = out.size();
  put(out, 0x06054b50, 4);
  put(out, 0, 4);
  put(out, 1, 2);
  put(out, 1, 2);
  put(out, end - directory, 4);
  put(out, directory, 4);
  put(out, 0, 2);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read(text);
  read(archive_of(text));
  return 0;
}
