#include "engine/io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/guarded.h"
#include "engine/io/json.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the reference reader's own bound
constexpr std::size_t kMaxTensorDims = 8;
constexpr std::size_t kMaxTensors = 1 << 18;
constexpr std::size_t kMaxTensorValues = 8 + kMaxTensorDims + 2;  // of the header's JSON
constexpr std::size_t kMaxHeaderString = std::size_t{16} << 20;   // of the metadata; names are shorter

struct Dtype {
  std::string_view name;
  std::uint64_t bytes;
};
constexpr Dtype kDtypes[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
                             {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
                             {"U32", 4},  {"F32", 4}, {"I64", 8}, {"U64", 8},     {"F64", 8}};

template <class... Parts>
Error corrupt(const std::string& file, const Parts&... parts) {
  return Error{ErrorCode::kCorrupt, concat(file, ": ", parts...)};
}

bool is_count(const Json& value) { return value.as_int().value_or(-1) >= 0; }

// One entry of the header, without its bytes yet.
struct Entry {
  SafetensorsTensor tensor;
  std::pair<std::uint64_t, std::uint64_t> place;
};

Result<std::uint64_t> bytes_of(const SafetensorsTensor& tensor, const std::string& where) {
  const auto* dtype = std::ranges::find(kDtypes, tensor.dtype, &Dtype::name);
  if (dtype == std::end(kDtypes)) return corrupt(where, "expected a known dtype, found ", quote(tensor.dtype));
  std::uint64_t n = dtype->bytes;
  for (const std::int64_t dim : tensor.shape) {
    if (__builtin_mul_overflow(n, static_cast<std::uint64_t>(dim), &n)) {
      return corrupt(where, "has a shape whose product exceeds 2^64 - 1 bytes");
    }
  }
  return n;
}

Result<Entry> read_entry(const std::string& file, const std::string& name, const Json& value) {
  const std::string where = concat(file, ": tensor ", quote(name));
  if (!is_printable_name(name)) return corrupt(file, "tensor ", quote(name), " is not a printable name");
  const Json dtype = value.find("dtype"), shape = value.find("shape"), offsets = value.find("data_offsets");
  if (value.size() != 3 || !dtype || !shape || !offsets) {
    return corrupt(where, "expected exactly dtype, shape and data_offsets");
  }
  Entry entry;
  entry.tensor.name = name;
  if (!dtype.is_string()) return corrupt(where, "dtype: expected a string");
  entry.tensor.dtype = std::string(dtype.as_string());
  if (!shape.is_array() || shape.size() > kMaxTensorDims || !std::ranges::all_of(shape.elements(), is_count)) {
    return corrupt(where, "shape: expected up to ", kMaxTensorDims, " whole numbers from 0 on");
  }
  for (const Json& dim : shape.elements()) entry.tensor.shape.push_back(*dim.as_int());
  if (!offsets.is_array() || offsets.size() != 2 || !std::ranges::all_of(offsets.elements(), is_count)) {
    return corrupt(where, "data_offsets: expected two whole numbers from 0 on");
  }
  entry.place = {static_cast<std::uint64_t>(*offsets.at(0).as_int()),
                 static_cast<std::uint64_t>(*offsets.at(1).as_int())};
  ROWMAX_TRY(n_bytes, bytes_of(entry.tensor, where));
  if (entry.place.second < entry.place.first || entry.place.second - entry.place.first != n_bytes) {
    return corrupt(where, "data_offsets: expected ", n_bytes, " bytes for its dtype and shape, found ",
                   entry.place.first, " to ", entry.place.second);
  }
  return entry;
}

}  // namespace

Status SafetensorsFile::read(std::span<const std::byte> bytes) {
  std::uint64_t header_bytes = 0;
  if (bytes.size() < sizeof header_bytes) return corrupt(name_, bytes.size(), " bytes are no safetensors file");
  std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
  const std::uint64_t room = bytes.size() - sizeof header_bytes;
  if (header_bytes > std::min(room, kMaxHeaderBytes)) {
    return corrupt(name_, "header length: expected at most ", std::min(room, kMaxHeaderBytes), ", found ",
                   header_bytes);
  }
  const auto header_text = bytes.subspan(sizeof header_bytes, header_bytes);
  const JsonLimits limits{.depth = 4, .values = kMaxTensors * kMaxTensorValues, .string_bytes = kMaxHeaderString};
  ROWMAX_TRY(document,
             parse_json({reinterpret_cast<const char*>(header_text.data()), header_text.size()}, name_, limits));
  const Json header = document.root();
  if (!header.is_object()) return corrupt(name_, "header: expected a JSON object");
  if (header.size() > kMaxTensors) return corrupt(name_, header.size(), " tensors, at most ", kMaxTensors);
  std::vector<Entry> entries;
  entries.reserve(header.size());
  for (const auto& [key, value] : header.members()) {
    const std::string name(key);
    if (name == "__metadata__") {
      for (const auto& [word, text] : value.members()) {
        if (text.is_string()) metadata_.emplace(word, text.as_string());
      }
      continue;
    }
    ROWMAX_TRY(entry, read_entry(name_, name, value));
    entries.push_back(std::move(entry));
  }
  std::ranges::stable_sort(entries, {}, &Entry::place);
  const auto data = bytes.subspan(sizeof header_bytes + header_bytes);
  std::uint64_t expected = 0;
  for (Entry& entry : entries) {
    const auto [begin, end] = entry.place;
    if (begin != expected) {
      return corrupt(name_, "tensor ", quote(entry.tensor.name), ": data_offsets: expected to begin at ", expected,
                     ", found ", begin, begin < expected ? " (two tensors overlap)" : " (a hole)");
    }
    if (end > data.size()) {
      return corrupt(name_, "tensor ", quote(entry.tensor.name), ": ends at byte ", end, " of ", data.size(),
                     " bytes of data");
    }
    entry.tensor.data = data.subspan(begin, end - begin);
    expected = end;
    tensors_.push_back(std::move(entry.tensor));
  }
  if (expected != data.size()) {
    return corrupt(name_, "expected ", expected, " bytes of data, found ", data.size());
  }
  for (std::size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
  return {};
}

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  return base::guarded([&]() -> Result<SafetensorsFile> {
    ROWMAX_TRY(map, MappedFile::open(path));
    SafetensorsFile file;
    file.name_ = path;
    file.map_.emplace(std::move(map));
    ROWMAX_RETURN_IF_ERROR(file.read(file.map_->bytes()));
    ROWMAX_RETURN_IF_ERROR(file.map_->check_size());
    return file;
  });
}

Result<SafetensorsFile> SafetensorsFile::parse(std::span<const std::byte> bytes, std::string name) {
  return base::guarded([&]() -> Result<SafetensorsFile> {
    SafetensorsFile file;
    file.name_ = std::move(name);
    ROWMAX_RETURN_IF_ERROR(file.read(bytes));
    return file;
  });
}

const SafetensorsTensor* SafetensorsFile::find(std::string_view name) const noexcept {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

void SafetensorsFile::drop_pages(std::span<const std::byte> range) const noexcept {
  if (map_) map_->drop_pages(range);
}

}  // namespace rowmax::engine
