#include "attention/plan/plan.h"

#include <cstdlib>
#include <new>
#include <string>

#include "base/try.h"

namespace rowmax {

using attention::bitmap_word;
using attention::bitmaps_word;
using attention::kMaxPosition;
using attention::PlanSequence;
using attention::row_spans;
using attention::RowSpans;

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

namespace {

Error invalid(std::string message) { return Error{ErrorCode::kInvalidArgument, std::move(message)}; }

std::string at(std::int64_t sequence) { return "sequence " + std::to_string(sequence) + ": "; }

// Grows *data to hold `count` objects, without keeping the old ones. False when there is no memory.
template <class T>
bool reserve(T** data, std::int64_t* capacity, std::int64_t count) {
  if (count <= *capacity) return true;
  if (static_cast<std::uint64_t>(count) > SIZE_MAX / sizeof(T)) return false;
  T* grown = static_cast<T*>(std::malloc(static_cast<std::size_t>(count) * sizeof(T)));
  if (grown == nullptr) return false;
  std::free(*data);
  *data = grown;
  *capacity = count;
  return true;
}

bool non_decreasing(const std::int32_t* ids, std::int64_t n) noexcept {
  for (std::int64_t i = 1; i < n; ++i) {
    if (ids[i] < ids[i - 1]) return false;
  }
  return true;
}

}  // namespace

// The steps of one compile. Two passes over the sequences: count what must be stored, then fill it in.
struct MaskCompiler {
  const MaskSpec& spec;
  const Geometry& geometry;
  MaskPlan::Impl& plan;

  template <class T>
  static const T& pick(std::span<const T> values, std::int64_t s) noexcept {
    return values.size() == 1 ? values[0] : values[static_cast<std::size_t>(s)];
  }

  template <class T>
  Status check_count(std::span<const T> values, const char* what) const {
    if (values.size() == 1 || values.size() == geometry.sequences.size()) return {};
    return invalid(std::string(what) + ": expected one element for each of " +
                   std::to_string(geometry.sequences.size()) + " sequences or a single one, found " +
                   std::to_string(values.size()));
  }

  Status check_terms() const {
    const struct {
      int found, most;
      const char* name;
    } limits[] = {{spec.n_valid_, MaskSpec::kMaxTerms, "valid"},
                  {spec.n_segments_, MaskSpec::kMaxTerms, "segments"},
                  {spec.n_bitmaps_, MaskSpec::kMaxTerms, "bitmap"},
                  {spec.n_chunks_, 1, "chunk"},
                  {spec.n_blocks_, 0, "blocks"},  // not available yet
                  {spec.n_trees_, 0, "tree"},
                  {spec.n_prefix_, 1, "prefix"},
                  {spec.n_keep_first_, 1, "keep_first"}};
    for (const auto& limit : limits) {
      if (limit.found > limit.most) {
        return invalid(std::string("mask: ") + limit.name + " given " + std::to_string(limit.found) +
                       " times, at most " + std::to_string(limit.most) + " can be combined");
      }
    }
    if (spec.n_chunks_ > 0 && (spec.chunk_ < 1 || spec.chunk_ > kMaxPosition)) {
      return invalid("mask: chunk size " + std::to_string(spec.chunk_) + ", expected at least 1");
    }
    if (spec.keep_first_ < 0) return invalid("mask: keep_first " + std::to_string(spec.keep_first_) + " is negative");
    for (int t = 0; t < spec.n_valid_; ++t) ROWMAX_RETURN_IF_ERROR(check_count(spec.valid_[t], "valid"));
    for (int t = 0; t < spec.n_segments_; ++t) ROWMAX_RETURN_IF_ERROR(check_count(spec.segments_[t], "segments"));
    for (int t = 0; t < spec.n_bitmaps_; ++t) ROWMAX_RETURN_IF_ERROR(check_count(spec.bitmaps_[t], "bitmap"));
    if (spec.n_prefix_ > 0) ROWMAX_RETURN_IF_ERROR(check_count(spec.prefix_, "prefix"));
    return {};
  }

