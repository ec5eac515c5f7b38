// Masks and plans of the C interface.
#include <new>

#include "attention/c_api/c_api.h"
#include "rowmax/try.h"

namespace rowmax::c_api {
namespace {

// Everything that a MaskSpec points to while it is compiled.
struct SpecData {
  Array<KeySpan> valid;
  Array<SegmentIds> segments;
  Array<BitmapView> bitmaps;
  Array<BlockMaskView> blocks;
  Array<TreeView> trees;
  Array<Sequence> sequences;
};

void convert(const rowmax_segment_ids& in, SegmentIds* out) noexcept { *out = {in.q_ids, in.k_ids}; }
void convert(const rowmax_bitmap& in, BitmapView* out) noexcept { *out = {in.words, in.row_stride, in.head_stride}; }
void convert(const rowmax_block_mask& in, BlockMaskView* out) noexcept {
  *out = {in.words, in.row_stride, in.head_stride, in.q_block, in.k_block};
}
void convert(const rowmax_tree& in, TreeView* out) noexcept { *out = {in.parents, in.first_key}; }
void convert(const rowmax_sequence& in, Sequence* out) noexcept {
  out->q_begin = in.q_begin;
  out->n_q = in.n_q;
  out->q_pos = in.q_pos;
  out->n_kv = in.n_kv;
  out->positions = in.positions;
  out->anchor = in.anchor;
}

template <class From, class To>
Status convert_all(const char* count_name, const From* from, std::int64_t n, Array<To>* to) {
  ROWMAX_RETURN_IF_ERROR(to->allocate(count_name, n));
  for (std::int64_t i = 0; i < n; ++i) {
    From element;
    ROWMAX_RETURN_IF_ERROR(take_at(from, i, &element));
    convert(element, &(*to)[i]);
  }
  return {};
}

// Calls add(list) for each of the lists that stand one after the other.
template <class T, class Add>
Status add_terms(const char* name, std::span<const T> all, std::int64_t n_terms, Add&& add) {
  if (all.empty()) return {};
  const auto n = static_cast<std::int64_t>(all.size());
  if (n_terms < 1 || n % n_terms != 0) {
    return Error::invalid_argument("rowmax_mask." + std::string(name) + ": " + std::to_string(n) +
                                   " elements are not " + std::to_string(n_terms) + " lists of equal length");
  }
  const std::size_t step = static_cast<std::size_t>(n / n_terms);
  for (std::size_t first = 0; first < all.size(); first += step) add(all.subspan(first, step));
  return {};
}

Status convert_valid(const rowmax_mask& mask, Array<KeySpan>* valid) {
  if (mask.n_valid != 0) ROWMAX_RETURN_IF_ERROR(present(mask.valid, "rowmax_mask.valid"));
  ROWMAX_RETURN_IF_ERROR(valid->allocate("rowmax_mask.n_valid", mask.n_valid));
  for (std::int64_t i = 0; i < mask.n_valid; ++i) (*valid)[i] = {mask.valid[2 * i], mask.valid[2 * i + 1]};
  return {};
}

Status make_spec(const rowmax_mask& mask, SpecData* data, MaskSpec* spec) {
  if (mask.left != kUnbounded || mask.right != kUnbounded) spec->window(mask.left, mask.right);
  if (mask.chunk != 0) spec->chunk(mask.chunk);
  if (mask.keep_first != 0) spec->keep_first(mask.keep_first);
  ROWMAX_RETURN_IF_ERROR(convert_valid(mask, &data->valid));
  ROWMAX_RETURN_IF_ERROR(convert_all("rowmax_mask.n_segments", mask.segments, mask.n_segments, &data->segments));
  ROWMAX_RETURN_IF_ERROR(convert_all("rowmax_mask.n_bitmaps", mask.bitmaps, mask.n_bitmaps, &data->bitmaps));
  ROWMAX_RETURN_IF_ERROR(convert_all("rowmax_mask.n_blocks", mask.blocks, mask.n_blocks, &data->blocks));
  ROWMAX_RETURN_IF_ERROR(convert_all("rowmax_mask.n_trees", mask.trees, mask.n_trees, &data->trees));
  ROWMAX_RETURN_IF_ERROR(add_terms("n_valid_terms", data->valid.span(), mask.n_valid_terms,
                                   [&](std::span<const KeySpan> list) { spec->valid(list); }));
  ROWMAX_RETURN_IF_ERROR(add_terms("n_segment_terms", data->segments.span(), mask.n_segment_terms,
                                   [&](std::span<const SegmentIds> list) { spec->segments(list); }));
  ROWMAX_RETURN_IF_ERROR(add_terms("n_bitmap_terms", data->bitmaps.span(), mask.n_bitmap_terms,
                                   [&](std::span<const BitmapView> list) { spec->bitmap(list); }));
  ROWMAX_RETURN_IF_ERROR(add_terms("n_block_terms", data->blocks.span(), mask.n_block_terms,
                                   [&](std::span<const BlockMaskView> list) { spec->blocks(list); }));
  if (mask.n_trees > 0) spec->tree(data->trees.span());
  if (mask.n_prefix_ends < 0) return Error::invalid_argument("rowmax_mask.n_prefix_ends is negative");
  if (mask.n_prefix_ends > 0) {
    ROWMAX_RETURN_IF_ERROR(present(mask.prefix_ends, "rowmax_mask.prefix_ends"));
    spec->prefix({mask.prefix_ends, static_cast<std::size_t>(mask.n_prefix_ends)});
  }
  return {};
}

// Calls use(spec, geometry), whose arrays live until it returns.
template <class Use>
Status with_spec(const rowmax_mask* mask_in, const rowmax_geometry* geometry_in, Use&& use) {
  rowmax_mask mask;
  rowmax_geometry geometry;
  SpecData data;
  MaskSpec spec;
  ROWMAX_RETURN_IF_ERROR(take(mask_in, &mask));
  ROWMAX_RETURN_IF_ERROR(take(geometry_in, &geometry));
  ROWMAX_RETURN_IF_ERROR(
      convert_all("rowmax_geometry.n_sequences", geometry.sequences, geometry.n_sequences, &data.sequences));
  ROWMAX_RETURN_IF_ERROR(make_spec(mask, &data, &spec));
  return use(spec, Geometry{data.sequences.span(), geometry.n_head, geometry.n_kv_head});
}

MaskPlanCache* cache_of(rowmax_plan_cache* cache) noexcept { return reinterpret_cast<MaskPlanCache*>(cache); }

bool inside(const MaskPlan* plan, std::int64_t s, std::int64_t h, std::int64_t i, std::int64_t j) noexcept {
  return plan != nullptr && s >= 0 && s < plan->n_sequence() && h >= 0 && h < plan->n_head() && i >= 0 &&
         i < plan->n_query(s) && j >= 0 && j < plan->n_key(s);
}

}  // namespace
}  // namespace rowmax::c_api

