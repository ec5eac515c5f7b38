// What a dense mask is: a band of bounds that move with the query, cut to valid keys, or nothing of the sort.
#include <string>

#include "attention/masks/dense_mask.h"
#include "attention/plan/plan.h"

namespace rowmax {

using attention::max_i64;
using attention::min_i64;

namespace {

// The keys that one row sees: all between the first and the last of them (`single`), or some.
struct Run {
  std::int64_t begin = 0;  // no keys: begin = end = 0
  std::int64_t end = 0;
  std::int64_t count = 0;
  bool single() const noexcept { return count == end - begin; }
};

struct Rows {
  const std::uint64_t* words;
  std::int64_t row_stride;
  std::int64_t n_q;
  std::int64_t n_kv;

  Run run(std::int64_t i) const noexcept {
    Run run;
    const std::uint64_t* row = words + i * row_stride;
    for (std::int64_t w = 0; w < (n_kv + 63) / 64; ++w) {
      if (row[w] == 0) continue;
      if (run.count == 0) run.begin = w * 64 + __builtin_ctzll(row[w]);
      run.end = w * 64 + 64 - __builtin_clzll(row[w]);
      run.count += __builtin_popcountll(row[w]);
    }
    return run;
  }
};

// Row i sees [max(valid.begin, first + i), min(valid.end, end + i)).
struct Band {
  KeySpan valid;
  std::int64_t first = 0;
  std::int64_t end = 0;
  bool left_bound = false;   // `first` counts
  bool right_bound = false;  // `end` counts

  bool holds(const Run& run, std::int64_t i) const noexcept {
    const std::int64_t from = left_bound ? max_i64(valid.begin, first + i) : valid.begin;
    const std::int64_t to = right_bound ? min_i64(valid.end, end + i) : valid.end;
    if (run.count == 0) return to <= from;
    return run.begin == from && run.end == to;
  }
};

bool holds(const Rows& rows, const Band& band) noexcept {
  for (std::int64_t i = 0; i < rows.n_q; ++i) {
    if (!band.holds(rows.run(i), i)) return false;
  }
  return true;
}

// What all rows have in common.
struct Seen {
  KeySpan keys;                 // that some row sees
  std::int64_t first_row = -1;  // that sees a key
  std::int64_t last_row = -1;
  std::int64_t moved_begin = -1;  // first row whose keys begin after keys.begin
  std::int64_t moved_end = -1;    // first row whose keys end before keys.end
  bool single = true;             // one run in every row
};

Seen look(const Rows& rows, DetectedMask* found) noexcept {
  Seen seen;
  for (std::int64_t i = 0; i < rows.n_q; ++i) {
    const Run run = rows.run(i);
    found->n_hidden += rows.n_kv - run.count;
    if (run.count == 0) {
      ++found->n_empty_rows;
      continue;
    }
    seen.single = seen.single && run.single();
    if (seen.first_row < 0) {
      seen.first_row = i;
      seen.keys = {run.begin, run.end};
    }
    seen.last_row = i;
    seen.keys = {min_i64(seen.keys.begin, run.begin), max_i64(seen.keys.end, run.end)};
  }
  for (std::int64_t i = seen.first_row; i >= 0 && i <= seen.last_row; ++i) {
    const Run run = rows.run(i);
    if (run.count == 0) continue;
    if (seen.moved_begin < 0 && run.begin > seen.keys.begin) seen.moved_begin = i;
    if (seen.moved_end < 0 && run.end < seen.keys.end) seen.moved_end = i;
  }
  return seen;
}

// Bounds are pinned by rows whose keys begin or end elsewhere than those of others; where there are none, only empty
// rows can ask for a bound. Of several bands that fit, the one with fewer bounds and wider valid keys is taken.
bool find_band(const Rows& rows, const Seen& seen, Band* band) noexcept {
  if (!seen.single) return false;
  const bool must_left = seen.moved_begin >= 0;
  const bool must_right = seen.moved_end >= 0;
  band->first = must_left ? rows.run(seen.moved_begin).begin - seen.moved_begin : seen.keys.begin - seen.last_row;
  band->end = must_right ? rows.run(seen.moved_end).end - seen.moved_end : seen.keys.end - seen.first_row;
  for (int choice = 0; choice < 16; ++choice) {
    band->left_bound = (choice & 8) != 0;
    band->right_bound = (choice & 4) != 0;
    if ((must_left && !band->left_bound) || (must_right && !band->right_bound)) continue;
    band->valid = {(choice & 2) != 0 ? seen.keys.begin : 0, (choice & 1) != 0 ? seen.keys.end : rows.n_kv};
    if (holds(rows, *band)) return true;
  }
  return false;
}

void name_band(const Rows& rows, const Band& band, DetectedMask* found) noexcept {
  found->valid = band.valid;
  if (!band.left_bound && !band.right_bound) {
    found->kind = band.valid.begin == 0 && band.valid.end == rows.n_kv ? MaskKind::kFull : MaskKind::kPadding;
    return;
  }
  found->kind = band.left_bound ? MaskKind::kSlidingWindow : MaskKind::kCausal;
  if (!band.right_bound) {
    found->q_pos = rows.n_kv - rows.n_q;
  } else if (band.left_bound && rows.n_q == rows.n_kv) {
    found->q_pos = 0;
  } else {
    found->q_pos = band.end - 1;
  }
  if (band.right_bound) found->right = band.end - 1 - found->q_pos;
  if (band.left_bound) found->left = found->q_pos - band.first;
}

std::string text_of(std::int64_t number) { return std::to_string(number); }

}  // namespace

DetectedMask detect_mask(const std::uint64_t* words, std::int64_t row_stride, std::int64_t n_q,
                         std::int64_t n_kv) noexcept {
  DetectedMask found;
  found.n_q = n_q;
  found.n_kv = n_kv;
  found.kind = MaskKind::kEmpty;
  if (n_q == 0 || n_kv == 0) {
    found.n_empty_rows = n_q;
    return found;
  }
  const Rows rows{words, row_stride, n_q, n_kv};
  const Seen seen = look(rows, &found);
  if (seen.first_row < 0) return found;
  Band band;
  if (find_band(rows, seen, &band)) {
    name_band(rows, band, &found);
  } else {
    found.kind = MaskKind::kArbitrary;
    found.valid = seen.keys;
  }
  found.left_padded = found.valid.begin > 0;
  found.right_padded = found.valid.end < n_kv;
  return found;
}

std::string DetectedMask::text() const {
  std::string all = mask_kind_name(kind);
  if (kind == MaskKind::kCausal) all += " from position " + text_of(q_pos);
  if (kind == MaskKind::kSlidingWindow) {
    all += " from position " + text_of(q_pos) + " (left " + (left == kUnbounded ? "unbounded" : text_of(left)) +
           ", right " + (right == kUnbounded ? "unbounded" : text_of(right)) + ")";
  }
  if (left_padded || right_padded) {
    all += ", keys [" + text_of(valid.begin) + ", " + text_of(valid.end) + ") of " + text_of(n_kv) + " valid (";
    all += !right_padded ? "left" : left_padded ? "left and right" : "right";
    all += " padding)";
  }
  std::int64_t n_pairs = 0;
  all += "; " + text_of(n_hidden);
  if (!__builtin_mul_overflow(n_q, n_kv, &n_pairs)) all += " of " + text_of(n_pairs);
  all += " pairs hidden, " + text_of(n_empty_rows) + (n_empty_rows == 1 ? " row sees" : " rows see") + " nothing";
  return all;
}

}  // namespace rowmax
