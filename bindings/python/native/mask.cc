// Masks: rules that the Python side has brought into arrays of one shape become a MaskSpec.
#include "rowmax/mask.h"

#include <nanobind/stl/string.h>

#include <string>

#include "bindings/python/native/core.h"

namespace rowmax::python {
namespace {

// The rule's value, or None.
nb::object rule(const nb::dict& rules, const char* name) {
  return rules.contains(name) ? nb::object(rules[name]) : nb::object(nb::none());
}

void set_number(const nb::dict& rules, const char* name, std::int64_t* number) {
  if (nb::object value = rule(rules, name); !value.is_none()) *number = nb::cast<std::int64_t>(value);
}

template <class T>
std::span<const T> part(const std::vector<T>& all, std::int64_t first, std::int64_t n) {
  return std::span<const T>(all).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(n));
}

template <class T>
using Dense = nb::ndarray<nb::ro, nb::device::cpu, const T, nb::c_contig>;

}  // namespace

// The elements of a C-contiguous array of T, which lives as long as this object.
template <class T>
const T* CallMask::keep(nb::handle object, std::int64_t* n) {
  const auto array = nb::cast<Dense<T>>(object);
  owned_.push_back(nb::borrow(object));
  *n = static_cast<std::int64_t>(array.size());
  return array.data();
}

// The words of batch entry b of an array [batch][head][row][word]; extents of 1 are broadcast.
BitmapView CallMask::keep_words(nb::handle object, std::int64_t b) {
  const auto array =
      nb::cast<nb::ndarray<nb::ro, nb::device::cpu, const std::uint64_t, nb::ndim<4>, nb::c_contig>>(object);
  if (b == 0) owned_.push_back(nb::borrow(object));
  const auto stride = [&](std::size_t i) { return array.shape(i) == 1 ? 0 : array.stride(i); };
  return {array.data() + b * stride(0), stride(2), stride(1)};
}

CallMask::CallMask(std::int64_t batch, std::int32_t n_head, std::int32_t n_kv_head, std::int64_t n_q, std::int64_t n_kv,
                   const nb::dict& rules)
    : batch_(batch), n_q_(n_q), n_kv_(n_kv), n_head_(n_head), n_kv_head_(n_kv_head) {
  std::int64_t n = 0;
  const std::int64_t* q_pos = keep<std::int64_t>(rules["q_pos"], &n);
  q_pos_.assign(q_pos, q_pos + n);
  if (nb::object value = rule(rules, "positions"); !value.is_none()) positions_ = keep<std::int64_t>(value, &n);
  set_number(rules, "left", &left_);
  set_number(rules, "right", &right_);
  set_number(rules, "chunk", &chunk_);
  set_number(rules, "keep_first", &keep_first_);
  if (nb::object value = rule(rules, "valid"); !value.is_none()) {
    const std::int64_t* spans = keep<std::int64_t>(value, &n);
    for (std::int64_t b = 0; b < batch; ++b) valid_.push_back({spans[2 * b], spans[2 * b + 1]});
  }
  if (nb::object value = rule(rules, "prefix"); !value.is_none()) {
    const std::int64_t* ends = keep<std::int64_t>(value, &n);
    prefix_.assign(ends, ends + n);
  }
  if (nb::object value = rule(rules, "tree"); !value.is_none()) {
    const std::int32_t* parents = keep<std::int32_t>(value, &n);
    const std::int64_t first_key = nb::cast<std::int64_t>(rules["tree_first_key"]);
    for (std::int64_t b = 0; b < batch; ++b) trees_.push_back({parents + b * n_q, first_key});
  }
  for (nb::handle item : nb::cast<nb::list>(rules["segments"])) {
    const std::int32_t* q_ids = keep<std::int32_t>(item[0], &n);
    const std::int32_t* k_ids = keep<std::int32_t>(item[1], &n);
    std::vector<SegmentIds>& ids = segments_.emplace_back();
    for (std::int64_t b = 0; b < batch; ++b) ids.push_back({q_ids + b * n_q, k_ids + b * n_kv});
  }
  for (nb::handle item : nb::cast<nb::list>(rules["bitmaps"])) {
    std::vector<BitmapView>& views = bitmaps_.emplace_back();
    for (std::int64_t b = 0; b < batch; ++b) views.push_back(keep_words(item, b));
  }
  for (nb::handle item : nb::cast<nb::list>(rules["blocks"])) {
    const auto q_block = nb::cast<std::int64_t>(item[1]);
    const auto k_block = nb::cast<std::int64_t>(item[2]);
    std::vector<BlockMaskView>& views = blocks_.emplace_back();
    for (std::int64_t b = 0; b < batch; ++b) {
      const BitmapView bits = keep_words(item[0], b);
      views.push_back({bits.words, bits.row_stride, bits.head_stride, q_block, k_block});
    }
  }
}

CallMask::CallMask(std::int64_t batch, std::int32_t n_head, std::int32_t n_kv_head, std::int64_t n_q, std::int64_t n_kv)
    : batch_(batch), n_q_(n_q), n_kv_(n_kv), n_head_(n_head), n_kv_head_(n_kv_head) {
  q_pos_.assign(static_cast<std::size_t>(batch), n_kv - n_q);
}

