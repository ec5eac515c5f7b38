// Probe and softmax through the C interface.
#include "rowmax/probe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "rowmax/rowmax.h"

namespace {

struct Seen {
  std::vector<rowmax_probe_row> rows;
};
std::int32_t wants(void*, std::int64_t, std::int64_t head, std::int64_t query) { return head == 1 && query != 1; }
void on_row(void* user, const rowmax_probe_row* row) { static_cast<Seen*>(user)->rows.push_back(*row); }

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

TEST(CApiProbe, ChosenRowsAreShownAndJudged) {
  const float q[3 * 2 * 2] = {1, 0, 0, 1, 1, 1, 2, 1, 0, 0, 1, -1};
  const float k[4 * 2] = {1, 0, 0, 1, 1, 1, -1, 2};
  const float v[4 * 2] = {1, 2, 3, 4, 5, 6, 7, 8};
  float out[3 * 2 * 2];
  rowmax_sequence sequence = rowmax_sequence_default();
  sequence.n_q = 3;
  sequence.n_kv = 4;
  rowmax_geometry geometry = rowmax_geometry_default();
  geometry.n_head = 2;
  geometry.sequences = &sequence;
  geometry.n_sequences = 1;
  rowmax_mask mask = rowmax_mask_default();
  mask.right = 0;
  rowmax_plan* plan = nullptr;
  ASSERT_EQ(rowmax_plan_create(&plan, nullptr), ROWMAX_OK);
  ASSERT_EQ(rowmax_plan_compile(plan, &mask, &geometry, nullptr), ROWMAX_OK);
  rowmax_const_heads q_view = rowmax_const_heads_default();
  rowmax_heads out_view = rowmax_heads_default();
  q_view.data = q;
  out_view.data = out;
  q_view.n_row = out_view.n_row = 3;
  q_view.n_head = out_view.n_head = q_view.n_dim = out_view.n_dim = 2;
  q_view.row_stride = out_view.row_stride = 4;
  q_view.head_stride = out_view.head_stride = 2;
  rowmax_kv kv = rowmax_kv_default();
  kv.n_kv_head = 1;
  kv.k_dim = kv.v_dim = 2;
  kv.k_key_stride = kv.v_key_stride = 2;
  rowmax_kv_sequence kv_sequence = rowmax_kv_sequence_default();
  kv_sequence.k = k;
  kv_sequence.v = v;
  Seen seen;
  rowmax_probe probe = rowmax_probe_default();
  probe.wants = wants;
  probe.row = on_row;
  probe.user = &seen;
  rowmax_attend_args args = rowmax_attend_args_default();
  args.q = &q_view;
  args.out = &out_view;
  args.kv = &kv;
  args.sequences = &kv_sequence;
  args.n_sequences = 1;
  args.scale = 0.5;
  args.probe = &probe;
  char text[4096] = "";
  rowmax_error error = rowmax_error_default();
  error.message = text;
  error.message_capacity = sizeof text;
  std::size_t bytes = 0;
  ASSERT_EQ(rowmax_attend_workspace_bytes(&args, plan, nullptr, &bytes, &error), ROWMAX_OK) << text;
  std::unique_ptr<void, Free> memory(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
  ASSERT_EQ(rowmax_attend(&args, plan, memory.get(), bytes, nullptr, nullptr, &error), ROWMAX_OK) << text;
  ASSERT_EQ(seen.rows.size(), 2u);
  EXPECT_EQ(seen.rows[0].query, 0);
  EXPECT_EQ(seen.rows[1].query, 2);
  EXPECT_EQ(seen.rows[1].head, 1);
  EXPECT_EQ(seen.rows[1].n_visible, 3);
  EXPECT_EQ(seen.rows[1].n_kv, 4);
  EXPECT_EQ(seen.rows[1].scale, 0.5);
  EXPECT_EQ(seen.rows[1].row_max, 0.5f);  // q (1, -1): scores 0.5, -0.5, 0
  EXPECT_EQ(seen.rows[1].n_edge, 4);
  EXPECT_EQ(seen.rows[1].first_scores[1], -0.5f);
  EXPECT_EQ(seen.rows[1].first_weights[3], 0.0f);
  rowmax_probe_verdict verdict = rowmax_probe_verdict_default();
  ASSERT_EQ(rowmax_probe_judge(&seen.rows[1], &verdict, &error), ROWMAX_OK) << text;
  EXPECT_EQ(verdict.ok, 1);
  EXPECT_EQ(verdict.failed, 0);
  EXPECT_EQ(verdict.mask_applied, ROWMAX_GATE_PASS);
  EXPECT_EQ(verdict.parity, ROWMAX_GATE_PASS);
  EXPECT_EQ(seen.rows[1].n_compared, 2);
  EXPECT_EQ(seen.rows[1].first_dots[0], 1.0f);
  EXPECT_EQ(seen.rows[1].hidden_max, -INFINITY);
  seen.rows[1].out_error = 1;
  ASSERT_EQ(rowmax_probe_judge(&seen.rows[1], &verdict, &error), ROWMAX_OK) << text;
  EXPECT_EQ(verdict.parity, ROWMAX_GATE_FAIL);
  seen.rows[1].largest_exp = 1.5f;
  ASSERT_EQ(rowmax_probe_judge(&seen.rows[1], &verdict, &error), ROWMAX_OK);
  EXPECT_EQ(verdict.exp_in_range, ROWMAX_GATE_FAIL);
  EXPECT_EQ(verdict.ok, 0);
  EXPECT_EQ(verdict.failed, 1);
  char line[2048] = "";
  ASSERT_EQ(rowmax_probe_json(&seen.rows[0], line, sizeof line, &error), ROWMAX_OK);
  EXPECT_EQ(line[0], '{');
  ASSERT_EQ(rowmax_probe_text(&seen.rows[0], line, sizeof line, &error), ROWMAX_OK);
  EXPECT_NE(std::string(line), "");
  seen.rows[0].n_edge = 9;
  EXPECT_EQ(rowmax_probe_text(&seen.rows[0], line, sizeof line, &error), ROWMAX_INVALID_ARGUMENT);
  probe.wants = nullptr;
  EXPECT_EQ(rowmax_attend(&args, plan, memory.get(), bytes, nullptr, nullptr, &error), ROWMAX_INVALID_ARGUMENT);
  rowmax_plan_destroy(plan);
}

TEST(CApiSoftmax, HiddenIsZeroAndVisibleAddsUp) {
  const float scores[2 * 3] = {1, 2, 3, 4, 5, 6};
  const std::uint64_t keep[2] = {0b101, 0};
  float weights[6], lse[2];
  std::uint8_t status[2];
  rowmax_softmax_args args = rowmax_softmax_args_default();
  args.scores = scores;
  args.n_row = 2;
  args.n_key = 3;
  args.row_stride = 3;
  args.keep = keep;
  args.keep_row_stride = 1;
  args.weights = weights;
  args.weights_row_stride = 3;
  args.lse = lse;
  args.row_status = status;
  args.scale = 0.5;
  rowmax_report report = rowmax_report_default();
  ASSERT_EQ(rowmax_softmax(&args, nullptr, &report, nullptr), ROWMAX_OK);
  const double a = std::exp(0.5), b = std::exp(1.5);
  EXPECT_NEAR(weights[0], a / (a + b), 1e-6);
  EXPECT_EQ(weights[1], 0);
  EXPECT_NEAR(weights[2], b / (a + b), 1e-6);
  EXPECT_NEAR(lse[0], std::log(a + b), 1e-6);
  EXPECT_EQ(weights[3] + weights[4] + weights[5], 0);
  EXPECT_EQ(lse[1], -INFINITY);
  EXPECT_EQ(status[0], ROWMAX_ROW_OK);
  EXPECT_EQ(status[1], ROWMAX_ROW_EMPTY);
  EXPECT_EQ(report.n_empty, 1);
  args.empty_rows = 5;
  EXPECT_EQ(rowmax_softmax(&args, nullptr, &report, nullptr), ROWMAX_INVALID_ARGUMENT);
  EXPECT_EQ(rowmax_softmax(nullptr, nullptr, &report, nullptr), ROWMAX_INVALID_ARGUMENT);
}

}  // namespace
