#include "engine/io/gguf_parse.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "engine/io/byte_cursor.h"
#include "engine/io/gguf_format.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

std::string_view as_text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What a file that is not GGUF most likely is, from its first bytes.
std::string_view guess_content(std::string_view head) noexcept {
  struct Guess {
    std::string_view start;
    std::string_view text;
  };
  static constexpr Guess kGuesses[] = {
      {"version https://git-lfs", ": this is a Git LFS pointer, the model itself was not downloaded"},
      {"<", ": this looks like a web page, saved in place of the model"},
      {"{", ": this looks like JSON text"},
      {"PK\x03\x04", ": this is a ZIP archive (a PyTorch checkpoint or a wheel?)"},
      {"tjgg", ": this is a GGJT file, older than GGUF; convert the model anew"},
      {"lmgg", ": this is a GGML file, older than GGUF; convert the model anew"},
      {"FUGG", ": this is a big-endian file; convert it to little-endian"},
  };
  for (const Guess& guess : kGuesses) {
    if (head.starts_with(guess.start)) return guess.text;
  }
  // safetensors: a 64-bit length, then JSON.
  if (head.size() > 8 && head[8] == '{') return ": this looks like a safetensors file; convert it to GGUF";
  return "";
}

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, std::string name, const GgufOptions& options)
      : bytes_(bytes), cursor_(bytes), options_(options) {
    content_.name = std::move(name);
    content_.file_bytes = bytes.size();
    content_.alignment = kGgufDefaultAlignment;
  }

  Result<GgufContent> run() {
    ROWMAX_RETURN_IF_ERROR(read_header());
    content_.metadata.reserve(n_keys_);
    for (std::uint64_t i = 0; i < n_keys_; ++i) ROWMAX_RETURN_IF_ERROR(read_key(i));
    ROWMAX_RETURN_IF_ERROR(index_keys());
    ROWMAX_RETURN_IF_ERROR(read_alignment());
    content_.tensors.reserve(n_tensors_);
    for (std::uint64_t i = 0; i < n_tensors_; ++i) ROWMAX_RETURN_IF_ERROR(read_tensor(i));
    ROWMAX_RETURN_IF_ERROR(index_tensors());
    const std::uint64_t data_begin = align_up(cursor_.position(), content_.alignment);
    const std::uint64_t data_bytes = bytes_.size() > data_begin ? bytes_.size() - data_begin : 0;
    ROWMAX_RETURN_IF_ERROR(resolve_formats(content_, data_bytes, options_));
    ROWMAX_RETURN_IF_ERROR(place_tensors(content_, bytes_, cursor_.position()));
    return std::move(content_);
  }

 private:
  template <class... Parts>
  Error corrupt(const Parts&... parts) const {
    return Error{ErrorCode::kCorrupt, concat(content_.name, ": ", parts...)};
  }
  Error ends_inside(std::string_view what, std::uint64_t needed) const {
    return corrupt("the file ends inside ", what, ": ", needed, " bytes needed at byte ", cursor_.position(), ", ",
                   cursor_.remaining(), " left: incomplete download?");
  }
  template <class T>
  Status read(T* out, std::string_view what) {
    if (!cursor_.read(out)) return ends_inside(what, sizeof(T));
    return {};
  }

  Status read_header();
  Status check_version() const;
  Status read_string(std::string_view what, std::uint64_t max_bytes, std::string_view* out);
  Status read_key(std::uint64_t index);
  Status read_value(GgufType type, const std::string& what, GgufValue* out);
  Status read_array(const std::string& what, GgufArray* out);
  Status read_string_array(const std::string& what, std::uint64_t count, GgufArray* out);
  Status index_keys();
  Status read_alignment();
  Status read_tensor(std::uint64_t index);
  Status index_tensors();

  std::span<const std::byte> bytes_;
  ByteCursor cursor_;
  const GgufOptions& options_;
  GgufContent content_;
  std::uint64_t n_keys_ = 0;
  std::uint64_t n_tensors_ = 0;
};

Status Parser::check_version() const {
  const std::uint32_t version = content_.version;
  if (version == 2 || version == 3) return {};
  if ((version & 0xFFFF) == 0 && version != 0) {
    return Error{ErrorCode::kUnsupported, concat(content_.name, ": this is a big-endian GGUF file (version ",
                                                 __builtin_bswap32(version), "); convert it to little-endian")};
  }
  return Error{ErrorCode::kUnsupported,
               concat(content_.name, ": GGUF version ", version, ", expected 2 or 3",
                      version == 1 ? " (version 1 was used for some weeks of 2023; convert the model anew)" : "")};
}

