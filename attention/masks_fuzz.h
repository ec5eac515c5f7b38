// Test support: masks of every kind out of a fuzzer's bytes, and what plans say about them held against the definition
// (plan/test_mask_case.h): pairs, reasons, bits, counts, kinds, the next step, conversions.
#pragma once

#include <vector>

#include "attention/input_fuzz.h"
#include "attention/plan/test_mask_case.h"
#include "rowmax/mask.h"
#include "rowmax/mask_convert.h"

namespace rowmax::attention::fuzz {

using test::CasesSpec;
using test::MaskCase;

inline MaskCase::Bits read_bits(Input& in, std::int64_t n_row, std::int64_t n_bit, std::int64_t n_head) {
  MaskCase::Bits bits;
  const std::int64_t words = (n_bit + 63) / 64, shape = in.byte();
  bits.row_stride = shape % 8 == 0 ? 0 : words;
  bits.head_stride = shape % 2 == 0 ? 0 : words * n_row;
  const std::int64_t size = words * n_row * (bits.head_stride == 0 ? 1 : n_head);
  for (std::int64_t w = 0; w < size; ++w) {
    const std::uint8_t kind = in.byte();
    bits.words.push_back(kind < 40 ? 0 : kind < 120 ? ~std::uint64_t{0} : in.word() | (kind % 2 == 0 ? in.word() : 0));
  }
  return bits;
}

inline MaskCase::Ids read_ids(Input& in, std::int64_t n_q, std::int64_t n_kv) {
  MaskCase::Ids ids;
  const bool ordered = in.one_in(2);
  const std::int64_t length = 1 + in.byte();  // of a document, about
  const auto fill = [&](std::vector<std::int32_t>* values, std::int64_t n, std::int64_t run) {
    std::int32_t id = static_cast<std::int32_t>(in.below(2));
    for (std::int64_t i = 0; i < n; ++i) {
      id = ordered ? id + (in.byte() * run < 256) : static_cast<std::int32_t>(in.below(3));
      values->push_back(id);
    }
  };
  fill(&ids.q, n_q, 2);
  fill(&ids.k, n_kv, length);
  return ids;
}

// How many terms of each kind, the same for all sequences of a call.
struct Terms {
  std::int64_t n_valid = 0, n_segments = 0, n_bitmaps = 0, n_blocks = 0;
  bool positions = false, tree = false, prefix = false;
};

inline void read_terms(Input& in, const Terms& terms, MaskCase* c) {
  const std::int64_t n_q = c->n_q, n_kv = c->n_kv;
  for (std::int64_t t = 0; t < terms.n_valid; ++t) {
    const std::int64_t a = in.byte() * 5 % (n_kv + 1), b = in.byte() * 5 % (n_kv + 1);
    c->valid.push_back(in.one_in(3) ? KeySpan{std::min(a, b), n_kv} : KeySpan{std::min(a, b), std::max(a, b)});
  }
  for (std::int64_t t = 0; t < terms.n_segments; ++t) c->segments.push_back(read_ids(in, n_q, n_kv));
  for (std::int64_t t = 0; t < terms.n_bitmaps; ++t) c->bitmaps.push_back(read_bits(in, n_q, n_kv, c->n_head));
  for (std::int64_t t = 0; t < terms.n_blocks; ++t) {
    constexpr std::int64_t sizes[] = {1, 2, 3, 5, 8, 16, 31, 32, 64, 65, 128, std::int64_t{1} << 60};
    const std::int64_t q_block = in.one_of(sizes), k_block = in.one_of(sizes);
    const auto count = [](std::int64_t n, std::int64_t block) { return n == 0 ? 0 : (n - 1) / block + 1; };
    c->blocks.push_back(read_bits(in, count(n_q, q_block), count(n_kv, k_block), c->n_head));
    c->blocks.back().q_block = q_block;
    c->blocks.back().k_block = k_block;
  }
  if (terms.tree) {
    c->has_tree = true;
    for (std::int64_t i = 0; i < n_q; ++i) c->parents.push_back(static_cast<std::int32_t>(in.below(i + 1)) - 1);
    c->first_key = in.one_in(2) ? -1 : in.byte() % (n_kv + 1);
  }
  if (terms.prefix) c->has_prefix = true, c->prefix = in.number();
  if (in.one_in(16)) c->anchor = in.byte() % 70;
}

// One or two sequences under one mask. compile() may refuse what comes out.
inline std::vector<MaskCase> read_masks(Input& in) {
  MaskCase shared;
  const std::uint8_t rules = in.byte(), more = in.byte();
  const std::int64_t n_sequence = 1 + in.below(2);
  shared.n_head = std::int64_t{1} << in.below(3);
  if (rules & 1) shared.right = in.one_in(2) ? 0 : in.number();
  if (rules & 2) shared.left = in.number();
  if (rules & 4) shared.chunk = in.one_in(16) ? std::int64_t{1} << 60 : 1 + in.byte();
  if (rules & 8) shared.keep_first = in.one_in(16) ? INT64_MAX : in.byte() % 80;
  Terms terms;
  if (rules & 16) terms.n_valid = 1 + in.below(2);
  if (rules & 32) terms.n_segments = 1 + in.below(2);
  if (rules & 64) terms.n_bitmaps = 1 + in.below(2);
  if (rules & 128) terms.n_blocks = 1 + in.below(2);
  terms.prefix = more % 4 == 0;
  terms.tree = more / 4 % 4 == 0;
  terms.positions = more / 16 % 8 == 0;
  std::vector<MaskCase> cases;
  for (std::int64_t s = 0; s < n_sequence; ++s) {
    MaskCase c = shared;
    const std::uint8_t size = in.byte();
    c.n_q = size % 16 == 0 ? in.below(40) : in.below(5);
    c.n_kv = size % 16 == 1 ? 400 + in.byte() * 4 : in.byte() % 150;  // some longer than a split of 512 keys
    c.q_pos = size < 100 ? c.n_kv - c.n_q : in.number();
    for (std::int64_t i = 0; terms.positions && i < c.n_q; ++i) c.positions.push_back(in.number());
    read_terms(in, terms, &c);
    cases.push_back(std::move(c));
  }
  return cases;
}

inline bool has_bits(const MaskCase& c) {
  return !c.segments.empty() || !c.bitmaps.empty() || !c.blocks.empty() || c.has_tree;
}
inline KeySpan valid_span(const MaskCase& c) {
  KeySpan valid{0, c.n_kv};
  for (const KeySpan& span : c.valid) valid = {std::max(valid.begin, span.begin), std::min(valid.end, span.end)};
  return {valid.begin, std::max(valid.begin, valid.end)};
}

// By the definition: [head][query][key] of one sequence.
class Visible {
 public:
  explicit Visible(const MaskCase& c) : n_q_(c.n_q), n_kv_(c.n_kv) {
    for (std::int64_t h = 0; h < c.n_head; ++h) {
      for (std::int64_t i = 0; i < n_q_; ++i) {
        for (std::int64_t j = 0; j < n_kv_; ++j) bits_.push_back(c.visible(h, i, j));
      }
    }
  }
  bool operator()(std::int64_t h, std::int64_t i, std::int64_t j) const {
    return bits_[static_cast<std::size_t>((h * n_q_ + i) * n_kv_ + j)] != 0;
  }
  void hide(std::int64_t h, std::int64_t i, std::int64_t j) {
    bits_[static_cast<std::size_t>((h * n_q_ + i) * n_kv_ + j)] = 0;
  }
  std::int64_t count(std::int64_t h, std::int64_t i) const {
    std::int64_t n = 0;
    for (std::int64_t j = 0; j < n_kv_; ++j) n += (*this)(h, i, j);
    return n;
  }

