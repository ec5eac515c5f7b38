// MaskSpec: conditions as they are given; compile() judges them. Names of rules and kinds.
#include "rowmax/mask.h"

namespace rowmax {

MaskSpec& MaskSpec::window(std::int64_t left, std::int64_t right) noexcept {
  if (left < left_) left_ = left;
  if (right < right_) right_ = right;
  return *this;
}
MaskSpec& MaskSpec::valid(std::span<const KeySpan> spans) noexcept {
  if (n_valid_ < kMaxTerms) valid_[n_valid_] = spans;
  ++n_valid_;
  return *this;
}
MaskSpec& MaskSpec::segments(std::span<const SegmentIds> ids) noexcept {
  if (n_segments_ < kMaxTerms) segments_[n_segments_] = ids;
  ++n_segments_;
  return *this;
}
MaskSpec& MaskSpec::chunk(std::int64_t size) noexcept {
  chunk_ = size;
  ++n_chunks_;
  return *this;
}
MaskSpec& MaskSpec::bitmap(std::span<const BitmapView> bitmaps) noexcept {
  if (n_bitmaps_ < kMaxTerms) bitmaps_[n_bitmaps_] = bitmaps;
  ++n_bitmaps_;
  return *this;
}
MaskSpec& MaskSpec::blocks(std::span<const BlockMaskView> blocks) noexcept {
  if (n_blocks_ < kMaxTerms) blocks_[n_blocks_] = blocks;
  ++n_blocks_;
  return *this;
}
MaskSpec& MaskSpec::tree(std::span<const TreeView> trees) noexcept {
  tree_ = trees;
  ++n_trees_;
  return *this;
}
MaskSpec& MaskSpec::prefix(std::span<const std::int64_t> prefix_ends) noexcept {
  prefix_ = prefix_ends;
  ++n_prefix_;
  return *this;
}
MaskSpec& MaskSpec::keep_first(std::int64_t n) noexcept {
  keep_first_ = n;
  ++n_keep_first_;
  return *this;
}

const char* mask_rule_name(MaskRule rule) noexcept {
  switch (rule) {
    case MaskRule::kValid: return "valid";
    case MaskRule::kSegments: return "segments";
    case MaskRule::kChunk: return "chunk";
    case MaskRule::kBitmap: return "bitmap";
    case MaskRule::kBlocks: return "blocks";
    case MaskRule::kTree: return "tree";
    case MaskRule::kRightBound: return "right_bound";
    case MaskRule::kLeftBound: return "left_bound";
  }
  return "unknown";
}

const char* mask_kind_name(MaskKind kind) noexcept {
  switch (kind) {
    case MaskKind::kFull: return "full";
    case MaskKind::kEmpty: return "empty";
    case MaskKind::kPadding: return "padding";
    case MaskKind::kCausal: return "causal";
    case MaskKind::kPrefix: return "prefix";
    case MaskKind::kSlidingWindow: return "sliding_window";
    case MaskKind::kTwoSpans: return "two_spans";
    case MaskKind::kChunked: return "chunked";
    case MaskKind::kDocuments: return "documents";
    case MaskKind::kArbitrary: return "arbitrary";
  }
  return "unknown";
}

}  // namespace rowmax