Status Parser::read_header() {
  std::span<const std::byte> magic;
  if (!cursor_.take(kGgufMagic.size(), &magic)) return ends_inside("the header", kGgufMagic.size());
  if (as_text(magic) != kGgufMagic) {
    const std::string_view head = as_text(bytes_.first(std::min<std::size_t>(bytes_.size(), 32)));
    return corrupt("not a GGUF file: it starts with ", quote(head.substr(0, 4)), ", expected 'GGUF'",
                   guess_content(head));
  }
  ROWMAX_RETURN_IF_ERROR(read(&content_.version, "the header (version)"));
  ROWMAX_RETURN_IF_ERROR(check_version());
  ROWMAX_RETURN_IF_ERROR(read(&n_tensors_, "the header (tensor count)"));
  ROWMAX_RETURN_IF_ERROR(read(&n_keys_, "the header (key count)"));
  if (n_tensors_ > kGgufMaxTensors) {
    return corrupt("the header counts ", n_tensors_, " tensors, more than the limit of ", kGgufMaxTensors);
  }
  if (n_keys_ > kGgufMaxKeys) {
    return corrupt("the header counts ", n_keys_, " metadata keys, more than the limit of ", kGgufMaxKeys);
  }
  const std::uint64_t least = n_keys_ * kGgufMinKeyBytes + n_tensors_ * kGgufMinTensorBytes;
  if (least > cursor_.remaining()) {
    return corrupt("the header counts ", n_keys_, " metadata keys and ", n_tensors_, " tensors, which take at least ",
                   least, " bytes, but only ", cursor_.remaining(), " are left: incomplete download?");
  }
  return {};
}

Status Parser::read_string(std::string_view what, std::uint64_t max_bytes, std::string_view* out) {
  std::uint64_t length = 0;
  ROWMAX_RETURN_IF_ERROR(read(&length, what));
  if (length > max_bytes) {
    return corrupt(what, " has a length of ", length, " bytes, more than the limit of ", max_bytes);
  }
  std::span<const std::byte> text;
  if (!cursor_.take(length, &text)) return ends_inside(what, length);
  *out = as_text(text);
  return {};
}

Status Parser::read_key(std::uint64_t index) {
  const std::string place = concat("the name of metadata key ", index, " of ", n_keys_);
  std::string_view key;
  ROWMAX_RETURN_IF_ERROR(read_string(place, kGgufMaxKeyBytes, &key));
  if (key.empty()) return corrupt(place, " is empty");
  if (!is_printable_name(key)) return corrupt(place, " is not printable UTF-8: ", quote(key));
  const std::string what = concat("key ", quote(key));
  std::uint32_t type = 0;
  ROWMAX_RETURN_IF_ERROR(read(&type, what));
  GgufValue value;
  ROWMAX_RETURN_IF_ERROR(read_value(static_cast<GgufType>(type), what, &value));
  if (cursor_.position() > kGgufMaxMetadataBytes) {
    return corrupt(what, " ends at byte ", cursor_.position(), ": metadata is limited to ", kGgufMaxMetadataBytes,
                   " bytes");
  }
  content_.metadata.emplace_back(key, std::move(value));
  return {};
}

// The variant's alternative for a scalar of type T.
template <class T>
GgufValue scalar_value(GgufType type, T value) {
  if constexpr (std::is_floating_point_v<T>) {
    return {type, static_cast<double>(value)};
  } else if constexpr (std::is_signed_v<T>) {
    return {type, static_cast<std::int64_t>(value)};
  } else {
    return {type, static_cast<std::uint64_t>(value)};
  }
}

