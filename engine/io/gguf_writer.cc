#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <type_traits>

#include "base/guarded.h"
#include "engine/io/gguf_format.h"
#include "engine/io/text.h"
#include "rowmax/engine/gguf.h"
#include "rowmax/engine/output_file.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

using Bytes = std::vector<std::byte>;

void append_bytes(Bytes& out, const void* data, std::size_t size) {
  const auto* begin = static_cast<const std::byte*>(data);
  out.insert(out.end(), begin, begin + size);
}

template <class T>
requires std::is_arithmetic_v<T>
void append(Bytes& out, T value) { append_bytes(out, &value, sizeof(T)); }

void append(Bytes& out, std::string_view text) {
  append(out, static_cast<std::uint64_t>(text.size()));
  append_bytes(out, text.data(), text.size());
}

template <class T>
Bytes scalar_body(T value) {
  Bytes body;
  append(body, value);
  return body;
}

// An array's body: element type, count, elements.
template <class T, class Range>
Bytes array_body(GgufType element, const Range& values) {
  Bytes body;
  append(body, static_cast<std::uint32_t>(element));
  append(body, static_cast<std::uint64_t>(values.size()));
  for (const auto& value : values) append(body, static_cast<T>(value));
  return body;
}

template <class... Parts>
Error invalid(const Parts&... parts) {
  return Error{ErrorCode::kInvalidArgument, concat("cannot write GGUF: ", parts...)};
}

// The bytes of a tensor, which must be those of a layout of its type.
Result<std::uint64_t> bytes_of(std::uint32_t type, const std::vector<std::int64_t>& shape, std::uint64_t found) {
  ROWMAX_RETURN_IF_ERROR(gguf_element_count(shape));
  const auto formats = formats_of(type);
  if (formats.empty()) return unreadable_tensor_type(type);
  std::string expected;
  for (const FormatInfo& format : formats) {
    auto n_bytes = gguf_tensor_bytes(format, shape);
    if (!n_bytes.ok() && formats.size() == 1) return n_bytes;
    if (!n_bytes.ok()) continue;
    if (*n_bytes == found) return n_bytes;
    expected += concat(expected.empty() ? "" : " or ", *n_bytes);
  }
  return Error{ErrorCode::kInvalidArgument,
               concat("expected ", expected.empty() ? "whole blocks" : expected, " bytes, found ", found)};
}

template <class T, class Name>
std::optional<std::string> first_bad_name(std::span<const T> items, std::uint64_t max_bytes, Name name) {
  std::set<std::string_view> seen;
  for (const T& item : items) {
    const std::string_view text = name(item);
    if (!is_printable_name(text)) return concat(quote(text), " is not a printable name");
    if (text.size() > max_bytes) return concat(quote(text), " is longer than ", max_bytes, " bytes");
    if (!seen.insert(text).second) return concat(quote(text), " was given twice");
  }
  return std::nullopt;
}

}  // namespace

void GgufWriter::put(std::string key, GgufType type, std::vector<std::byte> body) {
  entries_.push_back({std::move(key), type, std::move(body)});
}
void GgufWriter::set_uint32(std::string key, std::uint32_t value) {
  put(std::move(key), GgufType::kU32, scalar_body(value));
}
void GgufWriter::set_uint64(std::string key, std::uint64_t value) {
  put(std::move(key), GgufType::kU64, scalar_body(value));
}
void GgufWriter::set_float32(std::string key, float value) { put(std::move(key), GgufType::kF32, scalar_body(value)); }
void GgufWriter::set_bool(std::string key, bool value) {
  put(std::move(key), GgufType::kBool, scalar_body(static_cast<std::uint8_t>(value)));
}
void GgufWriter::set_string(std::string key, std::string_view value) {
  put(std::move(key), GgufType::kString, scalar_body(value));
}
void GgufWriter::set_bools(std::string key, const std::vector<bool>& values) {
  put(std::move(key), GgufType::kArray, array_body<std::uint8_t>(GgufType::kBool, values));
}
void GgufWriter::set_strings(std::string key, const std::vector<std::string>& values) {
  put(std::move(key), GgufType::kArray, array_body<std::string_view>(GgufType::kString, values));
}
void GgufWriter::set_int32s(std::string key, const std::vector<std::int32_t>& values) {
  put(std::move(key), GgufType::kArray, array_body<std::int32_t>(GgufType::kI32, values));
}
void GgufWriter::set_float32s(std::string key, const std::vector<float>& values) {
  put(std::move(key), GgufType::kArray, array_body<float>(GgufType::kF32, values));
}

void GgufWriter::set_value(std::string key, const GgufValue& value) {
  if (const auto* array = std::get_if<GgufArray>(&value.value)) {
    Bytes body;
    append(body, static_cast<std::uint32_t>(array->element_type));
    append(body, static_cast<std::uint64_t>(array->size));
    append_bytes(body, array->bytes.data(), array->bytes.size());
    for (const std::string_view text : array->strings) append(body, text);
    return put(std::move(key), value.type, std::move(body));
  }
  if (const auto* text = std::get_if<std::string_view>(&value.value)) return set_string(std::move(key), *text);
  if (const auto* number = std::get_if<double>(&value.value)) {
    return put(std::move(key), value.type,
               value.type == GgufType::kF32 ? scalar_body(static_cast<float>(*number)) : scalar_body(*number));
  }
  if (const auto* flag = std::get_if<bool>(&value.value)) return set_bool(std::move(key), *flag);
  const auto* whole = std::get_if<std::uint64_t>(&value.value);
  const std::uint64_t bits =
      whole != nullptr ? *whole : static_cast<std::uint64_t>(std::get<std::int64_t>(value.value));
  Bytes body = scalar_body(bits);
  body.resize(gguf_scalar_bytes(value.type));  // little-endian: the low bytes
  put(std::move(key), value.type, std::move(body));
}

