// What compile() refuses.
#include <string>

#include "attention/plan/compiler.h"
#include "rowmax/try.h"

namespace rowmax {

using attention::at_sequence;
using attention::kMaxPosition;

namespace {

std::string text(std::int64_t number) { return std::to_string(number); }

bool in_range(std::int64_t value, std::int64_t least) noexcept { return value >= least && value <= kMaxPosition; }

}  // namespace

template <class T>
Status MaskCompiler::check_count(std::span<const T> values, const char* what) const {
  if (values.size() == 1 || values.size() == geometry.sequences.size()) return {};
  return Error::invalid_argument(std::string(what) + ": expected one element for each of " +
                                 std::to_string(geometry.sequences.size()) + " sequences or a single one, found " +
                                 std::to_string(values.size()));
}

Status MaskCompiler::check() const {
  ROWMAX_RETURN_IF_ERROR(check_terms());
  const std::int64_t n = static_cast<std::int64_t>(geometry.sequences.size());
  for (std::int64_t s = 0; s < n; ++s) ROWMAX_RETURN_IF_ERROR(check_sequence(s));
  return {};
}

Status MaskCompiler::check_terms() const {
  if (geometry.n_head < 1 || geometry.n_kv_head < 1 || geometry.n_head % geometry.n_kv_head != 0) {
    return Error::invalid_argument("n_head " + text(geometry.n_head) + " must be a positive multiple of n_kv_head " +
                                   text(geometry.n_kv_head));
  }
  const struct {
    int found, most;
    const char* name;
  } limits[] = {{spec.n_valid_, MaskSpec::kMaxTerms, "valid"},
                {spec.n_segments_, MaskSpec::kMaxTerms, "segments"},
                {spec.n_bitmaps_, MaskSpec::kMaxTerms, "bitmap"},
                {spec.n_blocks_, MaskSpec::kMaxTerms, "blocks"},
                {spec.n_chunks_, 1, "chunk"},
                {spec.n_trees_, 1, "tree"},
                {spec.n_prefix_, 1, "prefix"},
                {spec.n_keep_first_, 1, "keep_first"}};
  for (const auto& limit : limits) {
    if (limit.found > limit.most) {
      return Error::invalid_argument(std::string("mask: ") + limit.name + " given " + text(limit.found) +
                                     " times, at most " + text(limit.most) + " can be combined");
    }
  }
  if (spec.n_chunks_ > 0 && !in_range(spec.chunk_, 1)) {
    return Error::invalid_argument("mask: chunk size " + text(spec.chunk_) + ", expected 1 to 2^60");
  }
  if (spec.keep_first_ < 0) {
    return Error::invalid_argument("mask: keep_first " + text(spec.keep_first_) + " is negative");
  }
  return check_counts();
}

Status MaskCompiler::check_counts() const {
  for (int t = 0; t < spec.n_valid_; ++t) ROWMAX_RETURN_IF_ERROR(check_count(spec.valid_[t], "valid"));
  for (int t = 0; t < spec.n_segments_; ++t) ROWMAX_RETURN_IF_ERROR(check_count(spec.segments_[t], "segments"));
  for (int t = 0; t < spec.n_bitmaps_; ++t) ROWMAX_RETURN_IF_ERROR(check_count(spec.bitmaps_[t], "bitmap"));
  for (int t = 0; t < spec.n_blocks_; ++t) ROWMAX_RETURN_IF_ERROR(check_count(spec.blocks_[t], "blocks"));
  if (spec.n_trees_ > 0) ROWMAX_RETURN_IF_ERROR(check_count(spec.tree_, "tree"));
  if (spec.n_prefix_ > 0) ROWMAX_RETURN_IF_ERROR(check_count(spec.prefix_, "prefix"));
  return {};
}

Status MaskCompiler::check_sequence(std::int64_t s) const {
  const Sequence& q = sequence(s);
  if (!in_range(q.n_q, 0) || !in_range(q.n_kv, 0) || !in_range(q.q_begin, 0)) {
    return Error::invalid_argument(at_sequence(s) + "n_q " + text(q.n_q) + ", n_kv " + text(q.n_kv) + ", q_begin " +
                                   text(q.q_begin) + ": expected 0 to 2^60");
  }
  if (!in_range(q.q_pos, -kMaxPosition) || !in_range(q.anchor, -1)) {
    return Error::invalid_argument(at_sequence(s) + "q_pos " + text(q.q_pos) + " or anchor " + text(q.anchor) +
                                   " out of range");
  }
  if (q.positions != nullptr) {
    for (std::int64_t i = 0; i < q.n_q; ++i) {
      if (in_range(q.positions[i], -kMaxPosition)) continue;
      return Error::invalid_argument(at_sequence(s) + "position " + text(q.positions[i]) + " of query " + text(i) +
                                     " out of range");
    }
  }
  if (spec.n_valid_ + spec.n_segments_ > 0) ROWMAX_RETURN_IF_ERROR(check_spans(s));
  if (spec.n_bitmaps_ + spec.n_blocks_ > 0) ROWMAX_RETURN_IF_ERROR(check_bits(s));
  return spec.n_trees_ > 0 ? check_tree(s) : Status();
}

Status MaskCompiler::check_spans(std::int64_t s) const {
  const Sequence& q = sequence(s);
  for (int t = 0; t < spec.n_valid_; ++t) {
    const KeySpan span = pick(spec.valid_[t], s);
    if (span.begin < 0 || span.begin > span.end || span.end > q.n_kv) {
      return Error::invalid_argument(at_sequence(s) + "valid keys [" + text(span.begin) + ", " + text(span.end) +
                                     "), expected within [0, " + text(q.n_kv) + ")");
    }
  }
  for (int t = 0; t < spec.n_segments_; ++t) {
    const SegmentIds ids = pick(spec.segments_[t], s);
    if ((ids.q_ids == nullptr && q.n_q > 0) || (ids.k_ids == nullptr && q.n_kv > 0)) {
      return Error::invalid_argument(at_sequence(s) + "segment ids missing");
    }
  }
  return {};
}

// Rows as they are stepped through must not leave the address space.
Status MaskCompiler::check_strides(std::int64_t s, const char* what, std::int64_t n_row, std::int64_t row_stride,
                                   std::int64_t head_stride) const {
  std::int64_t rows = 0, heads = 0, sum = 0;
  if (in_range(row_stride, -kMaxPosition) && in_range(head_stride, -kMaxPosition) &&
      !__builtin_mul_overflow(n_row - 1, row_stride < 0 ? -row_stride : row_stride, &rows) &&
      !__builtin_mul_overflow(std::int64_t{geometry.n_head} - 1, head_stride < 0 ? -head_stride : head_stride,
                              &heads) &&
      !__builtin_add_overflow(rows, heads, &sum) && sum <= kMaxPosition) {
    return {};
  }
  return Error::invalid_argument(at_sequence(s) + what + " strides " + text(row_stride) + " (row) and " +
                                 text(head_stride) + " (head) reach beyond memory");
}

Status MaskCompiler::check_bits(std::int64_t s) const {
  const Sequence& q = sequence(s);
  const bool read = q.n_q > 0 && q.n_kv > 0;
  for (int t = 0; t < spec.n_bitmaps_; ++t) {
    const BitmapView& map = pick(spec.bitmaps_[t], s);
    if (!read) continue;
    if (map.words == nullptr) return Error::invalid_argument(at_sequence(s) + "bitmap without words");
    ROWMAX_RETURN_IF_ERROR(check_strides(s, "bitmap", q.n_q, map.row_stride, map.head_stride));
  }
  for (int t = 0; t < spec.n_blocks_; ++t) {
    const BlockMaskView& blocks = pick(spec.blocks_[t], s);
    if (!in_range(blocks.q_block, 1) || !in_range(blocks.k_block, 1)) {
      return Error::invalid_argument(at_sequence(s) + "blocks of " + text(blocks.q_block) + " queries by " +
                                     text(blocks.k_block) + " keys, expected 1 to 2^60");
    }
    if (!read) continue;
    if (blocks.words == nullptr) return Error::invalid_argument(at_sequence(s) + "blocks without words");
    ROWMAX_RETURN_IF_ERROR(
        check_strides(s, "blocks", (q.n_q - 1) / blocks.q_block + 1, blocks.row_stride, blocks.head_stride));
  }
  return {};
}

Status MaskCompiler::check_tree(std::int64_t s) const {
  const Sequence& q = sequence(s);
  const TreeView& tree = pick(spec.tree_, s);
  if (q.n_q > q.n_kv) {
    return Error::invalid_argument(at_sequence(s) + "tree of " + text(q.n_q) + " nodes, but only " + text(q.n_kv) +
                                   " keys");
  }
  if (tree.first_key < -1 || tree.first_key > q.n_kv - q.n_q) {
    return Error::invalid_argument(at_sequence(s) + "tree: first_key " + text(tree.first_key) +
                                   ", expected -1 or 0 to " + text(q.n_kv - q.n_q) + " (n_kv - n_q)");
  }
  if (tree.parents == nullptr && q.n_q > 0) return Error::invalid_argument(at_sequence(s) + "tree without parents");
  for (std::int64_t i = 0; i < q.n_q; ++i) {
    if (tree.parents[i] >= -1 && tree.parents[i] < i) continue;
    return Error::invalid_argument(at_sequence(s) + "tree: parent " + text(tree.parents[i]) + " of node " + text(i) +
                                   ", expected -1 to " + text(i - 1));
  }
  return {};
}

}  // namespace rowmax
