#include "engine/io/gguf_split.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <iterator>
#include <map>
#include <utility>
#include <variant>

#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::size_t kDigits = 5;
constexpr std::uint64_t kMaxParts = 99999;  // what five digits can say

Error corrupt(const GgufContent& content, const std::string& text) {
  return {ErrorCode::kCorrupt, concat(content.name, ": ", text)};
}

Result<std::uint64_t> read_count(const GgufContent& content, std::string_view key) {
  const GgufValue* found = find_key(content, key);
  if (found == nullptr) return corrupt(content, concat("key ", quote(key), " is missing in a part of a split model"));
  if (const auto* value = std::get_if<std::uint64_t>(&found->value)) return *value;
  const auto* value = std::get_if<std::int64_t>(&found->value);
  if (value != nullptr && *value >= 0) return static_cast<std::uint64_t>(*value);
  return corrupt(content, concat("key ", quote(key), ": expected an integer from 0 on, found ",
                                 value != nullptr ? std::to_string(*value) : gguf_type_name(found->type)));
}

std::string_view architecture(const GgufContent& content) {
  const GgufValue* found = find_key(content, "general.architecture");
  const auto* text = found != nullptr ? std::get_if<std::string_view>(&found->value) : nullptr;
  return text != nullptr ? *text : std::string_view();
}

Status check_part(const GgufContent& first, const GgufSplit& expected, const GgufContent& part, std::uint64_t no) {
  ROWMAX_TRY(split, read_split(part));
  const auto check = [&](std::string_view key, std::uint64_t wanted, std::uint64_t found) -> Status {
    if (wanted == found) return {};
    return corrupt(part, concat("key ", quote(key), ": expected ", wanted, " (part ", no + 1, " of ", first.name,
                                "), found ", found, ": not a part of that model"));
  };
  ROWMAX_RETURN_IF_ERROR(check("split.count", expected.count, split.count));
  ROWMAX_RETURN_IF_ERROR(check("split.no", no, split.no));
  ROWMAX_RETURN_IF_ERROR(check("split.tensors.count", expected.n_tensors, split.n_tensors));
  const std::string_view found = architecture(part);
  if (found.empty() || found == architecture(first)) return {};
  return corrupt(part, concat("key 'general.architecture': expected ", quote(architecture(first)), " as ", first.name,
                              " has, found ", quote(found)));
}

// A type id with several layouts stands for the same one in all parts.
Status check_formats(const GgufContent& first, const GgufContent& part,
                     std::map<std::uint32_t, const FormatInfo*>& formats) {
  for (const GgufTensor& tensor : part.tensors) {
    const auto [known, is_new] = formats.emplace(tensor.type, tensor.format);
    if (is_new || known->second == tensor.format) continue;
    return Error{ErrorCode::kUnsupported,
                 concat(part.name, ": type ", tensor.type, " stands for ", gguf_tensor_format_name(tensor),
                        " by the sizes of its tensors, for another layout in an earlier part of ", first.name,
                        "; choose one with --format NAME")};
  }
  return {};
}

}  // namespace

std::string five_digits(std::uint64_t number) {
  const std::string digits = std::to_string(number);
  return std::string(kDigits - std::min(kDigits, digits.size()), '0') + digits;
}

Result<GgufSplit> read_split(const GgufContent& content) {
  GgufSplit split;
  if (find_key(content, "split.count") == nullptr) return split;
  ROWMAX_TRY(count, read_count(content, "split.count"));
  if (count <= 1) return split;
  split.count = count;
  ROWMAX_TRY(no, read_count(content, "split.no"));
  ROWMAX_TRY(n_tensors, read_count(content, "split.tensors.count"));
  split.no = no;
  split.n_tensors = n_tensors;
  if (count > kMaxParts) return corrupt(content, concat("key 'split.count': expected at most 99999, found ", count));
  if (no < count) return split;
  return corrupt(content, concat("key 'split.no': expected less than split.count ", count, ", found ", no));
}

std::optional<std::vector<std::string>> split_paths(std::string_view path, std::uint64_t count) {
  const std::string of = "-of-" + five_digits(count) + std::string(kGgufSuffix);
  if (!path.ends_with(of)) return std::nullopt;
  path.remove_suffix(of.size());
  if (path.size() < kDigits + 1) return std::nullopt;
  const std::string_view digits = path.substr(path.size() - kDigits);
  std::uint64_t no = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + kDigits, no);
  const std::string_view prefix = path.substr(0, path.size() - kDigits);
  if (code != std::errc() || end != digits.data() + kDigits || no < 1 || no > count || !prefix.ends_with('-')) {
    return std::nullopt;
  }
  std::vector<std::string> paths;
  for (std::uint64_t i = 1; i <= count; ++i) paths.push_back(std::string(prefix) + five_digits(i) + of);
  return paths;
}

std::optional<PartNumbers> part_numbers(std::string_view path) {
  constexpr std::string_view kShape = "-00000-of-00000.gguf";
  if (path.size() < kShape.size()) return std::nullopt;
  path.remove_prefix(path.size() - kShape.size());
  const auto fits = [](char found, char shape) {
    return shape == '0' ? std::isdigit(static_cast<unsigned char>(found)) != 0 : found == shape;
  };
  if (!std::ranges::equal(path, kShape, fits)) return std::nullopt;
  PartNumbers numbers;
  std::from_chars(path.data() + 1, path.data() + 1 + kDigits, numbers.part);
  std::from_chars(path.data() + 10, path.data() + 10 + kDigits, numbers.count);
  return numbers;
}

Result<GgufContent> join_parts(std::vector<GgufContent> parts) {
  GgufContent whole = std::move(parts.front());
  ROWMAX_TRY(split, read_split(whole));
  ROWMAX_RETURN_IF_ERROR(check_part(whole, split, whole, 0));
  std::map<std::uint32_t, const FormatInfo*> formats;
  ROWMAX_RETURN_IF_ERROR(check_formats(whole, whole, formats));
  for (std::size_t i = 1; i < parts.size(); ++i) {
    GgufContent& part = parts[i];
    ROWMAX_RETURN_IF_ERROR(check_part(whole, split, part, i));
    ROWMAX_RETURN_IF_ERROR(check_formats(whole, part, formats));
    std::ranges::move(part.tensors, std::back_inserter(whole.tensors));
    std::ranges::move(part.notices, std::back_inserter(whole.notices));
    std::ranges::move(part.rests, std::back_inserter(whole.rests));
    whole.file_bytes += part.file_bytes;
  }
  index_by_name(whole);
  const auto name = [&](std::uint32_t i) { return whole.tensors[i].name; };
  const auto same = std::ranges::adjacent_find(whole.tensors_by_name, {}, name);
  if (same != whole.tensors_by_name.end()) {
    return corrupt(whole, concat("tensor ", quote(name(*same)), " stands in two parts of the model"));
  }
  if (whole.tensors.size() == split.n_tensors) return whole;
  return corrupt(whole, concat("key 'split.tensors.count': expected ", split.n_tensors, " tensors in all ", split.count,
                               " parts, found ", whole.tensors.size()));
}

}  // namespace rowmax::engine
