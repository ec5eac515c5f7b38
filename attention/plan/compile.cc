#include <cstdlib>
#include <new>

#include "attention/plan/compiler.h"
#include "rowmax/try.h"

namespace rowmax {

using attention::at_sequence;
using attention::kMaxPosition;
using attention::PlanBits;
using attention::PlanSequence;
using attention::PlanSource;

namespace {

// Grows *data to hold `count` objects, without keeping the old ones. False when there is no memory.
template <class T>
bool reserve(T** data, std::int64_t* capacity, std::int64_t count) noexcept {
  if (count <= *capacity) return true;
  if (static_cast<std::uint64_t>(count) > PTRDIFF_MAX / sizeof(T)) return false;
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

// *sum += a * b; false on overflow.
bool add_product(std::int64_t* sum, std::int64_t a, std::int64_t b) noexcept {
  std::int64_t product = 0;
  return !__builtin_mul_overflow(a, b, &product) && !__builtin_add_overflow(*sum, product, sum);
}

std::int8_t log2_of_power(std::int64_t x) noexcept {
  return (x & (x - 1)) == 0 ? static_cast<std::int8_t>(__builtin_ctzll(static_cast<std::uint64_t>(x)))
                            : std::int8_t{-1};
}

// First index in [low, n) of ids (in order) for which before(ids[index]) is false.
template <class Before>
std::int64_t first_not(const std::int32_t* ids, std::int64_t low, std::int64_t n, Before&& before) noexcept {
  std::int64_t high = n;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (before(ids[middle])) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

}  // namespace

// Whether all segment terms of a sequence are in order, so that documents become intervals.
bool MaskCompiler::ordered_segments(std::int64_t s) const noexcept {
  const Sequence& q = sequence(s);
  for (int t = 0; t < spec.n_segments_; ++t) {
    const SegmentIds ids = pick(spec.segments_[t], s);
    if (!non_decreasing(ids.q_ids, q.n_q) || !non_decreasing(ids.k_ids, q.n_kv)) return false;
  }
  return true;
}

bool MaskCompiler::same_document(std::int64_t s, std::int64_t i, std::int64_t j) const noexcept {
  for (int t = 0; t < spec.n_segments_; ++t) {
    const SegmentIds ids = pick(spec.segments_[t], s);
    if (ids.q_ids[i] != ids.q_ids[j]) return false;
  }
  return true;
}

// End of the run of queries from `first` on that belong to one document.
std::int64_t MaskCompiler::document_end(std::int64_t s, std::int64_t first, std::int64_t n_q) const noexcept {
  std::int64_t end = first + 1;
  while (end < n_q && same_document(s, first, end)) ++end;
  return end;
}

bool MaskCompiler::count(Sizes* sizes) const noexcept {
  const std::int64_t bits_each = spec.n_bitmaps_ + spec.n_blocks_ + spec.n_trees_;
  for (std::int64_t s = 0; s < static_cast<std::int64_t>(geometry.sequences.size()); ++s) {
    const Sequence& q = sequence(s);
    if (q.positions != nullptr && !add_product(&sizes->positions, q.n_q, 1)) return false;
    if (bits_each > 0) sizes->bits += bits_each;
    if (spec.n_trees_ > 0 && !add_product(&sizes->words, q.n_q, words_of(q.n_q))) return false;
    if (spec.n_segments_ == 0 || q.n_q == 0) {
      ++sizes->sequences;
    } else if (ordered_segments(s)) {
      for (std::int64_t i = 0; i < q.n_q; i = document_end(s, i, q.n_q)) ++sizes->sequences;
    } else {
      ++sizes->sequences;
      ++sizes->bits;
      if (!add_product(&sizes->words, q.n_q, words_of(q.n_kv))) return false;
    }
  }
  return true;
}

// The whole sequence as one PlanSequence, without segments and bits; *valid: the valid keys as they are.
PlanSequence MaskCompiler::lower(std::int64_t s, KeySpan* valid) const noexcept {
  const Sequence& q = sequence(s);
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
  *valid = {p.kv_begin, p.kv_end};
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
  if (spec.keep_first_ > 0) {
    p.keep_end = p.kv_begin + (spec.keep_first_ > kMaxPosition ? kMaxPosition : spec.keep_first_);
  }
  if (spec.n_prefix_ > 0) p.prefix_end = pick(spec.prefix_, s);
  p.document = {0, q.n_kv};
  return p;
}

// Narrows p to the document of queries [first, end): keys with the same ids, grid from the document's first key.
void MaskCompiler::take_document(PlanSequence* p, std::int64_t s, std::int64_t first, std::int64_t end) const noexcept {
  const Sequence& q = sequence(s);
  for (int t = 0; t < spec.n_segments_; ++t) {
    const SegmentIds ids = pick(spec.segments_[t], s);
    const std::int32_t id = ids.q_ids[first];
    const std::int64_t k_begin = first_not(ids.k_ids, 0, q.n_kv, [&](std::int32_t other) { return other < id; });
    const std::int64_t k_end = first_not(ids.k_ids, k_begin, q.n_kv, [&](std::int32_t other) { return other <= id; });
    if (k_begin > p->document.begin) p->document.begin = k_begin;
    if (k_end < p->document.end) p->document.end = k_end;
  }
  if (p->document.begin > p->kv_begin) p->kv_begin = p->document.begin;
  if (p->document.end < p->kv_end) p->kv_end = p->document.end;
  if (p->kv_end < p->kv_begin) p->kv_end = p->kv_begin;
  if (q.anchor < 0) p->anchor = p->kv_begin;
  p->q_begin += first;
  p->q_first = first;
  p->n_q = end - first;
  p->q_pos += first;
  if (p->positions != nullptr) p->positions += first;
}

void MaskCompiler::add_bits(PlanSequence* p, bool segments_as_bits, Store* store) const noexcept {
  const std::int64_t s = p->source;
  p->bitmaps = store->bits;
  for (int t = 0; t < spec.n_bitmaps_; ++t) {
    const BitmapView& map = pick(spec.bitmaps_[t], s);
    PlanBits bits;
    bits.words = map.words;
    bits.row_stride = map.row_stride;
    bits.head_stride = map.head_stride;
    bits.n_key = p->n_kv;
    *store->bits++ = bits;
  }
  for (int t = 0; t < spec.n_blocks_; ++t) {
    const BlockMaskView& blocks = pick(spec.blocks_[t], s);
    PlanBits bits;
    bits.words = blocks.words;
    bits.row_stride = blocks.row_stride;
    bits.head_stride = blocks.head_stride;
    bits.n_key = p->n_kv;
    bits.q_block = blocks.q_block;
    bits.k_block = blocks.k_block;
    bits.q_shift = log2_of_power(blocks.q_block);
    bits.k_shift = log2_of_power(blocks.k_block);
    bits.rule = MaskRule::kBlocks;
    *store->bits++ = bits;
  }
  if (spec.n_trees_ > 0) add_tree(s, store);
  if (segments_as_bits) add_segment_bits(s, store);
  p->n_bitmaps = static_cast<int>(store->bits - p->bitmaps);
}

void MaskCompiler::add_segment_bits(std::int64_t s, Store* store) const noexcept {
  const Sequence& q = sequence(s);
  PlanBits bits;
  bits.words = store->words;
  bits.row_stride = words_of(q.n_kv);
  bits.n_key = q.n_kv;
  bits.rule = MaskRule::kSegments;
  *store->bits++ = bits;
  for (std::int64_t i = 0; i < q.n_q; ++i) {
    std::uint64_t* row = store->words + i * bits.row_stride;
    for (std::int64_t w = 0; w < bits.row_stride; ++w) row[w] = 0;
    for (std::int64_t j = 0; j < q.n_kv; ++j) {
      bool same = true;
      for (int t = 0; t < spec.n_segments_; ++t) {
        const SegmentIds ids = pick(spec.segments_[t], s);
        same = same && ids.q_ids[i] == ids.k_ids[j];
      }
      if (same) row[j / 64] |= std::uint64_t{1} << (j % 64);
    }
  }
  store->words += q.n_q * bits.row_stride;
}

// A node's row is its parent's and its own bit: parents come first.
void MaskCompiler::add_tree(std::int64_t s, Store* store) const noexcept {
  const Sequence& q = sequence(s);
  const TreeView& tree = pick(spec.tree_, s);
  PlanBits bits;
  bits.words = store->words;
  bits.row_stride = words_of(q.n_q);
  bits.key_begin = tree.first_key < 0 ? q.n_kv - q.n_q : tree.first_key;
  bits.n_key = q.n_q;
  bits.rule = MaskRule::kTree;
  *store->bits++ = bits;
  for (std::int64_t i = 0; i < q.n_q; ++i) {
    std::uint64_t* row = store->words + i * bits.row_stride;
    const std::int64_t parent = tree.parents[i];
    for (std::int64_t w = 0; w < bits.row_stride; ++w)
      row[w] = parent < 0 ? 0 : bits.words[parent * bits.row_stride + w];
    row[i / 64] |= std::uint64_t{1} << (i % 64);
  }
  store->words += q.n_q * bits.row_stride;
}

Status MaskCompiler::run() {
  plan.ready = false;
  ROWMAX_RETURN_IF_ERROR(check());
  const std::int64_t n = static_cast<std::int64_t>(geometry.sequences.size());
  Sizes sizes;
  if (!count(&sizes) || !reserve(&plan.sequences, &plan.sequence_capacity, sizes.sequences) ||
      !reserve(&plan.sources, &plan.source_capacity, n + 1) ||
      !reserve(&plan.positions, &plan.position_capacity, sizes.positions) ||
      !reserve(&plan.bits, &plan.bits_capacity, sizes.bits) ||
      !reserve(&plan.words, &plan.word_capacity, sizes.words)) {
    return Error::out_of_memory();
  }
  std::int64_t* positions = plan.positions;
  Store store{plan.bits, plan.words};
  std::int64_t filled = 0;
  for (std::int64_t s = 0; s < n; ++s) {
    const Sequence& q = sequence(s);
    KeySpan valid;
    PlanSequence p = lower(s, &valid);
    plan.sources[s] = PlanSource{filled, q.n_q, valid};
    if (p.anchor > p.kv_begin) {
      return Error::invalid_argument(at_sequence(s) + "anchor " + std::to_string(p.anchor) +
                                     " lies after the first valid key " + std::to_string(p.kv_begin));
    }
    if (q.positions != nullptr) {
      for (std::int64_t i = 0; i < q.n_q; ++i) positions[i] = q.positions[i];
      p.positions = positions;
      positions += q.n_q;
    }
    const bool documents = spec.n_segments_ > 0 && q.n_q > 0 && ordered_segments(s);
    const bool segments_as_bits = spec.n_segments_ > 0 && q.n_q > 0 && !documents;
    if (sizes.bits > 0) add_bits(&p, segments_as_bits, &store);
    if (!documents) {
      plan.sequences[filled++] = p;
      continue;
    }
    for (std::int64_t i = 0; i < q.n_q;) {
      const std::int64_t end = document_end(s, i, q.n_q);
      PlanSequence document = p;
      take_document(&document, s, i, end);
      plan.sequences[filled++] = document;
      i = end;
    }
  }
  plan.sources[n].first = filled;
  plan.n_sequences = filled;
  plan.n_sources = n;
  plan.n_head = geometry.n_head;
  plan.n_kv_head = geometry.n_kv_head;
  plan.spans_alone = spec.n_segments_ == 0 && sizes.bits == 0;
  plan.ready = true;
  return {};
}

MaskPlan::~MaskPlan() {
  if (impl_ == nullptr) return;
  std::free(impl_->sequences);
  std::free(impl_->sources);
  std::free(impl_->positions);
  std::free(impl_->bits);
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

}  // namespace rowmax
