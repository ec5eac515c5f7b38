// The layouts of ABI version 1 on 64-bit machines, field by field: what programs were compiled against must never move.
// A struct may grow at its end; its size here is then the new one, and the fields above stay as they are.
#include <gtest/gtest.h>

#include <cstddef>

#include "rowmax/rowmax.h"

namespace {

static_assert(ROWMAX_ABI_VERSION == 1);
static_assert(sizeof(void*) == 8 && sizeof(std::size_t) == 8);

#define CHECK_SIZE(type, n) static_assert(sizeof(type) == n && alignof(type) <= 8)
#define CHECK_OFFSET(type, field, n) static_assert(offsetof(type, field) == n)

CHECK_SIZE(rowmax_error, 24);
CHECK_OFFSET(rowmax_error, struct_size, 0);
CHECK_OFFSET(rowmax_error, code, 4);
CHECK_OFFSET(rowmax_error, message, 8);
CHECK_OFFSET(rowmax_error, message_capacity, 16);

CHECK_SIZE(rowmax_const_heads, 72);
CHECK_OFFSET(rowmax_const_heads, struct_size, 0);
CHECK_OFFSET(rowmax_const_heads, dtype, 4);
CHECK_OFFSET(rowmax_const_heads, space, 8);
CHECK_OFFSET(rowmax_const_heads, reserved, 12);
CHECK_OFFSET(rowmax_const_heads, data, 16);
CHECK_OFFSET(rowmax_const_heads, n_row, 24);
CHECK_OFFSET(rowmax_const_heads, n_head, 32);
CHECK_OFFSET(rowmax_const_heads, n_dim, 40);
CHECK_OFFSET(rowmax_const_heads, row_stride, 48);
CHECK_OFFSET(rowmax_const_heads, head_stride, 56);
CHECK_OFFSET(rowmax_const_heads, dim_stride, 64);

CHECK_SIZE(rowmax_heads, 72);
CHECK_OFFSET(rowmax_heads, struct_size, 0);
CHECK_OFFSET(rowmax_heads, dtype, 4);
CHECK_OFFSET(rowmax_heads, space, 8);
CHECK_OFFSET(rowmax_heads, reserved, 12);
CHECK_OFFSET(rowmax_heads, data, 16);
CHECK_OFFSET(rowmax_heads, n_row, 24);
CHECK_OFFSET(rowmax_heads, n_head, 32);
CHECK_OFFSET(rowmax_heads, n_dim, 40);
CHECK_OFFSET(rowmax_heads, row_stride, 48);
CHECK_OFFSET(rowmax_heads, head_stride, 56);
CHECK_OFFSET(rowmax_heads, dim_stride, 64);

CHECK_SIZE(rowmax_kv, 136);
CHECK_OFFSET(rowmax_kv, struct_size, 0);
CHECK_OFFSET(rowmax_kv, dtype, 4);
CHECK_OFFSET(rowmax_kv, space, 8);
CHECK_OFFSET(rowmax_kv, reserved, 12);
CHECK_OFFSET(rowmax_kv, n_kv_head, 16);
CHECK_OFFSET(rowmax_kv, k_dim, 24);
CHECK_OFFSET(rowmax_kv, v_dim, 32);
CHECK_OFFSET(rowmax_kv, page_size, 40);
CHECK_OFFSET(rowmax_kv, k_page_stride, 48);
CHECK_OFFSET(rowmax_kv, k_key_stride, 56);
CHECK_OFFSET(rowmax_kv, k_head_stride, 64);
CHECK_OFFSET(rowmax_kv, k_dim_stride, 72);
CHECK_OFFSET(rowmax_kv, v_page_stride, 80);
CHECK_OFFSET(rowmax_kv, v_key_stride, 88);
CHECK_OFFSET(rowmax_kv, v_head_stride, 96);
CHECK_OFFSET(rowmax_kv, v_dim_stride, 104);
CHECK_OFFSET(rowmax_kv, ring_keys, 112);
CHECK_OFFSET(rowmax_kv, k_scales, 120);
CHECK_OFFSET(rowmax_kv, v_scales, 128);

CHECK_SIZE(rowmax_kv_sequence, 40);
CHECK_OFFSET(rowmax_kv_sequence, struct_size, 0);
CHECK_OFFSET(rowmax_kv_sequence, reserved, 4);
CHECK_OFFSET(rowmax_kv_sequence, k, 8);
CHECK_OFFSET(rowmax_kv_sequence, v, 16);
CHECK_OFFSET(rowmax_kv_sequence, pages, 24);
CHECK_OFFSET(rowmax_kv_sequence, bias, 32);

CHECK_SIZE(rowmax_segment_ids, 24);
CHECK_OFFSET(rowmax_segment_ids, struct_size, 0);
CHECK_OFFSET(rowmax_segment_ids, reserved, 4);
CHECK_OFFSET(rowmax_segment_ids, q_ids, 8);
CHECK_OFFSET(rowmax_segment_ids, k_ids, 16);

CHECK_SIZE(rowmax_bitmap, 32);
CHECK_OFFSET(rowmax_bitmap, struct_size, 0);
CHECK_OFFSET(rowmax_bitmap, reserved, 4);
CHECK_OFFSET(rowmax_bitmap, words, 8);
CHECK_OFFSET(rowmax_bitmap, row_stride, 16);
CHECK_OFFSET(rowmax_bitmap, head_stride, 24);

CHECK_SIZE(rowmax_block_mask, 48);
CHECK_OFFSET(rowmax_block_mask, struct_size, 0);
CHECK_OFFSET(rowmax_block_mask, reserved, 4);
CHECK_OFFSET(rowmax_block_mask, words, 8);
CHECK_OFFSET(rowmax_block_mask, row_stride, 16);
CHECK_OFFSET(rowmax_block_mask, head_stride, 24);
CHECK_OFFSET(rowmax_block_mask, q_block, 32);
CHECK_OFFSET(rowmax_block_mask, k_block, 40);

CHECK_SIZE(rowmax_tree, 24);
CHECK_OFFSET(rowmax_tree, struct_size, 0);
CHECK_OFFSET(rowmax_tree, reserved, 4);
CHECK_OFFSET(rowmax_tree, parents, 8);
CHECK_OFFSET(rowmax_tree, first_key, 16);

CHECK_SIZE(rowmax_mask, 168);
CHECK_OFFSET(rowmax_mask, struct_size, 0);
CHECK_OFFSET(rowmax_mask, reserved, 4);
CHECK_OFFSET(rowmax_mask, left, 8);
CHECK_OFFSET(rowmax_mask, right, 16);
CHECK_OFFSET(rowmax_mask, chunk, 24);
CHECK_OFFSET(rowmax_mask, keep_first, 32);
CHECK_OFFSET(rowmax_mask, valid, 40);
CHECK_OFFSET(rowmax_mask, n_valid, 48);
CHECK_OFFSET(rowmax_mask, n_valid_terms, 56);
CHECK_OFFSET(rowmax_mask, segments, 64);
CHECK_OFFSET(rowmax_mask, n_segments, 72);
CHECK_OFFSET(rowmax_mask, n_segment_terms, 80);
CHECK_OFFSET(rowmax_mask, bitmaps, 88);
CHECK_OFFSET(rowmax_mask, n_bitmaps, 96);
CHECK_OFFSET(rowmax_mask, n_bitmap_terms, 104);
CHECK_OFFSET(rowmax_mask, blocks, 112);
CHECK_OFFSET(rowmax_mask, n_blocks, 120);
CHECK_OFFSET(rowmax_mask, n_block_terms, 128);
CHECK_OFFSET(rowmax_mask, trees, 136);
CHECK_OFFSET(rowmax_mask, n_trees, 144);
CHECK_OFFSET(rowmax_mask, prefix_ends, 152);
CHECK_OFFSET(rowmax_mask, n_prefix_ends, 160);

CHECK_SIZE(rowmax_sequence, 56);
CHECK_OFFSET(rowmax_sequence, struct_size, 0);
CHECK_OFFSET(rowmax_sequence, reserved, 4);
CHECK_OFFSET(rowmax_sequence, q_begin, 8);
CHECK_OFFSET(rowmax_sequence, n_q, 16);
CHECK_OFFSET(rowmax_sequence, q_pos, 24);
CHECK_OFFSET(rowmax_sequence, n_kv, 32);
CHECK_OFFSET(rowmax_sequence, positions, 40);
CHECK_OFFSET(rowmax_sequence, anchor, 48);

CHECK_SIZE(rowmax_geometry, 32);
CHECK_OFFSET(rowmax_geometry, struct_size, 0);
CHECK_OFFSET(rowmax_geometry, n_head, 4);
CHECK_OFFSET(rowmax_geometry, n_kv_head, 8);
CHECK_OFFSET(rowmax_geometry, reserved, 12);
CHECK_OFFSET(rowmax_geometry, sequences, 16);
CHECK_OFFSET(rowmax_geometry, n_sequences, 24);

CHECK_SIZE(rowmax_mask_stats, 48);
CHECK_OFFSET(rowmax_mask_stats, struct_size, 0);
CHECK_OFFSET(rowmax_mask_stats, reserved, 4);
CHECK_OFFSET(rowmax_mask_stats, visible_pairs, 8);
CHECK_OFFSET(rowmax_mask_stats, empty_rows, 16);
CHECK_OFFSET(rowmax_mask_stats, full_tiles, 24);
CHECK_OFFSET(rowmax_mask_stats, partial_tiles, 32);
CHECK_OFFSET(rowmax_mask_stats, empty_tiles, 40);

CHECK_SIZE(rowmax_dense_view, 48);
CHECK_OFFSET(rowmax_dense_view, struct_size, 0);
CHECK_OFFSET(rowmax_dense_view, dtype, 4);
CHECK_OFFSET(rowmax_dense_view, data, 8);
CHECK_OFFSET(rowmax_dense_view, n_q, 16);
CHECK_OFFSET(rowmax_dense_view, n_kv, 24);
CHECK_OFFSET(rowmax_dense_view, row_stride, 32);
CHECK_OFFSET(rowmax_dense_view, key_stride, 40);

CHECK_SIZE(rowmax_dense_info, 104);
CHECK_OFFSET(rowmax_dense_info, struct_size, 0);
CHECK_OFFSET(rowmax_dense_info, has_bias, 4);
CHECK_OFFSET(rowmax_dense_info, kind, 8);
CHECK_OFFSET(rowmax_dense_info, sentinel, 16);
CHECK_OFFSET(rowmax_dense_info, sentinel_value, 24);
CHECK_OFFSET(rowmax_dense_info, n_q, 32);
CHECK_OFFSET(rowmax_dense_info, n_kv, 40);
CHECK_OFFSET(rowmax_dense_info, valid_begin, 48);
CHECK_OFFSET(rowmax_dense_info, valid_end, 56);
CHECK_OFFSET(rowmax_dense_info, q_pos, 64);
CHECK_OFFSET(rowmax_dense_info, left, 72);
CHECK_OFFSET(rowmax_dense_info, right, 80);
CHECK_OFFSET(rowmax_dense_info, n_hidden, 88);
CHECK_OFFSET(rowmax_dense_info, n_empty_rows, 96);

CHECK_SIZE(rowmax_executor_callbacks, 24);
CHECK_OFFSET(rowmax_executor_callbacks, struct_size, 0);
CHECK_OFFSET(rowmax_executor_callbacks, concurrency, 4);
CHECK_OFFSET(rowmax_executor_callbacks, run, 8);
CHECK_OFFSET(rowmax_executor_callbacks, user, 16);

CHECK_SIZE(rowmax_backend, 24);
CHECK_OFFSET(rowmax_backend, struct_size, 0);
CHECK_OFFSET(rowmax_backend, kind, 4);
CHECK_OFFSET(rowmax_backend, isa, 8);
CHECK_OFFSET(rowmax_backend, reserved, 12);
CHECK_OFFSET(rowmax_backend, executor, 16);

CHECK_SIZE(rowmax_partial, 72);
CHECK_OFFSET(rowmax_partial, struct_size, 0);
CHECK_OFFSET(rowmax_partial, reserved, 4);
CHECK_OFFSET(rowmax_partial, o, 8);
CHECK_OFFSET(rowmax_partial, o_row_stride, 16);
CHECK_OFFSET(rowmax_partial, o_head_stride, 24);
CHECK_OFFSET(rowmax_partial, m, 32);
CHECK_OFFSET(rowmax_partial, l, 40);
CHECK_OFFSET(rowmax_partial, status, 48);
CHECK_OFFSET(rowmax_partial, row_stride, 56);
CHECK_OFFSET(rowmax_partial, head_stride, 64);

CHECK_SIZE(rowmax_probe_row, 568);
CHECK_OFFSET(rowmax_probe_row, struct_size, 0);
CHECK_OFFSET(rowmax_probe_row, status, 4);
CHECK_OFFSET(rowmax_probe_row, sequence, 8);
CHECK_OFFSET(rowmax_probe_row, query, 16);
CHECK_OFFSET(rowmax_probe_row, head, 24);
CHECK_OFFSET(rowmax_probe_row, row, 32);
CHECK_OFFSET(rowmax_probe_row, position, 40);
CHECK_OFFSET(rowmax_probe_row, n_kv, 48);
CHECK_OFFSET(rowmax_probe_row, n_visible, 56);
CHECK_OFFSET(rowmax_probe_row, scale, 64);
CHECK_OFFSET(rowmax_probe_row, measured_scale, 72);
CHECK_OFFSET(rowmax_probe_row, scale_error, 80);
CHECK_OFFSET(rowmax_probe_row, sum, 88);
CHECK_OFFSET(rowmax_probe_row, weights_sum, 96);
CHECK_OFFSET(rowmax_probe_row, softcap, 104);
CHECK_OFFSET(rowmax_probe_row, sink, 108);
CHECK_OFFSET(rowmax_probe_row, raw_min, 112);
CHECK_OFFSET(rowmax_probe_row, raw_max, 116);
CHECK_OFFSET(rowmax_probe_row, before_mask_min, 120);
CHECK_OFFSET(rowmax_probe_row, before_mask_max, 124);
CHECK_OFFSET(rowmax_probe_row, after_mask_min, 128);
CHECK_OFFSET(rowmax_probe_row, after_mask_max, 132);
CHECK_OFFSET(rowmax_probe_row, row_max, 136);
CHECK_OFFSET(rowmax_probe_row, largest_exp, 140);
CHECK_OFFSET(rowmax_probe_row, smallest_weight, 144);
CHECK_OFFSET(rowmax_probe_row, lse, 148);
CHECK_OFFSET(rowmax_probe_row, n_edge, 152);
CHECK_OFFSET(rowmax_probe_row, n_hidden_weighted, 160);
CHECK_OFFSET(rowmax_probe_row, n_visible_lost, 168);
CHECK_OFFSET(rowmax_probe_row, n_non_finite_weights, 176);
CHECK_OFFSET(rowmax_probe_row, first_non_finite_key, 184);
CHECK_OFFSET(rowmax_probe_row, first_keys, 192);
CHECK_OFFSET(rowmax_probe_row, last_keys, 256);
CHECK_OFFSET(rowmax_probe_row, first_scores, 320);
CHECK_OFFSET(rowmax_probe_row, last_scores, 352);
CHECK_OFFSET(rowmax_probe_row, first_weights, 384);
CHECK_OFFSET(rowmax_probe_row, last_weights, 416);
CHECK_OFFSET(rowmax_probe_row, first_dots, 448);
CHECK_OFFSET(rowmax_probe_row, last_dots, 480);
CHECK_OFFSET(rowmax_probe_row, n_compared, 512);
CHECK_OFFSET(rowmax_probe_row, out_dim, 520);
CHECK_OFFSET(rowmax_probe_row, out_error, 528);
CHECK_OFFSET(rowmax_probe_row, out_bound, 536);
CHECK_OFFSET(rowmax_probe_row, lse_error, 544);
CHECK_OFFSET(rowmax_probe_row, lse_bound, 552);
CHECK_OFFSET(rowmax_probe_row, hidden_max, 560);
CHECK_OFFSET(rowmax_probe_row, reserved, 564);

CHECK_SIZE(rowmax_probe, 32);
CHECK_OFFSET(rowmax_probe, struct_size, 0);
CHECK_OFFSET(rowmax_probe, reserved, 4);
CHECK_OFFSET(rowmax_probe, wants, 8);
CHECK_OFFSET(rowmax_probe, row, 16);
CHECK_OFFSET(rowmax_probe, user, 24);

CHECK_SIZE(rowmax_attend_args, 240);
CHECK_OFFSET(rowmax_attend_args, struct_size, 0);
CHECK_OFFSET(rowmax_attend_args, arithmetic, 4);
CHECK_OFFSET(rowmax_attend_args, q, 8);
CHECK_OFFSET(rowmax_attend_args, kv, 16);
CHECK_OFFSET(rowmax_attend_args, sequences, 24);
CHECK_OFFSET(rowmax_attend_args, n_sequences, 32);
CHECK_OFFSET(rowmax_attend_args, out, 40);
CHECK_OFFSET(rowmax_attend_args, scale, 48);
CHECK_OFFSET(rowmax_attend_args, softcap, 56);
CHECK_OFFSET(rowmax_attend_args, empty_rows, 64);
CHECK_OFFSET(rowmax_attend_args, bias_dtype, 68);
CHECK_OFFSET(rowmax_attend_args, bias_row_stride, 72);
CHECK_OFFSET(rowmax_attend_args, bias_head_stride, 80);
CHECK_OFFSET(rowmax_attend_args, bias_key_stride, 88);
CHECK_OFFSET(rowmax_attend_args, check_bias, 96);
CHECK_OFFSET(rowmax_attend_args, check_weights, 100);
CHECK_OFFSET(rowmax_attend_args, alibi_slopes, 104);
CHECK_OFFSET(rowmax_attend_args, relative_table, 112);
CHECK_OFFSET(rowmax_attend_args, relative_min_distance, 120);
CHECK_OFFSET(rowmax_attend_args, relative_max_distance, 128);
CHECK_OFFSET(rowmax_attend_args, relative_head_stride, 136);
CHECK_OFFSET(rowmax_attend_args, sinks, 144);
CHECK_OFFSET(rowmax_attend_args, lse, 152);
CHECK_OFFSET(rowmax_attend_args, lse_row_stride, 160);
CHECK_OFFSET(rowmax_attend_args, lse_head_stride, 168);
CHECK_OFFSET(rowmax_attend_args, row_status, 176);
CHECK_OFFSET(rowmax_attend_args, status_row_stride, 184);
CHECK_OFFSET(rowmax_attend_args, status_head_stride, 192);
CHECK_OFFSET(rowmax_attend_args, weights, 200);
CHECK_OFFSET(rowmax_attend_args, weights_row_stride, 208);
CHECK_OFFSET(rowmax_attend_args, weights_head_stride, 216);
CHECK_OFFSET(rowmax_attend_args, partial, 224);
CHECK_OFFSET(rowmax_attend_args, probe, 232);

CHECK_SIZE(rowmax_report, 56);
CHECK_OFFSET(rowmax_report, struct_size, 0);
CHECK_OFFSET(rowmax_report, reserved, 4);
CHECK_OFFSET(rowmax_report, n_rows, 8);
CHECK_OFFSET(rowmax_report, n_empty, 16);
CHECK_OFFSET(rowmax_report, n_non_finite, 24);
CHECK_OFFSET(rowmax_report, n_overflow, 32);
CHECK_OFFSET(rowmax_report, fault_row, 40);
CHECK_OFFSET(rowmax_report, fault_head, 48);

CHECK_SIZE(rowmax_attend_bounds, 56);
CHECK_OFFSET(rowmax_attend_bounds, struct_size, 0);
CHECK_OFFSET(rowmax_attend_bounds, arithmetic, 4);
CHECK_OFFSET(rowmax_attend_bounds, max_sequences, 8);
CHECK_OFFSET(rowmax_attend_bounds, max_n_kv, 16);
CHECK_OFFSET(rowmax_attend_bounds, n_head, 24);
CHECK_OFFSET(rowmax_attend_bounds, n_kv_head, 32);
CHECK_OFFSET(rowmax_attend_bounds, k_dim, 40);
CHECK_OFFSET(rowmax_attend_bounds, v_dim, 48);

CHECK_SIZE(rowmax_merge_args, 112);
CHECK_OFFSET(rowmax_merge_args, struct_size, 0);
CHECK_OFFSET(rowmax_merge_args, reserved, 4);
CHECK_OFFSET(rowmax_merge_args, parts, 8);
CHECK_OFFSET(rowmax_merge_args, n_parts, 16);
CHECK_OFFSET(rowmax_merge_args, n_row, 24);
CHECK_OFFSET(rowmax_merge_args, n_head, 32);
CHECK_OFFSET(rowmax_merge_args, v_dim, 40);
CHECK_OFFSET(rowmax_merge_args, sinks, 48);
CHECK_OFFSET(rowmax_merge_args, out, 56);
CHECK_OFFSET(rowmax_merge_args, lse, 64);
CHECK_OFFSET(rowmax_merge_args, lse_row_stride, 72);
CHECK_OFFSET(rowmax_merge_args, lse_head_stride, 80);
CHECK_OFFSET(rowmax_merge_args, row_status, 88);
CHECK_OFFSET(rowmax_merge_args, status_row_stride, 96);
CHECK_OFFSET(rowmax_merge_args, status_head_stride, 104);

CHECK_SIZE(rowmax_probe_verdict, 32);
CHECK_OFFSET(rowmax_probe_verdict, struct_size, 0);
CHECK_OFFSET(rowmax_probe_verdict, ok, 4);
CHECK_OFFSET(rowmax_probe_verdict, scale_once, 8);
CHECK_OFFSET(rowmax_probe_verdict, mask_applied, 12);
CHECK_OFFSET(rowmax_probe_verdict, exp_in_range, 16);
CHECK_OFFSET(rowmax_probe_verdict, weights_sum_to_one, 20);
CHECK_OFFSET(rowmax_probe_verdict, failed, 24);
CHECK_OFFSET(rowmax_probe_verdict, parity, 28);

CHECK_SIZE(rowmax_softmax_args, 128);
CHECK_OFFSET(rowmax_softmax_args, struct_size, 0);
CHECK_OFFSET(rowmax_softmax_args, empty_rows, 4);
CHECK_OFFSET(rowmax_softmax_args, scores, 8);
CHECK_OFFSET(rowmax_softmax_args, n_row, 16);
CHECK_OFFSET(rowmax_softmax_args, n_key, 24);
CHECK_OFFSET(rowmax_softmax_args, row_stride, 32);
CHECK_OFFSET(rowmax_softmax_args, keep, 40);
CHECK_OFFSET(rowmax_softmax_args, keep_row_stride, 48);
CHECK_OFFSET(rowmax_softmax_args, scale, 56);
CHECK_OFFSET(rowmax_softmax_args, softcap, 64);
CHECK_OFFSET(rowmax_softmax_args, bias, 72);
CHECK_OFFSET(rowmax_softmax_args, bias_row_stride, 80);
CHECK_OFFSET(rowmax_softmax_args, sink, 88);
CHECK_OFFSET(rowmax_softmax_args, weights, 96);
CHECK_OFFSET(rowmax_softmax_args, weights_row_stride, 104);
CHECK_OFFSET(rowmax_softmax_args, lse, 112);
CHECK_OFFSET(rowmax_softmax_args, row_status, 120);

// What is written into programs as a number.
static_assert(ROWMAX_OK == 0 && ROWMAX_INVALID_ARGUMENT == 1 && ROWMAX_OUT_OF_MEMORY == 2 && ROWMAX_UNSUPPORTED == 3);
static_assert(ROWMAX_NUMERIC_FAULT == 7 && ROWMAX_LIMIT == 8);
static_assert(ROWMAX_F32 == 0 && ROWMAX_F16 == 1 && ROWMAX_BF16 == 2 && ROWMAX_F64 == 3);
static_assert(ROWMAX_F8_E4M3 == 4 && ROWMAX_Q8_0 == 5 && ROWMAX_HOST == 0 && ROWMAX_CUDA == 1);
static_assert(ROWMAX_BACKEND_CPU == 0 && ROWMAX_ISA_DEFAULT == -1);

// Every struct starts with its size, so that older programs can be told from newer ones.
TEST(CApiLayout, EveryStructStartsWithItsSize) {
  EXPECT_EQ(offsetof(rowmax_error, struct_size), 0u);
  EXPECT_EQ(rowmax_error_default().struct_size, sizeof(rowmax_error));
  EXPECT_EQ(offsetof(rowmax_const_heads, struct_size), 0u);
  EXPECT_EQ(rowmax_const_heads_default().struct_size, sizeof(rowmax_const_heads));
  EXPECT_EQ(offsetof(rowmax_heads, struct_size), 0u);
  EXPECT_EQ(rowmax_heads_default().struct_size, sizeof(rowmax_heads));
  EXPECT_EQ(offsetof(rowmax_kv, struct_size), 0u);
  EXPECT_EQ(rowmax_kv_default().struct_size, sizeof(rowmax_kv));
  EXPECT_EQ(offsetof(rowmax_kv_sequence, struct_size), 0u);
  EXPECT_EQ(rowmax_kv_sequence_default().struct_size, sizeof(rowmax_kv_sequence));
  EXPECT_EQ(offsetof(rowmax_segment_ids, struct_size), 0u);
  EXPECT_EQ(rowmax_segment_ids_default().struct_size, sizeof(rowmax_segment_ids));
  EXPECT_EQ(offsetof(rowmax_bitmap, struct_size), 0u);
  EXPECT_EQ(rowmax_bitmap_default().struct_size, sizeof(rowmax_bitmap));
  EXPECT_EQ(offsetof(rowmax_block_mask, struct_size), 0u);
  EXPECT_EQ(rowmax_block_mask_default().struct_size, sizeof(rowmax_block_mask));
  EXPECT_EQ(offsetof(rowmax_tree, struct_size), 0u);
  EXPECT_EQ(rowmax_tree_default().struct_size, sizeof(rowmax_tree));
  EXPECT_EQ(offsetof(rowmax_mask, struct_size), 0u);
  EXPECT_EQ(rowmax_mask_default().struct_size, sizeof(rowmax_mask));
  EXPECT_EQ(offsetof(rowmax_sequence, struct_size), 0u);
  EXPECT_EQ(rowmax_sequence_default().struct_size, sizeof(rowmax_sequence));
  EXPECT_EQ(offsetof(rowmax_geometry, struct_size), 0u);
  EXPECT_EQ(rowmax_geometry_default().struct_size, sizeof(rowmax_geometry));
  EXPECT_EQ(offsetof(rowmax_mask_stats, struct_size), 0u);
  EXPECT_EQ(rowmax_mask_stats_default().struct_size, sizeof(rowmax_mask_stats));
  EXPECT_EQ(offsetof(rowmax_dense_view, struct_size), 0u);
  EXPECT_EQ(rowmax_dense_view_default().struct_size, sizeof(rowmax_dense_view));
  EXPECT_EQ(offsetof(rowmax_dense_info, struct_size), 0u);
  EXPECT_EQ(rowmax_dense_info_default().struct_size, sizeof(rowmax_dense_info));
  EXPECT_EQ(offsetof(rowmax_executor_callbacks, struct_size), 0u);
  EXPECT_EQ(rowmax_executor_callbacks_default().struct_size, sizeof(rowmax_executor_callbacks));
  EXPECT_EQ(offsetof(rowmax_backend, struct_size), 0u);
  EXPECT_EQ(rowmax_backend_default().struct_size, sizeof(rowmax_backend));
  EXPECT_EQ(offsetof(rowmax_partial, struct_size), 0u);
  EXPECT_EQ(rowmax_partial_default().struct_size, sizeof(rowmax_partial));
  EXPECT_EQ(offsetof(rowmax_probe_row, struct_size), 0u);
  EXPECT_EQ(rowmax_probe_row_default().struct_size, sizeof(rowmax_probe_row));
  EXPECT_EQ(offsetof(rowmax_probe, struct_size), 0u);
  EXPECT_EQ(rowmax_probe_default().struct_size, sizeof(rowmax_probe));
  EXPECT_EQ(offsetof(rowmax_attend_args, struct_size), 0u);
  EXPECT_EQ(rowmax_attend_args_default().struct_size, sizeof(rowmax_attend_args));
  EXPECT_EQ(offsetof(rowmax_report, struct_size), 0u);
  EXPECT_EQ(rowmax_report_default().struct_size, sizeof(rowmax_report));
  EXPECT_EQ(offsetof(rowmax_attend_bounds, struct_size), 0u);
  EXPECT_EQ(rowmax_attend_bounds_default().struct_size, sizeof(rowmax_attend_bounds));
  EXPECT_EQ(offsetof(rowmax_merge_args, struct_size), 0u);
  EXPECT_EQ(rowmax_merge_args_default().struct_size, sizeof(rowmax_merge_args));
  EXPECT_EQ(offsetof(rowmax_probe_verdict, struct_size), 0u);
  EXPECT_EQ(rowmax_probe_verdict_default().struct_size, sizeof(rowmax_probe_verdict));
  EXPECT_EQ(offsetof(rowmax_softmax_args, struct_size), 0u);
  EXPECT_EQ(rowmax_softmax_args_default().struct_size, sizeof(rowmax_softmax_args));
}

}  // namespace
