#include <algorithm>
#include <numeric>

#include "engine/io/gguf_format.h"
#include "engine/io/gguf_parse.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

struct Extent {
  std::uint64_t begin = 0;  // from the start of the tensor data
  std::uint64_t end = 0;
  std::uint32_t tensor = 0;
};

Error about(const GgufContent& content, const GgufTensor& tensor, ErrorCode code, const std::string& text) {
  return Error{code, concat(content.name, ": tensor ", quote(tensor.name), " ", text)};
}

// Where each tensor lies by its own account; sums are checked, the file's end is not yet.
Result<std::vector<Extent>> tensor_extents(const GgufContent& content, std::uint64_t data_begin) {
  std::vector<Extent> extents;
  extents.reserve(content.tensors.size());
  for (std::uint32_t i = 0; i < content.tensors.size(); ++i) {
    const GgufTensor& tensor = content.tensors[i];
    auto n_bytes = gguf_tensor_bytes(*tensor.format, tensor.shape);
    if (!n_bytes.ok()) return about(content, tensor, n_bytes.error().code, n_bytes.error().message);
    if (tensor.offset % content.alignment != 0) {
      return about(content, tensor, ErrorCode::kCorrupt,
                   concat("has offset ", tensor.offset, ", expected a multiple of the alignment ", content.alignment));
    }
    std::uint64_t end = 0;
    std::uint64_t file_end = 0;
    if (__builtin_add_overflow(tensor.offset, *n_bytes, &end) || __builtin_add_overflow(data_begin, end, &file_end) ||
        file_end > static_cast<std::uint64_t>(INT64_MAX)) {
      return about(content, tensor, ErrorCode::kCorrupt,
                   concat("has offset ", tensor.offset, " and ", *n_bytes, " bytes: its end exceeds 2^63 - 1"));
    }
    extents.push_back({tensor.offset, end, i});
  }
  std::ranges::sort(extents, {}, &Extent::begin);
  return extents;
}

Status check_overlap(const GgufContent& content, const std::vector<Extent>& sorted) {
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i].begin >= sorted[i - 1].end) continue;
    const GgufTensor& before = content.tensors[sorted[i - 1].tensor];
    return about(content, content.tensors[sorted[i].tensor], ErrorCode::kCorrupt,
                 concat("has offset ", sorted[i].begin, " and overlaps tensor ", quote(before.name), ", which ends at ",
                        sorted[i - 1].end));
  }
  return {};
}

void note_gaps(GgufContent& content, const std::vector<Extent>& sorted, std::uint64_t data_begin,
               std::span<const std::byte> bytes) {
  constexpr std::size_t kMaxNotices = 5;
  std::size_t n_gaps = 0;
  std::uint64_t expected = 0;
  for (const Extent& extent : sorted) {
    if (extent.begin > expected && ++n_gaps <= kMaxNotices) {
      content.notices.push_back(concat(content.name, ": ", extent.begin - expected, " unused bytes before tensor ",
                                       quote(content.tensors[extent.tensor].name)));
    }
    expected = align_up(extent.end, content.alignment);
  }
  if (n_gaps > kMaxNotices) {
    content.notices.push_back(concat(content.name, ": ", n_gaps - kMaxNotices, " more gaps between tensors"));
  }
  if (bytes.size() > data_begin + expected) {
    content.rests.push_back({content.name, data_begin + expected, bytes.subspan(data_begin + expected)});
    content.notices.push_back(
        concat(content.name, ": ", content.rests.back().bytes.size(), " unused bytes after the last tensor"));
  }
}

}  // namespace

Status place_tensors(GgufContent& content, std::span<const std::byte> bytes, std::uint64_t infos_end) {
  const std::uint64_t data_begin = align_up(infos_end, content.alignment);
  ROWMAX_TRY(extents, tensor_extents(content, data_begin));
  ROWMAX_RETURN_IF_ERROR(check_overlap(content, extents));
  if (!extents.empty() && data_begin + extents.back().end > bytes.size()) {
    const std::uint64_t end = data_begin + extents.back().end;
    return Error{ErrorCode::kCorrupt,
                 concat(content.name, ": the file is ", end - bytes.size(), " bytes short: tensor ",
                        quote(content.tensors[extents.back().tensor].name), " ends at byte ", end, ", the file has ",
                        bytes.size(), ": incomplete download?")};
  }
  for (const Extent& extent : extents) {
    content.tensors[extent.tensor].data = bytes.subspan(data_begin + extent.begin, extent.end - extent.begin);
  }
  note_gaps(content, extents, data_begin, bytes);
  return {};
}

}  // namespace rowmax::engine