using namespace rowmax;
using namespace rowmax::c_api;

extern "C" {

rowmax_status rowmax_plan_create(rowmax_plan** plan, rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(present(plan, "plan"));
    *plan = reinterpret_cast<rowmax_plan*>(new (std::nothrow) MaskPlan());
    if (*plan == nullptr) return Error::out_of_memory();
    return {};
  });
}

void rowmax_plan_destroy(rowmax_plan* plan) noexcept { delete plan_of(plan); }

rowmax_status rowmax_plan_compile(rowmax_plan* plan, const rowmax_mask* mask, const rowmax_geometry* geometry,
                                  rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(present(plan, "plan"));
    *plan_of(plan) = MaskPlan();  // what the caller gets where the arguments make no sense
    return with_spec(mask, geometry, [&](const MaskSpec& spec, const Geometry& shapes) -> Status {
      return plan_of(plan)->compile(spec, shapes);
    });
  });
}

rowmax_status rowmax_plan_advance(rowmax_plan* plan, int64_t n, rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(present(plan, "plan"));
    return plan_of(plan)->advance(n);
  });
}

int64_t rowmax_plan_n_sequences(const rowmax_plan* plan) noexcept {
  return plan == nullptr ? 0 : plan_of(plan)->n_sequence();
}

int32_t rowmax_plan_visible(const rowmax_plan* plan, int64_t s, int64_t h, int64_t i, int64_t j) noexcept {
  return inside(plan_of(plan), s, h, i, j) && plan_of(plan)->visible(s, h, i, j) ? 1 : 0;
}