Status Parser::read_value(GgufType type, const std::string& what, GgufValue* out) {
  const auto scalar = [&]<class T>(T value) -> Status {
    ROWMAX_RETURN_IF_ERROR(read(&value, what));
    *out = scalar_value(type, value);
    return {};
  };
  switch (type) {
    case GgufType::kU8: return scalar(std::uint8_t{});
    case GgufType::kI8: return scalar(std::int8_t{});
    case GgufType::kU16: return scalar(std::uint16_t{});
    case GgufType::kI16: return scalar(std::int16_t{});
    case GgufType::kU32: return scalar(std::uint32_t{});
    case GgufType::kI32: return scalar(std::int32_t{});
    case GgufType::kU64: return scalar(std::uint64_t{});
    case GgufType::kI64: return scalar(std::int64_t{});
    case GgufType::kF32: return scalar(float{});
    case GgufType::kF64: return scalar(double{});
    case GgufType::kBool: {
      std::uint8_t byte = 0;
      ROWMAX_RETURN_IF_ERROR(read(&byte, what));
      if (byte > 1) return corrupt(what, " is a bool of value ", byte, ", expected 0 or 1");
      *out = {type, byte == 1};
      return {};
    }
    case GgufType::kString: {
      std::string_view text;
      ROWMAX_RETURN_IF_ERROR(read_string(what, kGgufMaxStringBytes, &text));
      *out = {type, text};
      return {};
    }
    case GgufType::kArray: {
      GgufArray array;
      ROWMAX_RETURN_IF_ERROR(read_array(what, &array));
      *out = {type, std::move(array)};
      return {};
    }
  }
  return corrupt(what, " has the unknown value type ", static_cast<std::uint32_t>(type), ", expected 0 to 12");
}

Status Parser::read_array(const std::string& what, GgufArray* out) {
  std::uint32_t element = 0;
  std::uint64_t count = 0;
  ROWMAX_RETURN_IF_ERROR(read(&element, what));
  ROWMAX_RETURN_IF_ERROR(read(&count, what));
  out->element_type = static_cast<GgufType>(element);
  if (out->element_type == GgufType::kString) return read_string_array(what, count, out);
  if (out->element_type == GgufType::kArray) {
    return Error{ErrorCode::kUnsupported,
                 concat(content_.name, ": ", what, " is an array of arrays, which is not supported")};
  }
  const std::size_t element_bytes = gguf_scalar_bytes(out->element_type);
  if (element_bytes == 0) {
    return corrupt(what, " is an array of the unknown element type ", element, ", expected 0 to 12");
  }
  if (count > cursor_.remaining() / element_bytes) {
    return corrupt(what, " is an array of ", count, " elements of ", element_bytes, " bytes, but only ",
                   cursor_.remaining(), " bytes are left: incomplete download?");
  }
  out->size = count;
  if (!cursor_.take(count * element_bytes, &out->bytes)) return ends_inside(what, count * element_bytes);
  if (out->element_type == GgufType::kBool) {
    const auto bad = std::ranges::find_if(out->bytes, [](std::byte b) { return b > std::byte{1}; });
    if (bad != out->bytes.end()) {
      return corrupt(what, " is an array of bool whose element ", bad - out->bytes.begin(), " is ",
                     std::to_integer<int>(*bad), ", expected 0 or 1");
    }
  }
  return {};
}

Status Parser::read_string_array(const std::string& what, std::uint64_t count, GgufArray* out) {
  constexpr std::uint64_t kLengthBytes = sizeof(std::uint64_t);
  if (count > cursor_.remaining() / kLengthBytes) {
    return corrupt(what, " is an array of ", count, " strings, which take at least ", kLengthBytes,
                   " bytes each, but only ", cursor_.remaining(), " bytes are left: incomplete download?");
  }
  out->size = count;
  out->strings.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint64_t length = 0;
    std::span<const std::byte> text;
    // The sentence is built only for an error: a vocabulary has hundreds of thousands of elements.
    if (!cursor_.read(&length)) return ends_inside(concat("element ", i, " of ", count, " of ", what), kLengthBytes);
    if (length > kGgufMaxStringBytes) {
      return corrupt("element ", i, " of ", count, " of ", what, " has a length of ", length,
                     " bytes, more than the limit of ", kGgufMaxStringBytes);
    }
    if (!cursor_.take(length, &text)) return ends_inside(concat("element ", i, " of ", count, " of ", what), length);
    out->strings.push_back(as_text(text));
  }
  return {};
}

Status Parser::index_keys() {
  index_by_name(content_);
  const auto name = [&](std::uint32_t i) { return content_.metadata[i].first; };
  const auto& order = content_.keys_by_name;
  const auto same = std::ranges::adjacent_find(order, {}, name);
  if (same != order.end()) return corrupt("key ", quote(name(*same)), " stands twice in the metadata");
  return {};
}

