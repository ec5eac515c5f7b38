// What a compiled mask says about itself: pairs, counts, kind, bits, the next step. explain.cc gives reasons.
#include "attention/plan/plan.h"

#include <string>

#include "rowmax/try.h"

namespace rowmax {

using attention::bitmaps_word;
using attention::kMaxPosition;
using attention::PlanSequence;
using attention::PlanSource;
using attention::row_spans;
using attention::RowSpans;
using attention::spans_word;

const PlanSequence* MaskPlan::Impl::find(std::int64_t s, std::int64_t i) const noexcept {
  if (s < 0 || s >= n_sources || i < 0 || i >= sources[s].n_q) return nullptr;
  std::int64_t low = sources[s].first;
  std::int64_t high = sources[s + 1].first - 1;
  while (low < high) {  // the last one whose queries do not start after i
    const std::int64_t middle = low + (high - low + 1) / 2;
    if (sequences[middle].q_first <= i) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return &sequences[low];
}

std::int64_t MaskPlan::n_sequence() const noexcept { return impl_ != nullptr && impl_->ready ? impl_->n_sources : 0; }
std::int64_t MaskPlan::n_head() const noexcept { return impl_ != nullptr && impl_->ready ? impl_->n_head : 0; }
std::int64_t MaskPlan::n_kv_head() const noexcept { return impl_ != nullptr && impl_->ready ? impl_->n_kv_head : 0; }

std::int64_t MaskPlan::n_query(std::int64_t s) const noexcept {
  return s >= 0 && s < n_sequence() ? impl_->sources[s].n_q : 0;
}
std::int64_t MaskPlan::n_key(std::int64_t s) const noexcept {
  return s >= 0 && s < n_sequence() ? impl_->sequences[impl_->sources[s].first].n_kv : 0;
}

bool MaskPlan::visible(std::int64_t s, std::int64_t h, std::int64_t i, std::int64_t j) const noexcept {
  if (h < 0 || h >= n_head() || j < 0) return false;
  const PlanSequence* p = impl_->find(s, i);
  if (p == nullptr || j >= p->n_kv) return false;
  const RowSpans spans = row_spans(*p, i - p->q_first);
  const bool inside = (j >= spans.begin0 && j < spans.end0) || (j >= spans.begin1 && j < spans.end1);
  return inside && (bitmaps_word(*p, i - p->q_first, h, j) & 1) != 0;
}

std::int64_t MaskPlan::anchor(std::int64_t s, std::int64_t i) const noexcept {
  const PlanSequence* p = n_sequence() > 0 ? impl_->find(s, i) : nullptr;
  return p == nullptr ? 0 : p->anchor;
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
          const std::uint64_t word = spans_word(spans, t) & bitmaps_word(p, i, h, t);
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

namespace {

bool empty(const RowSpans& spans) noexcept { return spans.begin0 >= spans.end0; }  // the first is never the empty one
bool same(const RowSpans& a, const RowSpans& b) noexcept {
  if (empty(a) || empty(b)) return empty(a) == empty(b);
  return a.begin0 == b.begin0 && a.end0 == b.end0 && a.begin1 == b.begin1 && a.end1 == b.end1;
}

// What the rows of a run of PlanSequences have in common.
struct RowsSeen {
  bool all_empty = true;
  bool all_alike = true;   // one run of keys, the same for all
  bool two_spans = false;  // some row has two runs
  bool up_to_own = true;   // each row is the valid keys up to its own position
  bool rising = true;      // positions rise by one
  RowSpans first{0, 0, 0, 0};
};

void look_at_rows(const PlanSequence& p, bool first, RowsSeen* seen) noexcept {
  PlanSequence causal = p;  // valid keys up to the own position, nothing else
  causal.left = kUnbounded;
  causal.right = 0;
  causal.chunk = causal.prefix_end = causal.keep_end = 0;
  for (std::int64_t i = 0; i < p.n_q; ++i) {
    const RowSpans spans = row_spans(p, i);
    const RowSpans own = row_spans(causal, i);
    if (first && i == 0) seen->first = spans;
    const bool single = spans.begin1 >= spans.end1;
    seen->all_empty = seen->all_empty && empty(spans);
    seen->all_alike = seen->all_alike && single && same(spans, seen->first);
    seen->two_spans = seen->two_spans || !single;
    seen->up_to_own = seen->up_to_own && same(spans, own);
    seen->rising = seen->rising && (p.positions == nullptr || p.positions[i] == p.positions[0] + i);
  }
}

// Whether `other` shows all rows of p alike.
bool same_rows(const PlanSequence& p, const PlanSequence& other) noexcept {
  for (std::int64_t i = 0; i < p.n_q; ++i) {
    if (!same(row_spans(p, i), row_spans(other, i))) return false;
  }
  return true;
}

}  // namespace

MaskKind MaskPlan::kind(std::int64_t s) const noexcept {
  if (n_query(s) == 0 || n_key(s) == 0) return MaskKind::kEmpty;
  const std::int64_t begin = impl_->sources[s].first;
  const std::int64_t end = impl_->sources[s + 1].first;
  const PlanSequence& p = impl_->sequences[begin];
  RowsSeen seen;
  for (std::int64_t k = begin; k < end; ++k) look_at_rows(impl_->sequences[k], k == begin, &seen);
  if (seen.all_empty) return MaskKind::kEmpty;
  if (p.n_bitmaps > 0) return MaskKind::kArbitrary;
  if (seen.all_alike) {
    return seen.first.begin0 == 0 && seen.first.end0 == p.n_kv ? MaskKind::kFull : MaskKind::kPadding;
  }
  if (end - begin > 1) return MaskKind::kDocuments;
  if (!seen.rising) return MaskKind::kArbitrary;
  if (seen.up_to_own) return MaskKind::kCausal;
  PlanSequence other = p;
  other.chunk = 0;
  if (p.chunk > 0 && !same_rows(p, other)) return MaskKind::kChunked;
  other.prefix_end = other.keep_end = 0;
  if (same_rows(p, other)) return MaskKind::kSlidingWindow;
  other = p;
  other.keep_end = 0;
  other.left = kUnbounded;
  other.right = 0;
  other.chunk = 0;
  return same_rows(p, other) ? MaskKind::kPrefix : MaskKind::kTwoSpans;
}

Status MaskPlan::materialise(std::int64_t s, std::int64_t h, std::span<std::uint64_t> words,
                             std::int64_t row_words) const {
  if (s < 0 || s >= n_sequence() || h < 0 || h >= n_head()) {
    return Error::invalid_argument("materialise: sequence " + std::to_string(s) + ", head " + std::to_string(h) +
                                   " of a plan of " + std::to_string(n_sequence()) + " sequences and " +
                                   std::to_string(n_head()) + " heads");
  }
  const std::int64_t n_q = n_query(s);
  const std::int64_t n_words = (n_key(s) + 63) / 64;
  std::int64_t size = 0;
  if (row_words < n_words || __builtin_mul_overflow(n_q, row_words, &size) ||
      static_cast<std::uint64_t>(size) > words.size()) {
    return Error::invalid_argument("materialise: " + std::to_string(n_q) + " rows of at least " +
                                   std::to_string(n_words) + " words needed, found " + std::to_string(words.size()) +
                                   " words in rows of " + std::to_string(row_words));
  }
  for (std::int64_t k = impl_->sources[s].first; k < impl_->sources[s + 1].first; ++k) {
    const PlanSequence& p = impl_->sequences[k];
    for (std::int64_t i = 0; i < p.n_q; ++i) {
      const RowSpans spans = row_spans(p, i);
      std::uint64_t* row = words.data() + (p.q_first + i) * row_words;
      for (std::int64_t w = 0; w < row_words; ++w) {
        const std::uint64_t word = w < n_words ? spans_word(spans, w * 64) : 0;
        row[w] = word == 0 ? 0 : word & bitmaps_word(p, i, h, w * 64);
      }
    }
  }
  return {};
}

Status MaskPlan::advance(std::int64_t n) {
  if (impl_ == nullptr || !impl_->ready) return Error::invalid_argument("advance: an empty plan");
  if (!impl_->spans_alone) {
    return Error::unsupported("advance: the plan has segments, bitmaps, blocks or a tree; compile it anew");
  }
  if (n < 0 || n > kMaxPosition) {
    return Error::invalid_argument("advance: by " + std::to_string(n) + ", expected 0 to 2^60");
  }
  for (std::int64_t k = 0; k < impl_->n_sequences; ++k) {
    const PlanSequence& p = impl_->sequences[k];
    bool fits = p.n_kv <= kMaxPosition - n && p.q_pos <= kMaxPosition - n;
    for (std::int64_t i = 0; p.positions != nullptr && i < p.n_q; ++i) {
      fits = fits && p.positions[i] <= kMaxPosition - n;
    }
    if (!fits) return Error::invalid_argument("advance: sequence " + std::to_string(k) + " would pass 2^60");
  }
  std::int64_t* positions = impl_->positions;              // one after another, as compiled
  for (std::int64_t k = 0; k < impl_->n_sequences; ++k) {  // one PlanSequence a source
    PlanSequence& p = impl_->sequences[k];
    PlanSource& source = impl_->sources[k];
    if (source.valid.end == p.n_kv) {
      source.valid.end += n;
      p.kv_end = source.valid.end > p.kv_begin ? source.valid.end : p.kv_begin;
    }
    p.n_kv += n;
    p.document.end += n;
    p.q_pos += n;
    if (p.positions == nullptr) continue;
    for (std::int64_t i = 0; i < p.n_q; ++i) positions[i] += n;
    positions += p.n_q;
  }
  return {};
}

}  // namespace rowmax