  Status check_sequence(std::int64_t s) const {
    const Sequence& q = geometry.sequences[static_cast<std::size_t>(s)];
    const auto in_range = [](std::int64_t value, std::int64_t least) {
      return value >= least && value <= kMaxPosition;
    };
    if (!in_range(q.n_q, 0) || !in_range(q.n_kv, 0) || !in_range(q.q_begin, 0)) {
      return invalid(at(s) + "n_q " + std::to_string(q.n_q) + ", n_kv " + std::to_string(q.n_kv) + ", q_begin " +
                     std::to_string(q.q_begin) + ": expected 0 to 2^60");
    }
    if (!in_range(q.q_pos, -kMaxPosition) || !in_range(q.anchor, -1)) {
      return invalid(at(s) + "q_pos " + std::to_string(q.q_pos) + " or anchor " + std::to_string(q.anchor) +
                     " out of range");
    }
    if (q.positions != nullptr) {
      for (std::int64_t i = 0; i < q.n_q; ++i) {
        if (!in_range(q.positions[i], -kMaxPosition)) {
          return invalid(at(s) + "position " + std::to_string(q.positions[i]) + " of query " + std::to_string(i) +
                         " out of range");
        }
      }
    }
    for (int t = 0; t < spec.n_valid_; ++t) {
      const KeySpan span = pick(spec.valid_[t], s);
      if (span.begin < 0 || span.begin > span.end || span.end > q.n_kv) {
        return invalid(at(s) + "valid keys [" + std::to_string(span.begin) + ", " + std::to_string(span.end) +
                       "), expected within [0, " + std::to_string(q.n_kv) + ")");
      }
    }
    for (int t = 0; t < spec.n_segments_; ++t) {
      const SegmentIds ids = pick(spec.segments_[t], s);
      if ((ids.q_ids == nullptr && q.n_q > 0) || (ids.k_ids == nullptr && q.n_kv > 0)) {
        return invalid(at(s) + "segment ids missing");
      }
    }
    for (int t = 0; t < spec.n_bitmaps_; ++t) {
      if (pick(spec.bitmaps_[t], s).words == nullptr && q.n_q > 0 && q.n_kv > 0) {
        return invalid(at(s) + "bitmap without words");
      }
    }
    return {};
  }

  // Whether all segment terms of a sequence are in order, so that documents become intervals.
  bool ordered_segments(std::int64_t s) const noexcept {
    const Sequence& q = geometry.sequences[static_cast<std::size_t>(s)];
    for (int t = 0; t < spec.n_segments_; ++t) {
      const SegmentIds ids = pick(spec.segments_[t], s);
      if (!non_decreasing(ids.q_ids, q.n_q) || !non_decreasing(ids.k_ids, q.n_kv)) return false;
    }
    return true;
  }

  bool same_document(std::int64_t s, std::int64_t i, std::int64_t j) const noexcept {
    for (int t = 0; t < spec.n_segments_; ++t) {
      const SegmentIds ids = pick(spec.segments_[t], s);
      if (ids.q_ids[i] != ids.q_ids[j]) return false;
    }
    return true;
  }

  // End of the run of queries from `first` on that belong to one document.
  std::int64_t document_end(std::int64_t s, std::int64_t first, std::int64_t n_q) const noexcept {
    std::int64_t end = first + 1;
    while (end < n_q && same_document(s, first, end)) ++end;
    return end;
  }

  struct Sizes {
    std::int64_t sequences = 0, positions = 0, words = 0;
  };

  static std::int64_t words_of(const Sequence& q) noexcept { return q.n_q * ((q.n_kv + 63) / 64); }

  bool count(Sizes* sizes) const noexcept {
    for (std::int64_t s = 0; s < static_cast<std::int64_t>(geometry.sequences.size()); ++s) {
      const Sequence& q = geometry.sequences[static_cast<std::size_t>(s)];
      if (q.positions != nullptr) sizes->positions += q.n_q;
      if (spec.n_segments_ == 0 || q.n_q == 0) {
        ++sizes->sequences;
      } else if (ordered_segments(s)) {
        for (std::int64_t i = 0; i < q.n_q; i = document_end(s, i, q.n_q)) ++sizes->sequences;
      } else {
        ++sizes->sequences;
        std::int64_t product = 0;
        if (__builtin_mul_overflow(q.n_q, (q.n_kv + 63) / 64, &product)) return false;
        if (__builtin_add_overflow(sizes->words, product, &sizes->words)) return false;
      }
    }
    return true;
  }

