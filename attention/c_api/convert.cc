// Masks of other frameworks through the C interface.
#include "rowmax/mask_convert.h"

#include <new>

#include "attention/c_api/c_api.h"
#include "rowmax/try.h"

// Either kind of dense mask; a keep mask has no sentinel.
struct rowmax_dense_mask {
  rowmax::AdditiveMask mask;
  bool additive = false;
};

namespace rowmax::c_api {
namespace {

Status dense_of(const rowmax_dense_view* in, DenseMaskView* out, DType* dtype) {
  rowmax_dense_view view;
  ROWMAX_RETURN_IF_ERROR(take(in, &view));
  *out = {view.data, view.n_q, view.n_kv, view.row_stride, view.key_stride};
  *dtype = dtype_of(view.dtype);
  return {};
}

Status hand_over(AdditiveMask found, bool additive, rowmax_dense_mask** mask) {
  *mask = new (std::nothrow) rowmax_dense_mask();
  if (*mask == nullptr) return Error::out_of_memory();
  (*mask)->mask = std::move(found);
  (*mask)->additive = additive;
  return {};
}

rowmax_dense_info info_of(const rowmax_dense_mask& mask) noexcept {
  const DetectedMask& detected = mask.mask.mask.detected();
  rowmax_dense_info info = rowmax_dense_info_default();
  info.has_bias = mask.mask.has_bias ? 1 : 0;
  info.kind = mask_kind_name(detected.kind);
  info.sentinel = sentinel_name(mask.mask.sentinel);
  info.sentinel_value = mask.mask.sentinel_value;
  info.n_q = detected.n_q;
  info.n_kv = detected.n_kv;
  info.valid_begin = detected.valid.begin;
  info.valid_end = detected.valid.end;
  info.q_pos = detected.q_pos;
  info.left = detected.left;
  info.right = detected.right;
  info.n_hidden = detected.n_hidden;
  info.n_empty_rows = detected.n_empty_rows;
  return info;
}

}  // namespace
}  // namespace rowmax::c_api

using namespace rowmax;
using namespace rowmax::c_api;

extern "C" {

rowmax_status rowmax_to_additive(const rowmax_plan* plan, int64_t s, int64_t h, int32_t dtype, int32_t fill, void* out,
                                 int64_t row_stride, int64_t key_stride, rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    Fill value = Fill::kMinusInfinity;
    ROWMAX_RETURN_IF_ERROR(present(plan, "plan"));
    ROWMAX_RETURN_IF_ERROR(enum_of("fill", fill, 2, &value));
    return to_additive(*plan_of(plan), s, h, dtype_of(dtype), value, out, row_stride, key_stride);
  });
}

rowmax_status rowmax_from_keep(const rowmax_dense_view* view, rowmax_dense_mask** mask, rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    DenseMaskView dense;
    DType ignored = DType::kF32;
    AdditiveMask result;
    ROWMAX_RETURN_IF_ERROR(present(mask, "mask"));
    *mask = nullptr;
    ROWMAX_RETURN_IF_ERROR(c_api::dense_of(view, &dense, &ignored));
    ROWMAX_TRY(found, from_keep(dense));
    result.mask = std::move(found);
    return hand_over(std::move(result), false, mask);
  });
}

rowmax_status rowmax_from_additive(const rowmax_dense_view* view, double threshold, rowmax_dense_mask** mask,
                                   rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    DenseMaskView dense;
    DType dtype = DType::kF32;
    ROWMAX_RETURN_IF_ERROR(present(mask, "mask"));
    *mask = nullptr;
    ROWMAX_RETURN_IF_ERROR(c_api::dense_of(view, &dense, &dtype));
    ROWMAX_TRY(found, from_additive(dense, dtype, threshold));
    return hand_over(std::move(found), true, mask);
  });
}

void rowmax_dense_mask_destroy(rowmax_dense_mask* mask) noexcept { delete mask; }

rowmax_status rowmax_dense_mask_describe(const rowmax_dense_mask* mask, rowmax_dense_info* info, char* text,
                                         size_t capacity, rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(present(mask, "mask"));
    ROWMAX_RETURN_IF_ERROR(give(info_of(*mask), info));
    copy_text(mask->additive ? mask->mask.text() : mask->mask.mask.detected().text(), text, capacity);
    return {};
  });
}

rowmax_status rowmax_dense_mask_bitmap(const rowmax_dense_mask* mask, rowmax_bitmap* bitmap,
                                       rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(present(mask, "mask"));
    ROWMAX_RETURN_IF_ERROR(present(bitmap, "bitmap"));
    const BitmapView view = mask->mask.mask.bitmap();
    rowmax_bitmap value = rowmax_bitmap_default();
    value.words = view.words;
    value.row_stride = view.row_stride;
    value.head_stride = view.head_stride;
    return give(value, bitmap);
  });
}

rowmax_status rowmax_from_keep_mask(const uint8_t* tokens, int64_t n_batch, int64_t n_kv, int64_t row_stride,
                                    int64_t* spans, int32_t* sides, rowmax_error* error) noexcept {
  return guarded(error, [&]() -> Status {
    ROWMAX_TRY(found, from_keep_mask(tokens, n_batch, n_kv, row_stride));
    for (std::size_t b = 0; b < found.spans().size(); ++b) {
      if (spans != nullptr) {
        spans[2 * b] = found.spans()[b].begin;
        spans[2 * b + 1] = found.spans()[b].end;
      }
      if (sides != nullptr) sides[b] = static_cast<int32_t>(found.sides()[b]);
    }
    return {};
  });
}

}  // extern "C"