void CallMask::causal_top_left() {
  right_ = 0;
  q_pos_.assign(q_pos_.size(), 0);
}

void CallMask::valid(std::vector<KeySpan> spans) {
  valid_ = std::move(spans);
  if (valid_.size() == 1) valid_.assign(static_cast<std::size_t>(batch_), KeySpan(valid_[0]));
}

void CallMask::bitmap(std::vector<std::uint64_t> words, const std::array<std::int64_t, 4>& shape) {
  words_ = std::move(words);
  const std::int64_t row = shape[3], head = row * shape[2], entry = head * shape[1];
  std::vector<BitmapView>& views = bitmaps_.emplace_back();
  for (std::int64_t b = 0; b < batch_; ++b) {
    views.push_back(
        {words_.data() + (shape[0] == 1 ? 0 : b * entry), shape[2] == 1 ? 0 : row, shape[1] == 1 ? 0 : head});
  }
}

MaskPlan CallMask::compile(std::int64_t first, std::int64_t n, std::int64_t rows) const {
  std::vector<Sequence> sequences(static_cast<std::size_t>(n));
  for (std::int64_t k = 0; k < n; ++k) {
    Sequence& sequence = sequences[static_cast<std::size_t>(k)];
    sequence.q_begin = k * rows;
    sequence.n_q = n_q_;
    sequence.n_kv = n_kv_;
    sequence.q_pos = q_pos_[static_cast<std::size_t>(first + k)];
    if (positions_ != nullptr) sequence.positions = positions_ + (first + k) * n_q_;
  }
  MaskSpec spec;
  if (left_ != kUnbounded || right_ != kUnbounded) spec.window(left_, right_);
  if (!valid_.empty()) spec.valid(part(valid_, first, n));
  if (chunk_ > 0) spec.chunk(chunk_);
  if (keep_first_ >= 0) spec.keep_first(keep_first_);
  if (!prefix_.empty()) spec.prefix(part(prefix_, first, n));
  if (!trees_.empty()) spec.tree(part(trees_, first, n));
  for (const auto& ids : segments_) spec.segments(part(ids, first, n));
  for (const auto& views : bitmaps_) spec.bitmap(part(views, first, n));
  for (const auto& views : blocks_) spec.blocks(part(views, first, n));
  MaskPlan plan;
  check(plan.compile(spec, {sequences, n_head_, n_kv_head_}));
  return plan;
}

namespace {

// Writes keep (1) or hide (0) for every pair into a C-contiguous [batch][head][n_q][n_kv] array of bytes.
void materialise(const CallMask& mask, nb::ndarray<std::uint8_t, nb::ndim<4>, nb::c_contig, nb::device::cpu> out) {
  const MaskPlan plan = mask.compile();
  const std::int64_t row_words = (mask.n_kv() + 63) / 64;
  std::vector<std::uint64_t> words(static_cast<std::size_t>(mask.n_q() * row_words));
  std::uint8_t* to = out.data();
  for (std::int64_t b = 0; b < mask.batch(); ++b) {
    for (std::int64_t h = 0; h < mask.n_head(); ++h) {
      check(plan.materialise(b, h, words, row_words));
      for (std::int64_t i = 0; i < mask.n_q(); ++i) {
        const std::uint64_t* row = words.data() + i * row_words;
        for (std::int64_t j = 0; j < mask.n_kv(); ++j) *to++ = row[j / 64] >> (j % 64) & 1;
      }
    }
  }
}

nb::tuple explain(const CallMask& mask, std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) {
  const MaskExplanation why = checked(mask.compile().explain(b, h, i, j));
  nb::list rules;
  for (std::uint32_t bits = why.hidden_by; bits != 0; bits &= bits - 1) {
    rules.append(mask_rule_name(static_cast<MaskRule>(bits & (~bits + 1))));
  }
  return nb::make_tuple(why.visible(), nb::tuple(rules), why.text);
}

std::string kind(const CallMask& mask, std::int64_t b) {
  const MaskPlan plan = mask.compile();
  if (b < 0 || b >= plan.n_sequence()) throw nb::index_error("no such batch entry");
  return mask_kind_name(plan.kind(b));
}

nb::dict stats(const CallMask& mask) {
  const MaskStats counts = mask.compile().stats();
  nb::dict result;
  result["visible_pairs"] = counts.visible_pairs;
  result["empty_rows"] = counts.empty_rows;
  result["full_tiles"] = counts.full_tiles;
  result["partial_tiles"] = counts.partial_tiles;
  result["empty_tiles"] = counts.empty_tiles;
  return result;
}

}  // namespace

void bind_mask(nb::module_& module) {
  nb::class_<CallMask>(module, "CallMask")
      .def(nb::init<std::int64_t, std::int32_t, std::int32_t, std::int64_t, std::int64_t, const nb::dict&>())
      .def("materialise", &materialise)
      .def("explain", &explain)
      .def("kind", &kind)
      .def("stats", &stats);
}

}  // namespace rowmax::python