  PlanSequence lower(std::int64_t s) const noexcept {
    const Sequence& q = geometry.sequences[static_cast<std::size_t>(s)];
    PlanSequence p;
    p.source = s;
    p.q_begin = q.q_begin;
    p.n_q = q.n_q;
    p.q_pos = q.q_pos;
    p.n_kv = q.n_kv;
    p.kv_end = q.n_kv;
    for (int t = 0; t < spec.n_valid_; ++t) {
      const KeySpan span = pick(spec.valid_[t], s);
      if (span.begin > p.kv_begin) p.kv_begin = span.begin;
      if (span.end < p.kv_end) p.kv_end = span.end;
    }
    if (p.kv_end < p.kv_begin) p.kv_end = p.kv_begin;
    p.anchor = q.anchor < 0 ? p.kv_begin : q.anchor;
    // Far enough out that no position and key can tell the difference, near enough that sums do not overflow.
    constexpr std::int64_t kFar = std::int64_t{1} << 62;
    const auto clamped = [](std::int64_t bound) {
      return bound == kUnbounded ? bound : bound > kFar ? kFar : bound < -kFar ? -kFar : bound;
    };
    p.left = clamped(spec.left_);
    p.right = clamped(spec.right_);
    p.chunk = spec.chunk_;
    p.chunk_origin = p.kv_begin;
    if (spec.keep_first_ > 0)
      p.keep_end = p.kv_begin + (spec.keep_first_ > kMaxPosition ? kMaxPosition : spec.keep_first_);
    if (spec.n_prefix_ > 0) p.prefix_end = pick(spec.prefix_, s);
    for (int t = 0; t < spec.n_bitmaps_; ++t) p.bitmaps[p.n_bitmaps++] = pick(spec.bitmaps_[t], s);
    return p;
  }

  // Narrows p to the document of queries [first, end): keys with the same ids, grid from the document's first key.
  void take_document(PlanSequence* p, std::int64_t s, std::int64_t first, std::int64_t end) const noexcept {
    const Sequence& q = geometry.sequences[static_cast<std::size_t>(s)];
    for (int t = 0; t < spec.n_segments_; ++t) {
      const SegmentIds ids = pick(spec.segments_[t], s);
      const std::int32_t id = ids.q_ids[first];
      const auto lower_bound = [&](std::int64_t low, auto&& before) {
        std::int64_t high = q.n_kv;
        while (low < high) {
          const std::int64_t middle = low + (high - low) / 2;
          if (before(ids.k_ids[middle])) {
            low = middle + 1;
          } else {
            high = middle;
          }
        }
        return low;
      };
      const std::int64_t k_begin = lower_bound(0, [&](std::int32_t other) { return other < id; });
      const std::int64_t k_end = lower_bound(k_begin, [&](std::int32_t other) { return other <= id; });
      if (k_begin > p->kv_begin) p->kv_begin = k_begin;
      if (k_end < p->kv_end) p->kv_end = k_end;
    }
    if (p->kv_end < p->kv_begin) p->kv_end = p->kv_begin;
    if (q.anchor < 0) p->anchor = p->kv_begin;
    p->q_begin += first;
    p->q_first = first;
    p->n_q = end - first;
    p->q_pos += first;
    if (p->positions != nullptr) p->positions += first;
  }

  void fill_words(std::int64_t s, std::uint64_t* words) const noexcept {
    const Sequence& q = geometry.sequences[static_cast<std::size_t>(s)];
    const std::int64_t stride = (q.n_kv + 63) / 64;
    for (std::int64_t i = 0; i < q.n_q; ++i) {
      for (std::int64_t w = 0; w < stride; ++w) words[i * stride + w] = 0;
      for (std::int64_t j = 0; j < q.n_kv; ++j) {
        bool same = true;
        for (int t = 0; t < spec.n_segments_; ++t) {
          const SegmentIds ids = pick(spec.segments_[t], s);
          same = same && ids.q_ids[i] == ids.k_ids[j];
        }
        if (same) words[i * stride + j / 64] |= std::uint64_t{1} << (j % 64);
      }
    }
  }

