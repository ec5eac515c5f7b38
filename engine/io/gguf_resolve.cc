#include <algorithm>
#include <string>
#include <vector>

#include "engine/io/gguf_format.h"
#include "engine/io/gguf_parse.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

using Formats = std::vector<const FormatInfo*>;

std::string names_of(const Formats& formats) {
  std::string names;
  for (const FormatInfo* format : formats) names += (names.empty() ? "" : " or ") + std::string(format->name);
  return names;
}

// The formats that the user named, at most one for each type id.
Result<Formats> named_formats(const std::string& file, const GgufOptions& options) {
  Formats named;
  for (const std::string& name : options.formats) {
    const FormatInfo* format = find_format(std::string_view(name));
    if (format == nullptr) {
      Formats known;
      for (const FormatInfo& row : formats()) {
        if (formats_of(row.id).size() > 1) known.push_back(&row);
      }
      return Error{ErrorCode::kInvalidArgument,
                   concat(file, ": unknown format ", quote(name), ", expected ", names_of(known))};
    }
    const auto other = std::ranges::find(named, format->id, &FormatInfo::id);
    if (other != named.end() && *other != format) {
      return Error{ErrorCode::kInvalidArgument, concat(file, ": formats ", (*other)->name, " and ", format->name,
                                                       " cannot both stand for type ", format->id)};
    }
    named.push_back(format);
  }
  return named;
}

enum class Fit { kYes, kNo, kCutShort };

class Resolver {
 public:
  Resolver(GgufContent& content, std::uint64_t data_bytes) : content_(content), data_bytes_(data_bytes) {
    for (const GgufTensor& tensor : content.tensors) offsets_.push_back(tensor.offset);
    std::ranges::sort(offsets_);
  }

  // The format of all tensors of one type id with several layouts.
  Result<const FormatInfo*> resolve(std::uint32_t id, const FormatInfo* named) const {
    Formats candidates;
    for (const FormatInfo& format : formats_of(id)) {
      if (named != nullptr ? &format == named : !format.only_by_name) candidates.push_back(&format);
    }
    Formats fitting = that_fit(candidates, id, false);
    // The last tensor of a file that ends too early fits nothing; that has an error of its own.
    if (fitting.empty()) fitting = that_fit(candidates, id, true);
    if (fitting.size() == 1) return fitting.front();
    if (fitting.size() > 1) {
      return Error{ErrorCode::kUnsupported,
                   concat(content_.name, ": type ", id, " stands for several layouts and the sizes of its tensors fit ",
                          names_of(fitting), "; choose one with --format NAME")};
    }
    return no_fit(candidates, id);
  }

  // Fewer bytes than the format needs before another tensor begins: what the end of a file that is cut short is not.
  bool runs_into_the_next(const FormatInfo& format, const GgufTensor& tensor) const {
    const auto n_bytes = gguf_tensor_bytes(format, tensor.shape);
    return tensor.offset != offsets_.back() && n_bytes.ok() && room(tensor) < *n_bytes;
  }

 private:
  std::uint64_t room(const GgufTensor& tensor) const {
    const auto next = std::ranges::upper_bound(offsets_, tensor.offset);
    const std::uint64_t end = next != offsets_.end() ? *next : data_bytes_;
    return end > tensor.offset ? end - tensor.offset : 0;
  }

  // Up to the padding, and exactly: gaps between tensors are legal elsewhere, but here the sizes have to speak.
  Fit fit(const FormatInfo& format, const GgufTensor& tensor) const {
    const auto n_bytes = gguf_tensor_bytes(format, tensor.shape);
    if (!n_bytes.ok()) return Fit::kNo;
    const std::uint64_t found = room(tensor);
    const bool last = tensor.offset == offsets_.back();
    if (last && found < *n_bytes) return Fit::kCutShort;
    const std::uint64_t padded = align_up(*n_bytes, content_.alignment);
    return found == padded || (last && align_up(found, content_.alignment) == padded) ? Fit::kYes : Fit::kNo;
  }

