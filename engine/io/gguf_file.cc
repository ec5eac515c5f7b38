#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <system_error>

#include "base/guarded.h"
#include "engine/io/gguf_format.h"
#include "engine/io/gguf_parse.h"
#include "engine/io/gguf_split.h"
#include "engine/io/mapped_file.h"
#include "engine/io/text.h"
#include "rowmax/engine/gguf.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

// Calls fn with element i as its own C++ type; bytes may be unaligned.
template <class Fn>
auto with_element(const GgufArray& array, std::size_t i, Fn fn) noexcept {
  const auto load = [&]<class T>(T value) {
    std::memcpy(&value, array.bytes.data() + i * sizeof(T), sizeof(T));
    return fn(value);
  };
  switch (array.element_type) {
    case GgufType::kU8:
    case GgufType::kBool: return load(std::uint8_t{});
    case GgufType::kI8: return load(std::int8_t{});
    case GgufType::kU16: return load(std::uint16_t{});
    case GgufType::kI16: return load(std::int16_t{});
    case GgufType::kU32: return load(std::uint32_t{});
    case GgufType::kI32: return load(std::int32_t{});
    case GgufType::kU64: return load(std::uint64_t{});
    case GgufType::kI64: return load(std::int64_t{});
    case GgufType::kF32: return load(float{});
    case GgufType::kF64: return load(double{});
    case GgufType::kString:
    case GgufType::kArray: break;
  }
  return fn(std::uint8_t{0});
}

// To the nearest int64: fractions are cut, what is too large or small takes the end of the range, NaN gives 0.
std::int64_t saturate(double value) noexcept {
  if (std::isnan(value)) return 0;
  if (value >= 0x1p63) return std::numeric_limits<std::int64_t>::max();
  if (value < -0x1p63) return std::numeric_limits<std::int64_t>::min();
  return static_cast<std::int64_t>(value);
}

std::string describe(const GgufValue& value) {
  const std::string type = gguf_type_name(value.type);
  if (const auto* number = std::get_if<std::uint64_t>(&value.value)) return concat(*number, " (", type, ")");
  if (const auto* number = std::get_if<std::int64_t>(&value.value)) return concat(*number, " (", type, ")");
  if (const auto* number = std::get_if<double>(&value.value)) return concat(std::to_string(*number), " (", type, ")");
  if (const auto* number = std::get_if<bool>(&value.value)) return concat(*number ? "true" : "false", " (", type, ")");
  if (const auto* text = std::get_if<std::string_view>(&value.value)) return concat("the string ", quote(*text));
  const auto& array = std::get<GgufArray>(value.value);
  return concat("an array of ", array.size, " ", gguf_type_name(array.element_type));
}

struct Part {
  MappedFile map;
  GgufContent content;
};

Result<Part> open_part(const std::string& path, const GgufOptions& options) {
  ROWMAX_TRY(map, MappedFile::open(path));
  ROWMAX_RETURN_IF_ERROR(map.watch());
  auto parsed = parse_gguf(map.bytes(), path, options);
  ROWMAX_RETURN_IF_ERROR(map.check_intact());  // rather than what the parser says of zeros
  ROWMAX_TRY(content, std::move(parsed));
  return Part{std::move(map), std::move(content)};
}

// Every file of a split model is there, or an error names those that are not.
Status check_present(const std::vector<std::string>& paths) {
  constexpr std::size_t kShown = 5;
  std::string missing;
  std::size_t n_missing = 0;
  for (const std::string& path : paths) {
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) continue;
    if (++n_missing <= kShown) missing += (missing.empty() ? "" : ", ") + path;
  }
  if (n_missing == 0) return {};
  return Error{ErrorCode::kNotFound,
               concat(paths.front(), ": a model in ", paths.size(), " files, of which ", n_missing,
                      n_missing == 1 ? " is" : " are", " missing: ", missing, n_missing > kShown ? ", ..." : "")};
}

