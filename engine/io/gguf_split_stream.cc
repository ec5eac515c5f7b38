#include "engine/io/gguf_split_stream.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/guarded.h"
#include "engine/io/gguf_format.h"
#include "engine/io/gguf_other_parts.h"
#include "engine/io/gguf_split.h"
#include "engine/io/text.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::size_t kMaxWrittenParts = std::numeric_limits<std::uint16_t>::max();  // split.count is a u16

std::string_view prefix_of(std::string_view path) {
  if (path.ends_with(kGgufSuffix)) path.remove_suffix(kGgufSuffix.size());
  return path;
}

// An older model of the same name in another number of files would lie beside the new one, and a name of a part would
// say nothing of which of the two it is.
Status check_other_parts(std::string_view prefix, std::size_t count, const OutputOptions& output) {
  const OtherParts others = find_other_parts(prefix, count);
  for (const std::string& other : others.parts) {
    for (const std::string& input : output.inputs) {
      std::error_code ignored;
      if (!std::filesystem::equivalent(other, input, ignored)) continue;
      return Error{
          ErrorCode::kInvalidArgument,
          concat(other, ": the input is a model of the output's name in another number of files (the output's: ", count,
                 "); expected another name for the output")};
    }
  }
  if (output.overwrite || others.parts.empty()) return {};
  return Error{
      ErrorCode::kInvalidArgument,
      concat(others.parts.front(), others.parts.size() > 1 ? concat(" and ", others.parts.size() - 1, " more") : "",
             ": parts of a model of the same name in another number of files (the new one's: ", count,
             "); --force removes them")};
}

void set_split(GgufWriter& keys, std::size_t no, std::size_t count, std::size_t n_tensors) {
  for (const char* key : {"split.no", "split.count", "split.tensors.count"}) keys.remove(key);
  keys.set_value("split.no", GgufValue{GgufType::kU16, std::uint64_t{no}});
  keys.set_value("split.count", GgufValue{GgufType::kU16, std::uint64_t{count}});
  keys.set_value("split.tensors.count", GgufValue{GgufType::kI32, static_cast<std::int64_t>(n_tensors)});
}

// Bytes before the tensors' entries, at most, and what the tensors are padded to.
struct Frame {
  std::uint64_t head_bytes = 0, alignment = 0;
};
Result<Frame> frame_of(GgufWriter keys, std::size_t n_tensors) {
  set_split(keys, 0, 1, n_tensors);
  ROWMAX_TRY(head, keys.head_for({}));
  ROWMAX_TRY(alignment, keys.tensor_alignment());
  return Frame{head.size(), alignment};
}

struct WrittenPart {
  std::vector<GgufTensorPlan> tensors;
  std::uint64_t entry_bytes = 0, data_bytes = 0;
  std::uint64_t file_bytes(const Frame& frame) const {
    return align_up(frame.head_bytes + entry_bytes, frame.alignment) + data_bytes;
  }
  WrittenPart with(const GgufTensorPlan& tensor, const Frame& frame) const {
    WrittenPart more;
    more.entry_bytes = entry_bytes + 8 + tensor.name.size() + 4 + 8 * tensor.shape.size() + 4 + 8;
    more.data_bytes = data_bytes + align_up(tensor.n_bytes, frame.alignment);
    return more;
  }
};

std::vector<WrittenPart> cut(std::vector<GgufTensorPlan> tensors, const Frame& first, const Frame& rest,
                             std::uint64_t max_bytes) {
  std::vector<WrittenPart> parts(1);
  for (GgufTensorPlan& tensor : tensors) {
    const Frame& frame = parts.size() == 1 ? first : rest;
    WrittenPart more = parts.back().with(tensor, frame);
    if (!parts.back().tensors.empty() && more.file_bytes(frame) > max_bytes) {
      more = parts.emplace_back().with(tensor, rest);
    }
    parts.back().entry_bytes = more.entry_bytes;
    parts.back().data_bytes = more.data_bytes;
    parts.back().tensors.push_back(std::move(tensor));
  }
  return parts;
}

}  // namespace

Status check_split_prefix(const std::string& path) {
  if (!part_numbers(concat(prefix_of(path), kGgufSuffix))) return {};
  return Error{ErrorCode::kInvalidArgument,
               concat(path,
                      ": expected the name without the number of a part (as in NAME.gguf), which is put behind "
                      "it, found one with it")};
}

Result<GgufSplitStream> GgufSplitStream::create(const std::string& path, const GgufWriter& keys,
                                                std::vector<GgufTensorPlan> tensors, std::uint64_t max_part_bytes,
                                                const OutputOptions& output) {
  return base::guarded([&]() -> Result<GgufSplitStream> {
    GgufSplitStream out;
    if (max_part_bytes == 0) {
      ROWMAX_TRY(stream, GgufStream::create(path, keys, std::move(tensors), output));
      out.paths_.push_back(path);
      out.parts_.push_back(std::move(stream));
      return out;
    }
    ROWMAX_RETURN_IF_ERROR(check_split_prefix(path));
    const std::size_t n_tensors = tensors.size();
    ROWMAX_TRY(first, frame_of(keys, n_tensors));
    ROWMAX_TRY(rest, frame_of(GgufWriter(), n_tensors));
    std::vector<WrittenPart> parts = cut(std::move(tensors), first, rest, max_part_bytes);
    if (parts.size() > kMaxWrittenParts) {
      return Error{ErrorCode::kInvalidArgument,
                   concat(path, ": files of ", max_part_bytes, " bytes would be ", parts.size(), ", expected at most ",
                          kMaxWrittenParts, ": choose a larger size")};
    }
    ROWMAX_RETURN_IF_ERROR(check_other_parts(prefix_of(path), parts.size(), output));
    out.prefix_ = prefix_of(path);
    out.overwrite_ = output.overwrite;
    const std::string of = concat("-of-", five_digits(parts.size()), kGgufSuffix);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      out.n_larger_ += parts[i].file_bytes(i == 0 ? first : rest) > max_part_bytes ? 1 : 0;
      out.paths_.push_back(concat(prefix_of(path), "-", five_digits(i + 1), of));
      GgufWriter own = i == 0 ? keys : GgufWriter();
      set_split(own, i, parts.size(), n_tensors);
      ROWMAX_TRY(stream, GgufStream::create(out.paths_.back(), own, std::move(parts[i].tensors), output));
      out.parts_.push_back(std::move(stream));
    }
    return out;
  });
}

GgufStream& GgufSplitStream::current() {
  while (parts_[part_].is_complete() && part_ + 1 < parts_.size()) ++part_;
  return parts_[part_];
}

Status GgufSplitStream::append(std::span<const std::byte> bytes) { return current().append(bytes); }
Status GgufSplitStream::skip_tensor() { return current().skip_tensor(); }
Status GgufSplitStream::commit() {
  ROWMAX_RETURN_IF_ERROR(GgufStream::commit_all(parts_));
  if (prefix_.empty() || !overwrite_) return {};
  OtherParts others = find_other_parts(prefix_, parts_.size());
  for (std::string& other : others.parts) {
    ROWMAX_RETURN_IF_ERROR(remove_other_part(other));
    removed_.push_back(std::move(other));
  }
  kept_ = std::move(others.unlike);
  return {};
}

Status GgufSplitStream::check_there() const {
  for (const GgufStream& part : parts_) ROWMAX_RETURN_IF_ERROR(part.check_there());
  return {};
}

std::vector<std::string> GgufSplitStream::temporaries() const {
  std::vector<std::string> names;
  for (const GgufStream& part : parts_) names.push_back(part.temporary());
  return names;
}

}  // namespace rowmax::engine
