// Test support of the guarantees: calls made of raw arrays, whose sequences may share keys, values and page tables.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "attention/test_problem.h"

namespace rowmax::attention::test {

struct RawCall {
  Shape shape;
  std::vector<float> q;  // [row][n_head][k_dim]
  KvView view;
  std::vector<KvSequence> kv;
  std::vector<Sequence> sequences;
  BiasStrides bias;
  float scale = 0.35f;
  float softcap = 0.0f;
  const float* sinks = nullptr;
  WeightsView weights;
  std::int64_t n_row() const { return static_cast<std::int64_t>(q.size()) / (shape.n_head * shape.k_dim); }
  // One more sequence; its queries follow the last ones. Returns its first row.
  std::int64_t add(const std::vector<float>& queries, std::int64_t q_pos, std::int64_t n_kv, const KvSequence& keys,
                   std::int64_t anchor = -1) {
    const std::int64_t first = n_row();
    q.insert(q.end(), queries.begin(), queries.end());
    sequences.push_back({first, n_row() - first, q_pos, n_kv, nullptr, anchor});
    kv.push_back(keys);
    return first;
  }
};

inline RawCall packed_call(const Shape& shape, DType dtype = DType::kF32) {
  RawCall call;
  call.shape = shape;
  call.view = packed_kv(dtype, shape.n_kv_head, shape.k_dim, shape.v_dim);
  return call;
}

inline AttendArgs args_of(const RawCall& c, Output* output) {
  const std::int64_t n_row = c.n_row(), h = c.shape.n_head;
  output->out.assign(static_cast<std::size_t>(n_row * h * c.shape.v_dim), -77.0f);
  output->lse.assign(static_cast<std::size_t>(n_row * h), -77.0f);
  output->status.assign(static_cast<std::size_t>(n_row * h), static_cast<RowStatus>(99));
  AttendArgs args;
  args.q = packed_heads(c.q.data(), n_row, h, c.shape.k_dim);
  args.kv = c.view;
  args.sequences = c.kv;
  args.bias = c.bias;
  args.scale = c.scale;
  args.softcap = c.softcap;
  args.sinks = c.sinks;
  args.weights = c.weights;
  args.check_weights = WeightCheck::kOff;  // tests of bad numbers want the report
  args.out = packed_heads(output->out.data(), n_row, h, c.shape.v_dim);
  args.lse = output->lse.data();
  args.lse_row_stride = h;
  args.row_status = output->status.data();
  args.status_row_stride = h;
  return args;
}

inline Output run_raw(const RawCall& c, const MaskSpec& spec, Isa isa, int threads = 1) {
  Output output;
  const AttendArgs args = args_of(c, &output);
  const Result<MaskPlan> plan = compile(
      spec, {c.sequences, static_cast<std::int32_t>(c.shape.n_head), static_cast<std::int32_t>(c.shape.n_kv_head)});
  EXPECT_TRUE(plan.ok()) << (plan.ok() ? "" : plan.error().message);
  if (!plan.ok()) return output;
  const Result<AttendReport> report = attend_exact(args, *plan, pool(threads), isa);
  EXPECT_TRUE(report.ok()) << (report.ok() ? "" : report.error().message);
  if (report.ok()) output.report = *report;
  return output;
}

// Whether rows (row times heads plus head) of two results are the same bits.
inline bool same_row(const Output& a, std::int64_t row_a, const Output& b, std::int64_t row_b, std::int64_t v_dim,
                     std::int64_t n_rows = 1) {
  const auto floats = static_cast<std::size_t>(n_rows * v_dim) * sizeof(float);
  const auto at_a = static_cast<std::size_t>(row_a), at_b = static_cast<std::size_t>(row_b);
  const auto n = static_cast<std::size_t>(n_rows), width = static_cast<std::size_t>(v_dim);
  return std::memcmp(&a.out[at_a * width], &b.out[at_b * width], floats) == 0 &&
         std::memcmp(&a.lse[at_a], &b.lse[at_b], n * sizeof(float)) == 0 &&
         std::memcmp(&a.status[at_a], &b.status[at_b], n) == 0;
}

inline std::vector<float> random_floats(Random& random, std::int64_t n, float size = 1.0f) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = random.uniform() * size;
  return values;
}

inline bool all_finite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
}

inline bool exactly_plus_zero(const float* values, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    if (std::bit_cast<std::uint32_t>(values[i]) != 0) return false;
  }
  return true;
}

inline void set_bit(std::vector<std::uint64_t>& words, std::int64_t row_words, std::int64_t i, std::int64_t j) {
  words[static_cast<std::size_t>(i * row_words + j / 64)] |= std::uint64_t{1} << (j % 64);
}

}  // namespace rowmax::attention::test