// The parts of the model that `first` is one of, in order; first itself where it is a whole model.
Result<std::vector<Part>> open_parts(Part first, const std::string& path, const GgufOptions& options) {
  std::vector<Part> parts;
  ROWMAX_TRY(split, read_split(first.content));
  if (split.count == 1) {
    parts.push_back(std::move(first));
    return parts;
  }
  const auto paths = split_paths(path, split.count);
  if (!paths) {
    return Error{ErrorCode::kInvalidArgument,
                 concat(path, ": part ", split.no + 1, " of ", split.count,
                        " of a split model; the others are found by their names, so expected one like ",
                        "NAME-00001-of-", five_digits(split.count), ".gguf")};
  }
  ROWMAX_RETURN_IF_ERROR(check_present(*paths));
  for (const std::string& other : *paths) {
    if (other == path) {
      parts.push_back(std::move(first));
      continue;
    }
    ROWMAX_TRY(part, open_part(other, options));
    parts.push_back(std::move(part));
  }
  return parts;
}

Result<std::vector<Part>> open_by_name(const std::string& path, const GgufOptions& options) {
  ROWMAX_TRY(first, open_part(path, options));
  return open_parts(std::move(first), path, options);
}

Result<std::vector<Part>> open_all(std::span<const std::string> paths, const GgufOptions& options) {
  std::vector<Part> parts;
  for (const std::string& path : paths) {
    ROWMAX_TRY(part, open_part(path, options));
    ROWMAX_TRY(split, read_split(part.content));
    if (split.count != paths.size()) {
      return Error{ErrorCode::kCorrupt, concat(path, ": key 'split.count': expected ", paths.size(),
                                               " as there are files, found ", split.count)};
    }
    parts.push_back(std::move(part));
  }
  if (parts.empty()) return Error{ErrorCode::kInvalidArgument, "no files to open"};
  return parts;
}

Result<GgufContent> joined(std::vector<GgufContent> parts) {
  if (parts.size() == 1) return std::move(parts.front());
  return join_parts(std::move(parts));
}

}  // namespace

double GgufArray::as_double(std::size_t i) const noexcept {
  return with_element(*this, i, [](auto value) { return static_cast<double>(value); });
}

std::int64_t GgufArray::as_int(std::size_t i) const noexcept {
  return with_element(*this, i, [](auto value) -> std::int64_t {
    if constexpr (std::is_floating_point_v<decltype(value)>) {
      return saturate(value);
    } else if constexpr (std::is_same_v<decltype(value), std::uint64_t>) {
      return static_cast<std::int64_t>(std::min<std::uint64_t>(value, std::numeric_limits<std::int64_t>::max()));
    } else {
      return value;
    }
  });
}

std::int64_t GgufTensor::n_elements() const noexcept {
  std::int64_t n = 1;
  for (const std::int64_t dim : shape) n *= dim;  // the loader has proved that this does not overflow
  return n;
}

struct GgufFile::Impl {
  std::shared_ptr<const std::vector<MappedFile>> maps;  // of each part; none when the caller owns the bytes
  std::span<const std::byte> bytes;                     // the caller's
  std::vector<std::string> paths;
  GgufOptions options;
  GgufContent content;
};

Result<GgufFile> GgufFile::open(const std::string& path, const GgufOptions& options) {
  return base::guarded([&]() -> Result<GgufFile> { return open_files({&path, 1}, options); });
}

Result<GgufFile> GgufFile::open_files(std::span<const std::string> paths, const GgufOptions& options) {
  return base::guarded([&]() -> Result<GgufFile> {
    ROWMAX_TRY(parts, paths.size() == 1 ? open_by_name(paths.front(), options) : open_all(paths, options));
    auto impl = std::make_unique<Impl>();
    std::vector<MappedFile> maps;
    std::vector<GgufContent> contents;
    for (Part& part : parts) {
      ROWMAX_RETURN_IF_ERROR(part.map.check_size());
      impl->paths.push_back(part.map.path());
      maps.push_back(std::move(part.map));
      contents.push_back(std::move(part.content));
    }
    impl->maps = std::make_shared<const std::vector<MappedFile>>(std::move(maps));
    impl->options = options;
    ROWMAX_TRY(whole, joined(std::move(contents)));
    impl->content = std::move(whole);
    return GgufFile(std::move(impl));
  });
}