void GgufWriter::remove(std::string_view key) {
  std::erase_if(entries_, [&](const Entry& entry) { return entry.key == key; });
}

void GgufWriter::add_tensor(std::string name, std::uint32_t type, std::vector<std::int64_t> shape,
                            std::vector<std::byte> data) {
  tensors_.push_back({std::move(name), type, std::move(shape), std::move(data)});
}

Result<std::uint32_t> GgufWriter::alignment() const {
  const auto entry = std::ranges::find(entries_, kGgufAlignmentKey, &Entry::key);
  if (entry == entries_.end()) return kGgufDefaultAlignment;
  std::uint32_t value = 0;
  if (entry->type == GgufType::kU32) std::memcpy(&value, entry->body.data(), sizeof(value));
  if (value >= kGgufMinAlignment && value <= kGgufMaxAlignment && (value & (value - 1)) == 0) return value;
  return invalid("key ", quote(kGgufAlignmentKey), " must be a u32, a power of two from ", kGgufMinAlignment, " to ",
                 kGgufMaxAlignment);
}

Result<std::vector<std::byte>> GgufWriter::head() const {
  std::vector<GgufTensorPlan> plans;
  plans.reserve(tensors_.size());
  for (const Tensor& tensor : tensors_) plans.push_back({tensor.name, tensor.type, tensor.shape, tensor.data.size()});
  return head_for(plans);
}

Result<std::vector<std::byte>> GgufWriter::head_for(std::span<const GgufTensorPlan> tensors) const {
  return base::guarded([&] { return checked_head(tensors); });
}

Result<std::vector<std::byte>> GgufWriter::checked_head(std::span<const GgufTensorPlan> tensors) const {
  if (auto bad = first_bad_name(std::span(entries_), kGgufMaxKeyBytes,
                                [](const Entry& e) { return std::string_view(e.key); })) {
    return invalid("key ", *bad);
  }
  if (auto bad =
          first_bad_name(tensors, kGgufMaxTensorNameBytes, [](const auto& t) { return std::string_view(t.name); })) {
    return invalid("tensor ", *bad);
  }
  if (entries_.size() > kGgufMaxKeys) return invalid(entries_.size(), " keys, at most ", kGgufMaxKeys);
  if (tensors.size() > kGgufMaxTensors) return invalid(tensors.size(), " tensors, at most ", kGgufMaxTensors);
  ROWMAX_TRY(align, alignment());

  Bytes out;
  append_bytes(out, kGgufMagic.data(), kGgufMagic.size());
  append(out, kGgufVersion);
  append(out, static_cast<std::uint64_t>(tensors.size()));
  append(out, static_cast<std::uint64_t>(entries_.size()));
  for (const Entry& entry : entries_) {
    append(out, std::string_view(entry.key));
    append(out, static_cast<std::uint32_t>(entry.type));
    append_bytes(out, entry.body.data(), entry.body.size());
  }
  if (out.size() > kGgufMaxMetadataBytes) return invalid("more than ", kGgufMaxMetadataBytes, " bytes of metadata");
  std::uint64_t offset = 0;
  for (const GgufTensorPlan& tensor : tensors) {
    auto n_bytes = bytes_of(tensor.type, tensor.shape, tensor.n_bytes);
    if (!n_bytes.ok()) return invalid("tensor ", quote(tensor.name), " ", n_bytes.error().message);
    append(out, std::string_view(tensor.name));
    append(out, static_cast<std::uint32_t>(tensor.shape.size()));
    for (const std::int64_t dim : tensor.shape) append(out, dim);
    append(out, tensor.type);
    append(out, offset);
    offset = align_up(offset + *n_bytes, align);
  }
  out.resize(align_up(out.size(), align));
  return out;
}

Result<std::vector<std::byte>> GgufWriter::bytes() const {
  return base::guarded([&]() -> Result<std::vector<std::byte>> {
    ROWMAX_TRY(out, head());
    ROWMAX_TRY(align, alignment());
    for (const Tensor& tensor : tensors_) {
      append_bytes(out, tensor.data.data(), tensor.data.size());
      out.resize(align_up(out.size(), align));
    }
    return out;
  });
}

Status GgufWriter::write(const std::string& path) const {
  return base::guarded([&]() -> Status {
    ROWMAX_TRY(start, head());
    ROWMAX_TRY(align, alignment());
    ROWMAX_TRY(file, OutputFile::create(path, {.overwrite = true, .inputs = {}}));
    ROWMAX_RETURN_IF_ERROR(file.append(start));
    const Bytes zeros(align);
    for (const Tensor& tensor : tensors_) {
      ROWMAX_RETURN_IF_ERROR(file.append(tensor.data));
      const std::size_t padding = align_up(tensor.data.size(), align) - tensor.data.size();
      ROWMAX_RETURN_IF_ERROR(file.append(std::span(zeros).first(padding)));
    }
    return file.commit();
  });
}

}  // namespace rowmax::engine
