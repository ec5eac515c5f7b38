// Keys and values of many sequences: contiguous, strided, in pages or in a ring; f32, f16, bf16, f64, fp8 or q8_0.
//
// All sequences of a call share one KvView (types, strides, page size); a KvSequence each says where its numbers start.
// Key j of kv head h, dimension d of the keys lies, in elements, at
//     sequence.k + page(j) * view.k.page_stride + (j mod page_size) * view.k.key_stride
//                + h * view.k.head_stride + d * view.k.dim_stride
// where page(j) = sequence.pages[j / page_size], or j / page_size without a page table; with page_size 0 there are no
// pages: page(j) = 0 and j mod page_size = j. Values likewise with view.v.
//
// Ring: with ring_keys R > 0 key j lies where key j mod R would: a cache that keeps the last R keys. Keys before
// n_kv - R are gone; a call in which a query sees one is refused.
//
// kQ8_0: blocks run along dimensions: dim_stride is 1, head size and all other strides are multiples of 32.
// kF8E4M3: a number is its code's value times the scale of its kv head (k_scales, v_scales), rounded to f32 once.
//
// Any strides are right. The fast ones: keys with key_stride 1 and pages of kKeyTile keys ([head][dim][key] inside a
// page), values with dim_stride 1. Then no tile is copied in decoding. Other layouts are gathered tile by tile into the
// workspace.
#pragma once

#include <cstdint>

#include "rowmax/view.h"

namespace rowmax {

// Keys are processed in tiles of this many, cut from the sequence's anchor. The best page size.
inline constexpr std::int64_t kKeyTile = 64;

struct KvStrides {
  std::int64_t page_stride = 0;
  std::int64_t key_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t dim_stride = 1;
};

struct KvView {
  DType dtype = DType::kF32;  // of keys and values
  MemorySpace space = MemorySpace::kHost;
  std::int64_t n_kv_head = 0;
  std::int64_t k_dim = 0;  // = head_dim of the queries
  std::int64_t v_dim = 0;  // of values and of the result; may differ from k_dim
  std::int64_t page_size = 0;
  KvStrides k;
  KvStrides v;
  std::int64_t ring_keys = 0;       // 0: no ring; with pages a multiple of page_size
  const float* k_scales = nullptr;  // kF8E4M3 alone: [n_kv_head], finite; nullptr: 1
  const float* v_scales = nullptr;
};

struct KvSequence {
  const void* k = nullptr;
  const void* v = nullptr;
  // Page numbers, ceil(n_kv / page_size) of them, or nullptr. Pages of which no query of the call sees a key are never
  // touched; their entries may be anything (-1 for a page that was given back, say).
  const std::int32_t* pages = nullptr;
  // Additive bias of this sequence or nullptr, see AttendArgs::bias.
  const void* bias = nullptr;
};

// Densely packed [key][head][dim] for both keys and values, without pages.
inline KvView packed_kv(DType dtype, std::int64_t n_kv_head, std::int64_t k_dim, std::int64_t v_dim) noexcept {
  KvView view;
  view.dtype = dtype;
  view.n_kv_head = n_kv_head;
  view.k_dim = k_dim;
  view.v_dim = v_dim;
  view.k = {0, n_kv_head * k_dim, k_dim, 1};
  view.v = {0, n_kv_head * v_dim, v_dim, 1};
  return view;
}

// The fast paged layout: a page of keys is [head][dim][kKeyTile], a page of values [head][kKeyTile][dim]; both pools
// are dense, so a page of keys has n_kv_head * k_dim * kKeyTile elements and one of values n_kv_head * v_dim *
// kKeyTile. Types of blocks (q8_0) have keys as values: [head][kKeyTile][dim].
inline KvView paged_kv(DType dtype, std::int64_t n_kv_head, std::int64_t k_dim, std::int64_t v_dim) noexcept {
  KvView view = packed_kv(dtype, n_kv_head, k_dim, v_dim);
  view.page_size = kKeyTile;
  const bool blocks = dtype_known(dtype) && dtype_info(dtype).block_elements > 1;
  view.k = {n_kv_head * k_dim * kKeyTile, blocks ? k_dim : 1, k_dim * kKeyTile, blocks ? 1 : kKeyTile};
  view.v = {n_kv_head * v_dim * kKeyTile, v_dim, v_dim * kKeyTile, 1};
  return view;
}

}  // namespace rowmax