rowmax_status rowmax_plan_stats(const rowmax_plan* plan, rowmax_mask_stats* stats, rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(present(plan, "plan"));
    ROWMAX_RETURN_IF_ERROR(present(stats, "stats"));
    const MaskStats counts = plan_of(plan)->stats();
    rowmax_mask_stats value = rowmax_mask_stats_default();
    value.visible_pairs = counts.visible_pairs;
    value.empty_rows = counts.empty_rows;
    value.full_tiles = counts.full_tiles;
    value.partial_tiles = counts.partial_tiles;
    value.empty_tiles = counts.empty_tiles;
    return give(value, stats);
  });
}

const char* rowmax_plan_kind(const rowmax_plan* plan, int64_t s) noexcept {
  if (plan == nullptr || s < 0 || s >= plan_of(plan)->n_sequence()) return nullptr;
  return mask_kind_name(plan_of(plan)->kind(s));
}

rowmax_status rowmax_plan_explain(const rowmax_plan* plan, int64_t s, int64_t h, int64_t i, int64_t j,
                                  uint32_t* hidden_by, char* text, size_t capacity, rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(present(plan, "plan"));
    ROWMAX_TRY(explanation, plan_of(plan)->explain(s, h, i, j));
    if (hidden_by != nullptr) *hidden_by = explanation.hidden_by;
    copy_text(explanation.text, text, capacity);
    return {};
  });
}

rowmax_status rowmax_plan_materialise(const rowmax_plan* plan, int64_t s, int64_t h, uint64_t* words, int64_t n_words,
                                      int64_t row_words, rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(present(plan, "plan"));
    if (n_words < 0) return Error::invalid_argument("n_words is negative");
    if (n_words > 0) ROWMAX_RETURN_IF_ERROR(present(words, "words"));
    return plan_of(plan)->materialise(s, h, {words, static_cast<std::size_t>(n_words)}, row_words);
  });
}

rowmax_status rowmax_plan_cache_create(int64_t capacity, rowmax_plan_cache** cache, rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(present(cache, "cache"));
    *cache = nullptr;
    if (capacity < 1 || capacity > (1 << 20)) {
      return Error::invalid_argument("capacity: expected 1 to 1048576, found " + std::to_string(capacity));
    }
    *cache = reinterpret_cast<rowmax_plan_cache*>(new (std::nothrow) MaskPlanCache(static_cast<std::size_t>(capacity)));
    if (*cache == nullptr) return Error::out_of_memory();
    return {};
  });
}

void rowmax_plan_cache_destroy(rowmax_plan_cache* cache) noexcept { delete cache_of(cache); }

rowmax_status rowmax_plan_cache_get(rowmax_plan_cache* cache, const rowmax_mask* mask, const rowmax_geometry* geometry,
                                    const rowmax_plan** plan, rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(present(cache, "cache"));
    ROWMAX_RETURN_IF_ERROR(present(plan, "plan"));
    *plan = nullptr;
    return with_spec(mask, geometry, [&](const MaskSpec& spec, const Geometry& shapes) -> Status {
      ROWMAX_TRY(found, cache_of(cache)->get(spec, shapes));
      *plan = reinterpret_cast<const rowmax_plan*>(found);
      return {};
    });
  });
}

void rowmax_plan_cache_clear(rowmax_plan_cache* cache) noexcept {
  if (cache != nullptr) cache_of(cache)->clear();
}

int64_t rowmax_plan_cache_n_hits(const rowmax_plan_cache* cache) noexcept {
  return cache == nullptr ? 0 : reinterpret_cast<const MaskPlanCache*>(cache)->n_hits();
}

}  // extern "C"