 private:
  std::int64_t n_q_, n_kv_;
  std::vector<std::uint8_t> bits_;
};

// visible(), materialise() and explain() of one sequence. Reasons are texts and cost: of long ones some.
inline void check_pairs(Input& in, const MaskCase& c, const MaskPlan& plan, std::int64_t s, const Visible& visible) {
  const std::int64_t row_words = (c.n_kv + 63) / 64 + in.below(2);
  const std::int64_t step = c.n_head * c.n_q * c.n_kv / 256 + 1;
  std::int64_t at = in.byte() % step;
  for (std::int64_t h = 0; h < c.n_head; ++h) {
    std::vector<std::uint64_t> words(static_cast<std::size_t>(row_words * c.n_q), ~std::uint64_t{0});
    require(plan.materialise(s, h, words, row_words).ok());
    for (std::int64_t i = 0; i < c.n_q; ++i) {
      for (std::int64_t j = 0; j < row_words * 64; ++j) {
        const bool bit = (words[static_cast<std::size_t>(i * row_words + j / 64)] >> (j % 64) & 1) != 0;
        const bool expected = j < c.n_kv && visible(h, i, j);
        require(bit == expected && plan.visible(s, h, i, j) == expected);
        if (j >= c.n_kv || ++at % step != 0) continue;
        const Result<MaskExplanation> why = plan.explain(s, h, i, j);
        require(why.ok() && why->hidden_by == c.hidden_by(h, i, j) && why->visible() == bit);
        require(why->position == c.position(i) && !why->text.empty());
      }
    }
  }
}

inline void check_stats(const std::vector<MaskCase>& cases, const MaskPlan& plan, const std::vector<Visible>& visible) {
  MaskStats want;
  bool documents = false;  // their tiles are counted from their own first keys
  for (std::size_t s = 0; s < cases.size(); ++s) {
    const MaskCase& c = cases[s];
    const KeySpan valid = valid_span(c);
    documents = documents || !c.segments.empty();
    for (std::int64_t h = 0; h < c.n_head; ++h) {
      for (std::int64_t i = 0; i < c.n_q; ++i) {
        const std::int64_t n = visible[s].count(h, i);
        want.visible_pairs += n;
        want.empty_rows += n == 0;
        for (std::int64_t t = plan.anchor(static_cast<std::int64_t>(s), i); t < valid.end; t += 64) {
          std::int64_t n_valid = 0, n_visible = 0;
          for (std::int64_t j = std::max(t, valid.begin); j < std::min(t + 64, valid.end); ++j) {
            ++n_valid;
            n_visible += visible[s](h, i, j);
          }
          if (n_valid == 0) continue;
          ++(n_visible == 0 ? want.empty_tiles : n_visible == n_valid ? want.full_tiles : want.partial_tiles);
        }
      }
    }
  }
  const MaskStats found = plan.stats();
  require(found.visible_pairs == want.visible_pairs && found.empty_rows == want.empty_rows);
  if (documents) return;
  require(found.full_tiles == want.full_tiles && found.partial_tiles == want.partial_tiles &&
          found.empty_tiles == want.empty_tiles);
}

// What each word says is true; "everything" and "nothing" are said wherever spans alone say so.
inline void check_kind(const MaskCase& c, MaskKind kind, const Visible& visible) {
  bool none = true, all = c.n_q > 0 && c.n_kv > 0, alike = true, single_runs = true, causal = true, prefix = true;
  const KeySpan valid = valid_span(c);
  for (std::int64_t h = 0; h < c.n_head; ++h) {
    for (std::int64_t i = 0; i < c.n_q; ++i) {
      std::int64_t n_runs = 0;
      for (std::int64_t j = 0; j < c.n_kv; ++j) {
        const bool x = visible(h, i, j);
        none = none && !x;
        all = all && x;
        alike = alike && x == visible(0, 0, j);
        n_runs += x && (j == 0 || !visible(h, i, j - 1));
        const bool is_valid = j >= valid.begin && j < valid.end;
        causal = causal && x == (is_valid && j <= c.position(i));
        prefix = prefix && x == (is_valid && (j <= c.position(i) || (c.has_prefix && j < c.prefix)));
      }
      single_runs = single_runs && n_runs <= 1;
    }
  }
  const bool spans_alone = !has_bits(c);
  switch (kind) {
    case MaskKind::kFull: require(all); break;
    case MaskKind::kEmpty: require(none); break;
    case MaskKind::kPadding: require(alike && single_runs && !none && !all); break;
    case MaskKind::kCausal: require(single_runs && (causal || !spans_alone)); break;
    case MaskKind::kPrefix: require(prefix || !spans_alone); break;
    case MaskKind::kSlidingWindow: require(single_runs); break;
    case MaskKind::kDocuments: require(!c.segments.empty()); break;
    case MaskKind::kChunked: require(c.chunk > 0); break;
    case MaskKind::kTwoSpans: require(c.has_prefix || c.keep_first > 0); break;
    case MaskKind::kArbitrary: require(!spans_alone || !c.positions.empty()); break;
  }
  if (!spans_alone) return;
  require((kind == MaskKind::kFull) == all);
  require((kind == MaskKind::kEmpty) == none);
}

// A dense mask keeps what it was made of, says so in words that hold, and as a spec has the same pairs.
inline void check_dense(Input& in, const MaskCase& c, const DenseMask& mask, std::int64_t h, const Visible& visible) {
  const DetectedMask& found = mask.detected();
  const std::int64_t q_pos = in.number() % 1000;
  const Sequence sequence{0, c.n_q, q_pos, c.n_kv};
  MaskSpec spec;
  mask.add_to(&spec, q_pos);
  const Result<MaskPlan> plan = compile(spec, {{&sequence, 1}, 1, 1});
  require(plan.ok() && mask.n_q() == c.n_q && mask.n_kv() == c.n_kv);
  std::int64_t n_hidden = 0, n_empty = 0;
  for (std::int64_t i = 0; i < c.n_q; ++i) {
    const test::Wide p = test::Wide{found.q_pos} + i;
    for (std::int64_t j = 0; j < c.n_kv; ++j) {
      const bool x = visible(h, i, j);
      n_hidden += !x;
      const bool within = j >= found.valid.begin && j < found.valid.end &&
                          (found.left == kUnbounded || j >= p - found.left) &&
                          (found.right == kUnbounded || j <= p + found.right);
      require(mask.keeps(i, j) == x && plan->visible(0, 0, i, j) == x);
      require(found.kind == MaskKind::kArbitrary ? within || !x : within == x);
    }
    n_empty += visible.count(h, i) == 0;
  }
  require(found.n_hidden == n_hidden && found.n_empty_rows == n_empty && !found.text().empty());
}

inline void check_conversions(Input& in, const MaskCase& c, const MaskPlan& plan, std::int64_t s,
                              const Visible& visible) {
  const std::int64_t h = in.below(c.n_head);
  std::vector<std::uint8_t> keep;
  for (std::int64_t i = 0; i < c.n_q; ++i) {
    for (std::int64_t j = 0; j < c.n_kv; ++j) keep.push_back(visible(h, i, j) ? 1 + in.below(255) : 0);
  }
  const Result<DenseMask> kept = from_keep({keep.data(), c.n_q, c.n_kv, c.n_kv, 1});
  require(kept.ok());
  check_dense(in, c, *kept, h, visible);
  constexpr DType types[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kF64};
  const DType dtype = in.one_of(types);
  const Fill fill = in.one_in(2) ? Fill::kMinusInfinity : Fill::kLowestFinite;
  std::vector<std::uint8_t> added(static_cast<std::size_t>(dtype_bytes(dtype, c.n_q * c.n_kv)));
  require(to_additive(plan, s, h, dtype, fill, added.data(), c.n_kv).ok());
  const Result<AdditiveMask> back = from_additive({added.data(), c.n_q, c.n_kv, c.n_kv, 1}, dtype);
  require(back.ok() && !back->has_bias && !back->text().empty());
  check_dense(in, c, back->mask, h, visible);
  const Sentinel expected = fill == Fill::kMinusInfinity ? Sentinel::kMinusInfinity : Sentinel::kLowestFinite;
  require(back->sentinel == (back->mask.detected().n_hidden == 0 ? Sentinel::kNone : expected));
}

// The keep mask of a tokenizer.
inline void check_keep_mask(Input& in) {
  const std::int64_t n_batch = 1 + in.below(3), n_kv = in.byte() % 80, stride = n_kv + in.below(3);
  std::vector<std::uint8_t> keep;
  for (std::int64_t at = 0; at < n_batch * stride; ++at) keep.push_back(in.byte() < 230 ? 1 : 0);
  const Result<KeepMask> mask = from_keep_mask(keep.data(), n_batch, n_kv, stride);
  require(mask.ok());
  MaskSpec spec;
  mask->add_to(&spec);
  std::vector<Sequence> sequences;
  for (std::int64_t b = 0; b < n_batch; ++b) sequences.push_back({2 * b, 2, 0, n_kv});
  const Result<MaskPlan> plan = compile(spec, {sequences, 1, 1});
  require(plan.ok());
  for (std::int64_t b = 0; b < n_batch; ++b) {
    for (std::int64_t j = 0; j < n_kv; ++j) {
      require(plan->visible(b, 0, 1, j) == (keep[static_cast<std::size_t>(b * stride + j)] != 0));
    }
  }
}

// n keys later: advance() gives what compiling the later mask gives, and refuses all but spans.
inline void check_advance(Input& in, const CasesSpec& x, std::vector<MaskCase> cases, std::int32_t n_kv_head) {
  Result<MaskPlan> plan = compile(x.spec, {x.sequences, x.n_head, n_kv_head});
  require(plan.ok());
  const std::int64_t n = in.below(70);
  const Status moved = plan->advance(n);
  if (has_bits(cases[0])) {
    require(!moved.ok() && moved.error().code == ErrorCode::kUnsupported);
    return;
  }
  if (!moved.ok()) return;  // positions past 2^60
  for (std::size_t s = 0; s < cases.size(); ++s) {
    MaskCase& c = cases[s];
    for (KeySpan& span : c.valid) span.end += span.end == c.n_kv ? n : 0;
    for (std::int64_t& p : c.positions) p += n;
    c.n_kv += n;
    c.q_pos += n;
    for (std::int64_t i = 0; i < c.n_q; ++i) {
      for (std::int64_t j = 0; j < c.n_kv; ++j) {
        require(plan->visible(static_cast<std::int64_t>(s), 0, i, j) == c.visible(0, i, j));
      }
    }
  }
}

// Something that makes no sense is refused, and the plan is empty then.
inline void check_refused(Input& in, CasesSpec& x, MaskPlan* plan) {
  const KeySpan backward{2, 1}, too_long{0, x.sequences[0].n_kv + 1}, all{0, 0};
  const std::uint64_t ones = ~std::uint64_t{0};
  const BlockMaskView no_rows{&ones, 0, 0, 0, 64};
  const TreeView tree{};
  std::int32_t n_kv_head = 1;
  switch (in.below(9)) {
    case 0: x.spec.chunk(-in.below(5)); break;
    case 1: x.spec.keep_first(-1 - in.below(5)); break;
    case 2: x.spec.valid({&backward, 1}); break;
    case 3: x.spec.valid({&too_long, 1}); break;
    case 4: x.spec.blocks({&no_rows, 1}); break;
    case 5: x.spec.tree({&tree, 1}).tree({&tree, 1}); break;
    case 6: x.sequences[0].n_q = -1 - in.below(5); break;
    case 7: n_kv_head = x.n_head + 1; break;
    case 8:
      for (int t = 0; t <= MaskSpec::kMaxTerms; ++t) x.spec.valid({&all, 1});
      break;
  }
  require(!plan->compile(x.spec, {x.sequences, x.n_head, n_kv_head}).ok());
  require(plan->n_sequence() == 0 && !plan->visible(0, 0, 0, 0));
}

}  // namespace rowmax::attention::fuzz