Result<GgufFile> GgufFile::parse(std::span<const std::byte> bytes, std::string name, const GgufOptions& options) {
  return base::guarded([&]() -> Result<GgufFile> {
    auto impl = std::make_unique<Impl>();
    ROWMAX_TRY(content, parse_gguf(bytes, std::move(name), options));
    impl->maps = std::make_shared<const std::vector<MappedFile>>();
    impl->bytes = bytes;
    impl->options = options;
    impl->content = std::move(content);
    GgufFile file(std::move(impl));
    const auto count = file.find_uint("split.count");
    if (count && *count > 1) {
      file.impl_->content.notices.push_back(concat(file.name(), ": one part of a model that was split over ", *count,
                                                   " files; the other parts are not read"));
    }
    return file;
  });
}

Result<GgufFile> GgufFile::reopen(const GgufOptions& options) const {
  return base::guarded([&]() -> Result<GgufFile> {
    GgufOptions all = options;
    for (const std::string& name : impl_->options.formats) {
      const FormatInfo* before = find_format(std::string_view(name));
      const bool replaced = before != nullptr && std::ranges::any_of(options.formats, [&](std::string_view other) {
                              const FormatInfo* format = find_format(other);
                              return format != nullptr && format->id == before->id;
                            });
      if (!replaced) all.formats.push_back(name);
    }
    if (impl_->maps->empty()) return parse(impl_->bytes, name(), all);
    auto impl = std::make_unique<Impl>();
    impl->maps = impl_->maps;
    impl->paths = impl_->paths;
    std::vector<GgufContent> contents;
    for (const MappedFile& map : *impl->maps) {
      ROWMAX_TRY(content, parse_gguf(map.bytes(), map.path(), all));
      contents.push_back(std::move(content));
    }
    ROWMAX_RETURN_IF_ERROR(check_intact());
    ROWMAX_TRY(whole, joined(std::move(contents)));
    impl->content = std::move(whole);
    impl->options = std::move(all);
    return GgufFile(std::move(impl));
  });
}

