#include "engine/io/npz.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50;
constexpr std::size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kMaxComment = 0xFFFF;
constexpr std::size_t kMaxArrayDims = 8;

Error corrupt(const std::string& name, const std::string& what) { return {ErrorCode::kCorrupt, name + ": " + what}; }

std::uint32_t number(std::span<const std::byte> bytes, std::size_t at, int n_bytes) {
  std::uint32_t value = 0;
  for (int i = 0; i < n_bytes; ++i) {
    value |= static_cast<std::uint32_t>(bytes[at + static_cast<std::size_t>(i)]) << (8 * i);
  }
  return value;
}
std::uint32_t u16(std::span<const std::byte> bytes, std::size_t at) { return number(bytes, at, 2); }
std::uint32_t u32(std::span<const std::byte> bytes, std::size_t at) { return number(bytes, at, 4); }

std::string_view text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::uint32_t crc32(std::span<const std::byte> bytes) {
  std::uint32_t crc = 0xFFFFFFFFu;
  static const std::array<std::uint32_t, 256> table = [] {
    std::array<std::uint32_t, 256> out{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      out[i] = i;
      for (int bit = 0; bit < 8; ++bit) out[i] = (out[i] >> 1) ^ ((out[i] & 1) != 0 ? 0xEDB88320u : 0u);
    }
    return out;
  }();
  for (const std::byte b : bytes) crc = (crc >> 8) ^ table[(crc ^ static_cast<std::uint32_t>(b)) & 0xFF];
  return ~crc;
}

// The value behind 'key': in a .npy header, which is a Python dict of three keys.
std::string_view value_of(std::string_view header, std::string_view key) {
  const std::string quoted = "'" + std::string(key) + "'";
  std::size_t at = header.find(quoted);
  if (at == std::string_view::npos) return {};
  at = header.find(':', at + quoted.size());
  if (at == std::string_view::npos) return {};
  std::string_view value = header.substr(at + 1);
  while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
  const char closing = value.starts_with('(') ? ')' : value.starts_with('\'') ? '\'' : ',';
  const std::size_t end = value.find(closing, closing == '\'' ? 1 : 0);
  if (end == std::string_view::npos) return {};
  return value.substr(0, closing == ',' ? end : end + 1);
}

// "(3, 4)", "(3,)", "()".
bool read_shape(std::string_view value, std::vector<std::int64_t>& shape) {
  if (value.size() < 2 || value.front() != '(') return false;
  value = value.substr(1, value.size() - 2);
  while (!value.empty()) {
    while (value.starts_with(' ') || value.starts_with(',')) value.remove_prefix(1);
    if (value.empty()) break;
    std::int64_t dim = 0;
    const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), dim);
    if (code != std::errc() || dim < 0 || shape.size() == kMaxArrayDims) return false;
    shape.push_back(dim);
    value.remove_prefix(static_cast<std::size_t>(end - value.data()));
  }
  return true;
}

Result<NpyArray> read_npy(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.size() < 12 || !text(bytes).starts_with("\x93NUMPY")) return corrupt(where, "is no .npy array");
  const bool wide = bytes[6] != std::byte{1};
  const std::size_t begin = wide ? 12 : 10, length = wide ? u32(bytes, 8) : u16(bytes, 8);
  if (length > bytes.size() - begin) return corrupt(where, "has a header that ends beyond it");
  const std::string_view header = text(bytes.subspan(begin, length));
  NpyArray array;
  const std::string_view dtype = value_of(header, "descr"), order = value_of(header, "fortran_order");
  if (dtype.size() < 3 || !read_shape(value_of(header, "shape"), array.shape)) {
    return corrupt(where, "has a header without descr and shape");
  }
  array.dtype = dtype.substr(1, dtype.size() - 2);
  constexpr std::string_view kKnown[] = {"<f2", "<f4", "<f8", "<i4", "<i8"};
  if (std::ranges::find(kKnown, array.dtype) == std::end(kKnown) || order != "False") {
    return Error{ErrorCode::kUnsupported, where +
                                              ": expected <f2, <f4, <f8, <i4 or <i8, rows behind each other; found " +
                                              array.dtype + (order == "False" ? "" : " in Fortran's order")};
  }
  std::uint64_t n = static_cast<std::uint64_t>(array.dtype[2] - '0');
  for (const std::int64_t dim : array.shape) {
    if (__builtin_mul_overflow(n, static_cast<std::uint64_t>(dim), &n))
      return corrupt(where, "has an impossible shape");
  }
  array.data = bytes.subspan(begin + length);
  if (array.data.size() != n) {
    return corrupt(
        where, "expected " + std::to_string(n) + " bytes for its shape, found " + std::to_string(array.data.size()));
  }
  return array;
}

// Where the list of members begins, and how many there are.
Result<std::pair<std::size_t, std::size_t>> find_directory(std::span<const std::byte> bytes, const std::string& name) {
  for (std::size_t back = kEndBytes; back <= std::min(bytes.size(), kEndBytes + kMaxComment); ++back) {
    const std::size_t at = bytes.size() - back;
    if (u32(bytes, at) != kEnd) continue;
    const std::size_t count = u16(bytes, at + 10), directory = u32(bytes, at + 16);
    if (count == 0xFFFF || directory == 0xFFFFFFFFu) {
      return Error{ErrorCode::kUnsupported, name + ": a zip file past 4 GiB; write safetensors in its place"};
    }
    return std::pair{directory, count};
  }
  return corrupt(name, "is no .npz file (a zip has an end of its directory)");
}

}  // namespace

Result<std::vector<NpyArray>> read_npz(std::span<const std::byte> bytes, const std::string& name) {
  ROWMAX_TRY(directory, find_directory(bytes, name));
  std::vector<NpyArray> arrays;
  std::size_t at = directory.first;
  for (std::size_t i = 0; i < directory.second; ++i) {
    if (at > bytes.size() || bytes.size() - at < kCentralBytes || u32(bytes, at) != kCentral) {
      return corrupt(name, "member " + std::to_string(i) + " is not where the directory says");
    }
    const std::size_t name_bytes = u16(bytes, at + 28), rest = u16(bytes, at + 30) + u16(bytes, at + 32);
    if (bytes.size() - at - kCentralBytes < name_bytes + rest) return corrupt(name, "its directory ends too early");
    std::string member(text(bytes.subspan(at + kCentralBytes, name_bytes)));
    const std::string where = name + ": " + member;
    const std::uint32_t method = u16(bytes, at + 10), crc = u32(bytes, at + 16);
    const std::size_t size = u32(bytes, at + 20), local = u32(bytes, at + 42);
    at += kCentralBytes + name_bytes + rest;
    if (!member.ends_with(".npy")) return corrupt(name, "has a member that is no .npy array: " + member);
    if (method != 0) {
      return Error{ErrorCode::kUnsupported,
                   where + " is compressed; numpy.savez (not savez_compressed) writes what can be read"};
    }
    if (local > bytes.size() || bytes.size() - local < kLocalBytes || u32(bytes, local) != kLocal) {
      return corrupt(where, "is not where the directory says");
    }
    const std::size_t begin = local + kLocalBytes + u16(bytes, local + 26) + u16(bytes, local + 28);
    if (begin > bytes.size() || size > bytes.size() - begin) return corrupt(where, "ends beyond the file");
    const auto data = bytes.subspan(begin, size);
    if (crc32(data) != crc) return corrupt(where, "has another checksum than the directory says");
    ROWMAX_TRY(array, read_npy(data, where));
    array.name = member.substr(0, member.size() - 4);
    arrays.push_back(std::move(array));
  }
  return arrays;
}

}  // namespace rowmax::engine