  Formats that_fit(const Formats& candidates, std::uint32_t id, bool cut_short) const {
    Formats fitting;
    for (const FormatInfo* format : candidates) {
      const bool fits = std::ranges::all_of(content_.tensors, [&](const GgufTensor& tensor) {
        if (tensor.type != id) return true;
        const Fit found = fit(*format, tensor);
        return found == Fit::kYes || (cut_short && found == Fit::kCutShort);
      });
      if (fits) fitting.push_back(format);
    }
    return fitting;
  }

  // Names the first tensor that no candidate fits, where there is one.
  Error no_fit(const Formats& candidates, std::uint32_t id) const {
    for (const GgufTensor& tensor : content_.tensors) {
      const auto fits = [&](const FormatInfo* format) { return fit(*format, tensor) == Fit::kYes; };
      if (tensor.type != id || std::ranges::any_of(candidates, fits)) continue;
      std::string wanted;
      for (const FormatInfo* format : candidates) {
        auto n_bytes = gguf_tensor_bytes(*format, tensor.shape);
        if (!n_bytes.ok() && candidates.size() == 1) {
          return {n_bytes.error().code,
                  concat(content_.name, ": tensor ", quote(tensor.name), " ", n_bytes.error().message)};
        }
        if (!n_bytes.ok()) continue;
        wanted += concat(wanted.empty() ? "" : " or ", *n_bytes, " (", format->name, ")");
      }
      return {ErrorCode::kCorrupt,
              concat(content_.name, ": tensor ", quote(tensor.name), " has type ", id, ", expected ",
                     wanted.empty() ? "whole blocks" : wanted, " bytes, found room for ", room(tensor),
                     ": another type with this number, or a damaged file (a quantiser that ran with several threads "
                     "can have written it)")};
    }
    return {ErrorCode::kCorrupt, concat(content_.name, ": no layout of type ", id, " (", names_of(candidates),
                                        ") fits the sizes of all its tensors")};
  }

  const GgufContent& content_;
  std::uint64_t data_bytes_;
  std::vector<std::uint64_t> offsets_;  // ascending
};

}  // namespace

Status resolve_formats(GgufContent& content, std::uint64_t data_bytes, const GgufOptions& options) {
  ROWMAX_TRY(named, named_formats(content.name, options));
  const Resolver resolver(content, data_bytes);
  Formats resolved;
  for (GgufTensor& tensor : content.tensors) {
    const auto in_tensor = [&](const Error& error) {
      return Error{error.code, concat(content.name, ": tensor ", quote(tensor.name), " ", error.message)};
    };
    auto n_elements = gguf_element_count(tensor.shape);
    if (!n_elements.ok()) return in_tensor(n_elements.error());
    const auto candidates = formats_of(tensor.type);
    if (candidates.empty()) return in_tensor(unreadable_tensor_type(tensor.type));
    if (candidates.size() == 1) {
      if (!foreign_tensor_type_name(tensor.type).empty() && resolver.runs_into_the_next(candidates.front(), tensor)) {
        return in_tensor(unreadable_tensor_type(tensor.type));
      }
      tensor.format = candidates.data();
      continue;
    }
    const auto known = std::ranges::find(resolved, tensor.type, &FormatInfo::id);
    if (known != resolved.end()) {
      tensor.format = *known;
      continue;
    }
    const auto asked = std::ranges::find(named, tensor.type, &FormatInfo::id);
    ROWMAX_TRY(format, resolver.resolve(tensor.type, asked != named.end() ? *asked : nullptr));
    tensor.format = format;
    resolved.push_back(format);
    const bool by_size = std::ranges::count(candidates, false, &FormatInfo::only_by_name) > 1;
    if (asked != named.end() || by_size) {
      content.notices.push_back(concat(content.name, ": type ", tensor.type, " is taken for ", format->name, " (",
                                       format->block_elements, " weights in ", format->block_bytes, " bytes), as ",
                                       asked != named.end() ? "asked" : "the sizes of its tensors say"));
    }
  }
  return {};
}

}  // namespace rowmax::engine