Status Parser::read_alignment() {
  const GgufValue* value = find_key(content_, kGgufAlignmentKey);
  if (value == nullptr) return {};
  if (value->type != GgufType::kU32) {
    return corrupt("key ", quote(kGgufAlignmentKey), " expected u32, found ", gguf_type_name(value->type));
  }
  const std::uint64_t alignment = std::get<std::uint64_t>(value->value);
  if (alignment < kGgufMinAlignment || alignment > kGgufMaxAlignment || (alignment & (alignment - 1)) != 0) {
    return corrupt("key ", quote(kGgufAlignmentKey), " is ", alignment, ", expected a power of two from ",
                   kGgufMinAlignment, " to ", kGgufMaxAlignment);
  }
  content_.alignment = static_cast<std::uint32_t>(alignment);
  return {};
}

Status Parser::read_tensor(std::uint64_t index) {
  const std::string place = concat("the name of tensor ", index, " of ", n_tensors_);
  GgufTensor tensor;
  ROWMAX_RETURN_IF_ERROR(read_string(place, kGgufMaxTensorNameBytes, &tensor.name));
  if (tensor.name.empty()) return corrupt(place, " is empty");
  if (!is_printable_name(tensor.name)) return corrupt(place, " is not printable UTF-8: ", quote(tensor.name));
  const std::string what = concat("tensor ", quote(tensor.name));
  std::uint32_t n_dims = 0;
  ROWMAX_RETURN_IF_ERROR(read(&n_dims, what));
  if (n_dims < 1 || n_dims > kGgufMaxDims) {
    return corrupt(what, " has ", n_dims, " dimensions, expected 1 to ", kGgufMaxDims);
  }
  tensor.shape.resize(n_dims);
  for (std::int64_t& dim : tensor.shape) ROWMAX_RETURN_IF_ERROR(read(&dim, what));
  ROWMAX_RETURN_IF_ERROR(read(&tensor.type, what));
  ROWMAX_RETURN_IF_ERROR(read(&tensor.offset, what));
  content_.tensors.push_back(std::move(tensor));
  return {};
}

Status Parser::index_tensors() {
  index_by_name(content_);
  const auto name = [&](std::uint32_t i) { return content_.tensors[i].name; };
  const auto& order = content_.tensors_by_name;
  const auto same = std::ranges::adjacent_find(order, {}, name);
  if (same != order.end()) return corrupt("tensor ", quote(name(*same)), " stands twice in the file");
  return {};
}

template <class Name>
void sort_by_name(std::vector<std::uint32_t>& order, std::size_t n, Name name) {
  order.resize(n);
  std::iota(order.begin(), order.end(), 0u);
  // Sorted rather than hashed: no choice of names makes it slow.
  std::ranges::sort(order, {}, name);
}

template <class T, class Name>
const T* find_sorted(std::span<const std::uint32_t> order, const T* items, std::string_view wanted,
                     Name name) noexcept {
  const auto at = std::ranges::lower_bound(order, wanted, {}, [&](std::uint32_t i) { return name(items[i]); });
  return at != order.end() && name(items[*at]) == wanted ? &items[*at] : nullptr;
}

}  // namespace

void index_by_name(GgufContent& content) {
  sort_by_name(content.keys_by_name, content.metadata.size(),
               [&](std::uint32_t i) { return content.metadata[i].first; });
  sort_by_name(content.tensors_by_name, content.tensors.size(),
               [&](std::uint32_t i) { return content.tensors[i].name; });
}

const GgufValue* find_key(const GgufContent& content, std::string_view key) noexcept {
  const auto* entry = find_sorted(content.keys_by_name, content.metadata.data(), key,
                                  [](const auto& candidate) { return candidate.first; });
  return entry != nullptr ? &entry->second : nullptr;
}

const GgufTensor* find_tensor(const GgufContent& content, std::string_view name) noexcept {
  return find_sorted(content.tensors_by_name, content.tensors.data(), name,
                     [](const GgufTensor& tensor) { return tensor.name; });
}

Result<GgufContent> parse_gguf(std::span<const std::byte> bytes, std::string name, const GgufOptions& options) {
  return Parser(bytes, std::move(name), options).run();
}

}  // namespace rowmax::engine
