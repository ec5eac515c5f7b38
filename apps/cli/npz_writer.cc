#include "apps/cli/npz_writer.h"

#include <array>
#include <bit>

#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

static_assert(std::endian::native == std::endian::little, "arrays are written as they lie in memory");

constexpr std::uint64_t kMaxArchiveBytes = 0xFFFF'FFFF;
constexpr std::uint16_t kZipVersion = 20;
constexpr std::uint16_t kDosDate = (0 << 9) | (1 << 5) | 1;  // 1980-01-01: the same bytes every time

std::uint32_t crc32(std::string_view bytes) {
  static const std::array<std::uint32_t, 256> table = [] {
    std::array<std::uint32_t, 256> entries{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xEDB88320u : 0u);
      entries[i] = value;
    }
    return entries;
  }();
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const char c : bytes) crc = (crc >> 8) ^ table[(crc ^ static_cast<unsigned char>(c)) & 0xFF];
  return ~crc;
}

void put16(std::string& out, std::uint16_t value) {
  out += static_cast<char>(value & 0xFF);
  out += static_cast<char>(value >> 8);
}
void put32(std::string& out, std::uint64_t value) {
  put16(out, static_cast<std::uint16_t>(value & 0xFFFF));
  put16(out, static_cast<std::uint16_t>((value >> 16) & 0xFFFF));
}

// The part that the local and the central header have in common.
void put_common(std::string& out, std::uint32_t crc, std::size_t size, std::size_t name_size) {
  put16(out, kZipVersion);
  put16(out, 0);  // flags
  put16(out, 0);  // stored
  put16(out, 0);  // time
  put16(out, kDosDate);
  put32(out, crc);
  put32(out, size);
  put32(out, size);
  put16(out, static_cast<std::uint16_t>(name_size));
  put16(out, 0);  // extra field
}

}  // namespace

void NpzWriter::add(std::string_view name, std::span<const std::int32_t> values) {
  add_bytes(name, "<i4", values.size(), {reinterpret_cast<const char*>(values.data()), values.size_bytes()});
}

void NpzWriter::add(std::string_view name, std::span<const double> values) {
  add_bytes(name, "<f8", values.size(), {reinterpret_cast<const char*>(values.data()), values.size_bytes()});
}

void NpzWriter::add_bytes(std::string_view name, std::string_view dtype, std::size_t count, std::string_view bytes) {
  std::string header =
      "{'descr': '" + std::string(dtype) + "', 'fortran_order': False, 'shape': (" + std::to_string(count) + ",), }";
  constexpr std::size_t kPreamble = 10;  // magic, version, length
  header.append(63 - (kPreamble + header.size()) % 64, ' ');
  header += '\n';
  std::string npy("\x93NUMPY\x01\x00", 8);
  put16(npy, static_cast<std::uint16_t>(header.size()));
  npy += header;
  npy += bytes;
  entries_.push_back({std::string(name) + ".npy", std::move(npy)});
}

Status NpzWriter::write(const std::string& path, const engine::OutputOptions& options) const {
  std::string archive, directory;
  for (const Entry& entry : entries_) {
    const std::uint32_t crc = crc32(entry.bytes);
    const std::size_t offset = archive.size();
    put32(archive, 0x04034b50);
    put_common(archive, crc, entry.bytes.size(), entry.name.size());
    archive += entry.name;
    archive += entry.bytes;
    if (archive.size() > kMaxArchiveBytes) return Error{ErrorCode::kLimit, path + " would be larger than 4 GiB"};
    put32(directory, 0x02014b50);
    put16(directory, kZipVersion);
    put_common(directory, crc, entry.bytes.size(), entry.name.size());
    put16(directory, 0);  // comment
    put16(directory, 0);  // disk
    put16(directory, 0);  // internal attributes
    put32(directory, 0);  // external attributes
    put32(directory, offset);
    directory += entry.name;
  }
  const std::size_t directory_offset = archive.size();
  archive += directory;
  put32(archive, 0x06054b50);
  put32(archive, 0);  // disks
  put16(archive, static_cast<std::uint16_t>(entries_.size()));
  put16(archive, static_cast<std::uint16_t>(entries_.size()));
  put32(archive, directory.size());
  put32(archive, directory_offset);
  put16(archive, 0);  // comment

  ROWMAX_TRY(file, engine::OutputFile::create(path, options));
  ROWMAX_RETURN_IF_ERROR(file.append(std::as_bytes(std::span(archive))));
  return file.commit();
}

}  // namespace rowmax::cli
