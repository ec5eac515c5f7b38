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

AttendArgs args_of(const RawCall& c, Output* output);

Output run_raw(const RawCall& c, const MaskSpec& spec, Isa isa, int threads = 1);

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