GgufFile::GgufFile(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
GgufFile::GgufFile(GgufFile&&) noexcept = default;
GgufFile& GgufFile::operator=(GgufFile&&) noexcept = default;
GgufFile::~GgufFile() = default;

const std::string& GgufFile::name() const noexcept { return impl_->content.name; }
const GgufOptions& GgufFile::options() const noexcept { return impl_->options; }
std::uint32_t GgufFile::version() const noexcept { return impl_->content.version; }
std::uint64_t GgufFile::file_bytes() const noexcept { return impl_->content.file_bytes; }
std::uint32_t GgufFile::alignment() const noexcept { return impl_->content.alignment; }
std::span<const std::string> GgufFile::notices() const noexcept { return impl_->content.notices; }
std::span<const GgufRest> GgufFile::rests() const noexcept { return impl_->content.rests; }
std::span<const std::pair<std::string_view, GgufValue>> GgufFile::metadata() const noexcept {
  return impl_->content.metadata;
}
std::span<const GgufTensor> GgufFile::tensors() const noexcept { return impl_->content.tensors; }

std::span<const std::string> GgufFile::paths() const noexcept { return impl_->paths; }

const GgufValue* GgufFile::find(std::string_view key) const noexcept { return find_key(impl_->content, key); }

const GgufTensor* GgufFile::find_tensor(std::string_view name) const noexcept {
  return rowmax::engine::find_tensor(impl_->content, name);
}

Error GgufFile::mismatch(std::string_view key, std::string_view expected, const GgufValue& found) const {
  return Error{ErrorCode::kCorrupt,
               concat(name(), ": key ", quote(key), " expected ", expected, ", found ", describe(found))};
}

Result<const GgufValue*> GgufFile::require(std::string_view key, std::string_view expected) const {
  const GgufValue* value = find(key);
  if (value != nullptr) return value;
  return Error{ErrorCode::kNotFound, concat(name(), ": key ", quote(key), " is missing, expected ", expected)};
}

std::optional<std::uint64_t> GgufFile::find_uint(std::string_view key) const noexcept {
  const GgufValue* found = find(key);
  if (found == nullptr) return std::nullopt;
  if (const auto* number = std::get_if<std::uint64_t>(&found->value)) return *number;
  if (const auto* number = std::get_if<std::int64_t>(&found->value); number != nullptr && *number >= 0) {
    return static_cast<std::uint64_t>(*number);
  }
  return std::nullopt;
}

std::optional<std::string_view> GgufFile::find_string(std::string_view key) const noexcept {
  const GgufValue* found = find(key);
  const auto* text = found != nullptr ? std::get_if<std::string_view>(&found->value) : nullptr;
  return text != nullptr ? std::optional(*text) : std::nullopt;
}

namespace {

const GgufArray* as_array(const GgufValue* value) noexcept {
  return value != nullptr ? std::get_if<GgufArray>(&value->value) : nullptr;
}

}  // namespace

const GgufArray* GgufFile::find_array(std::string_view key, GgufType element_type) const noexcept {
  const GgufArray* array = as_array(find(key));
  return array != nullptr && array->element_type == element_type ? array : nullptr;
}

const GgufArray* GgufFile::find_int_array(std::string_view key) const noexcept {
  const GgufArray* array = as_array(find(key));
  return array != nullptr && gguf_is_integer(array->element_type) ? array : nullptr;
}

Result<std::uint64_t> GgufFile::get_uint(std::string_view key) const {
  return base::guarded([&]() -> Result<std::uint64_t> {
    constexpr std::string_view kExpected = "an unsigned integer";
    ROWMAX_TRY(found, require(key, kExpected));
    if (const auto number = find_uint(key)) return *number;
    return mismatch(key, kExpected, *found);
  });
}

Result<double> GgufFile::get_float(std::string_view key) const {
  return base::guarded([&]() -> Result<double> {
    constexpr std::string_view kExpected = "a finite float";
    ROWMAX_TRY(found, require(key, kExpected));
    if (const auto* number = std::get_if<double>(&found->value); number != nullptr && std::isfinite(*number))
      return *number;
    return mismatch(key, kExpected, *found);
  });
}

Result<bool> GgufFile::get_bool(std::string_view key) const {
  return base::guarded([&]() -> Result<bool> {
    constexpr std::string_view kExpected = "a bool";
    ROWMAX_TRY(found, require(key, kExpected));
    if (const auto* truth = std::get_if<bool>(&found->value)) return *truth;
    return mismatch(key, kExpected, *found);
  });
}

Result<std::string_view> GgufFile::get_string(std::string_view key) const {
  return base::guarded([&]() -> Result<std::string_view> {
    constexpr std::string_view kExpected = "a string";
    ROWMAX_TRY(found, require(key, kExpected));
    if (const auto text = find_string(key)) return *text;
    return mismatch(key, kExpected, *found);
  });
}

Result<const GgufArray*> GgufFile::get_array(std::string_view key, GgufType element_type) const {
  return base::guarded([&]() -> Result<const GgufArray*> {
    const std::string expected = concat("an array of ", gguf_type_name(element_type));
    ROWMAX_TRY(found, require(key, expected));
    if (const auto* array = find_array(key, element_type)) return array;
    return mismatch(key, expected, *found);
  });
}

Result<const GgufArray*> GgufFile::get_int_array(std::string_view key) const {
  return base::guarded([&]() -> Result<const GgufArray*> {
    constexpr std::string_view kExpected = "an array of integers";
    ROWMAX_TRY(found, require(key, kExpected));
    if (const auto* array = find_int_array(key)) return array;
    return mismatch(key, kExpected, *found);
  });
}

Status GgufFile::check_intact() const {
  return base::guarded([&]() -> Status {
    for (const MappedFile& map : *impl_->maps) ROWMAX_RETURN_IF_ERROR(map.check_intact());
    return {};
  });
}

void GgufFile::drop_pages(std::span<const std::byte> range) const noexcept {
  for (const MappedFile& map : *impl_->maps) map.drop_pages(range);
}

}  // namespace rowmax::engine