  Status run() {
    plan.ready = false;
    if (geometry.n_head < 1 || geometry.n_kv_head < 1 || geometry.n_head % geometry.n_kv_head != 0) {
      return invalid("n_head " + std::to_string(geometry.n_head) + " must be a positive multiple of n_kv_head " +
                     std::to_string(geometry.n_kv_head));
    }
    ROWMAX_RETURN_IF_ERROR(check_terms());
    const std::int64_t n = static_cast<std::int64_t>(geometry.sequences.size());
    for (std::int64_t s = 0; s < n; ++s) ROWMAX_RETURN_IF_ERROR(check_sequence(s));
    Sizes sizes;
    if (!count(&sizes) || !reserve(&plan.sequences, &plan.sequence_capacity, sizes.sequences) ||
        !reserve(&plan.positions, &plan.position_capacity, sizes.positions) ||
        !reserve(&plan.words, &plan.word_capacity, sizes.words)) {
      return Error::out_of_memory();
    }
    std::int64_t* positions = plan.positions;
    std::uint64_t* words = plan.words;
    std::int64_t filled = 0;
    for (std::int64_t s = 0; s < n; ++s) {
      const Sequence& q = geometry.sequences[static_cast<std::size_t>(s)];
      PlanSequence p = lower(s);
      if (p.anchor > p.kv_begin) {
        return invalid(at(s) + "anchor " + std::to_string(p.anchor) + " lies after the first valid key " +
                       std::to_string(p.kv_begin));
      }
      if (q.positions != nullptr) {
        for (std::int64_t i = 0; i < q.n_q; ++i) positions[i] = q.positions[i];
        p.positions = positions;
        positions += q.n_q;
      }
      if (spec.n_segments_ == 0 || q.n_q == 0) {
        plan.sequences[filled++] = p;
      } else if (ordered_segments(s)) {
        for (std::int64_t i = 0; i < q.n_q;) {
          const std::int64_t end = document_end(s, i, q.n_q);
          PlanSequence document = p;
          take_document(&document, s, i, end);
          plan.sequences[filled++] = document;
          i = end;
        }
      } else {
        fill_words(s, words);
        p.bitmaps[p.n_bitmaps++] = {words, (q.n_kv + 63) / 64, 0};
        words += words_of(q);
        plan.sequences[filled++] = p;
      }
    }
    plan.n_sequences = filled;
    plan.n_sources = n;
    plan.n_head = geometry.n_head;
    plan.n_kv_head = geometry.n_kv_head;
    plan.ready = true;
    return {};
  }
};

MaskPlan::~MaskPlan() {
  if (impl_ == nullptr) return;
  std::free(impl_->sequences);
  std::free(impl_->positions);
  std::free(impl_->words);
  delete impl_;
}

Status MaskPlan::compile(const MaskSpec& spec, const Geometry& geometry) {
  if (impl_ == nullptr) {
    impl_ = new (std::nothrow) Impl;
    if (impl_ == nullptr) return Error::out_of_memory();
  }
  return MaskCompiler{spec, geometry, *impl_}.run();
}

std::int64_t MaskPlan::n_sequence() const noexcept { return impl_ != nullptr && impl_->ready ? impl_->n_sources : 0; }
std::int64_t MaskPlan::n_head() const noexcept { return impl_ != nullptr && impl_->ready ? impl_->n_head : 0; }
std::int64_t MaskPlan::n_kv_head() const noexcept { return impl_ != nullptr && impl_->ready ? impl_->n_kv_head : 0; }

bool MaskPlan::visible(std::int64_t s, std::int64_t h, std::int64_t i, std::int64_t j) const noexcept {
  if (impl_ == nullptr || !impl_->ready) return false;
  for (std::int64_t k = 0; k < impl_->n_sequences; ++k) {
    const PlanSequence& p = impl_->sequences[k];
    if (p.source != s || i < p.q_first || i >= p.q_first + p.n_q) continue;
    const RowSpans spans = row_spans(p, i - p.q_first);
    const bool inside = (j >= spans.begin0 && j < spans.end0) || (j >= spans.begin1 && j < spans.end1);
    return inside && (bitmaps_word(p, i - p.q_first, h, j) & 1) != 0;
  }
  return false;
}

std::int64_t MaskPlan::anchor(std::int64_t s, std::int64_t i) const noexcept {
  if (impl_ == nullptr || !impl_->ready) return 0;
  for (std::int64_t k = 0; k < impl_->n_sequences; ++k) {
    const PlanSequence& p = impl_->sequences[k];
    if (p.source == s && i >= p.q_first && i < p.q_first + p.n_q) return p.anchor;
  }
  return 0;
}

MaskStats MaskPlan::stats() const noexcept {
  MaskStats stats;
  if (impl_ == nullptr || !impl_->ready) return stats;
  for (std::int64_t k = 0; k < impl_->n_sequences; ++k) {
    const PlanSequence& p = impl_->sequences[k];
    bool per_head = false;
    for (int b = 0; b < p.n_bitmaps; ++b) per_head = per_head || p.bitmaps[b].head_stride != 0;
    const std::int64_t n_distinct = per_head ? impl_->n_head : 1;
    const std::int64_t weight = impl_->n_head / n_distinct;
    for (std::int64_t i = 0; i < p.n_q; ++i) {
      const RowSpans spans = row_spans(p, i);
      for (std::int64_t h = 0; h < n_distinct; ++h) {
        std::int64_t visible = 0;
        for (std::int64_t t = p.anchor; t < p.kv_end; t += kKeyTile) {
          const std::uint64_t valid = attention::bit_range(p.kv_begin - t, p.kv_end - t);
          if (valid == 0) continue;
          const std::uint64_t word = attention::spans_word(spans, t) & bitmaps_word(p, i, h, t);
          visible += __builtin_popcountll(word);
          (word == 0 ? stats.empty_tiles : word == valid ? stats.full_tiles : stats.partial_tiles) += weight;
        }
        stats.visible_pairs += visible * weight;
        stats.empty_rows += visible == 0 ? weight : 0;
      }
    }
  }
  return stats;
}

}  // namespace rowmax
