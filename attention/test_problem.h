// Test support: attention problems as plain numbers, laid out in memory in many ways, run through attend() and compared
// with the fp64 reference.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "attention/reference.h"
#include "base/half.h"
#include "rowmax/attention.h"

namespace rowmax::attention::test {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 1) {}
  std::uint32_t bits() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::uint32_t>((state_ * 0x2545F4914F6CDD1Dull) >> 32);
  }
  std::int64_t below(std::int64_t n) { return static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(n)); }
  float uniform() { return static_cast<float>(bits() >> 8) * 0x1p-23f - 1.0f; }  // [-1, 1)

 private:
  std::uint64_t state_;
};

enum class Layout {
  kKeyHeadDim,  // contiguous [key][head][dim]
  kHeadKeyDim,  // contiguous [head][key][dim]
  kTransposed,  // contiguous keys [head][dim][key], values [head][key][dim]
  kPagedFast,   // paged_kv: pages of 64, keys [head][dim][key]; shuffled
  kPagedSmall,  // pages of 5 keys, [key][head][dim], shuffled
  kPagedOdd,    // pages of 96 keys, keys [head][dim][key], shuffled
  kWide,        // no stride is 1
};
inline constexpr Layout kAllLayouts[] = {Layout::kKeyHeadDim, Layout::kHeadKeyDim, Layout::kTransposed,
                                         Layout::kPagedFast,  Layout::kPagedSmall, Layout::kPagedOdd,
                                         Layout::kWide};

// Values as the type stores them.
inline float rounded_to(DType dtype, float x) {
  if (dtype == DType::kF16) return base::f16_to_f32(base::f32_to_f16(x));
  if (dtype == DType::kBF16) return base::bf16_to_f32(base::f32_to_bf16(x));
  return x;
}
inline void store_as(DType dtype, void* base, std::int64_t index, float x) {
  if (dtype == DType::kF32) static_cast<float*>(base)[index] = x;
  if (dtype == DType::kF16) static_cast<std::uint16_t*>(base)[index] = base::f32_to_f16(x);
  if (dtype == DType::kBF16) static_cast<std::uint16_t*>(base)[index] = base::f32_to_bf16(x);
}

// One sequence's numbers: q [n_q][n_head][k_dim], k [n_kv][n_kv_head][k_dim], v [n_kv][n_kv_head][v_dim].
struct Numbers {
  std::int64_t n_q = 0, n_kv = 0;
  std::vector<float> q, k, v;
  std::vector<float> bias;  // empty, or [n_q][n_head][n_kv]
};

struct Shape {
  std::int64_t n_head = 1, n_kv_head = 1, k_dim = 8, v_dim = 8;
  std::int64_t group() const { return n_head / n_kv_head; }
};

Numbers random_numbers(Random& random, const Shape& shape, std::int64_t n_q, std::int64_t n_kv,
                       DType dtype = DType::kF32, float size = 2.0f);

// K/V of several sequences in memory as a layout wants them. What no key owns is filled with NaN.
class KvMemory {
 public:
  KvMemory(const Shape& shape, const std::vector<Numbers>& numbers, DType dtype, Layout layout);

  const KvView& view() const { return view_; }
  std::vector<KvSequence>& sequences() { return sequences_; }
  std::vector<std::vector<std::int32_t>>& tables() { return tables_; }

 private:
  static constexpr std::int64_t kMostKeys = 1500;  // of contiguous layouts with heads outside keys

  static std::int64_t page_elements(std::int64_t n_dim, Layout, std::int64_t page, const Shape& shape) {
    return shape.n_kv_head * n_dim * page;
  }
  static KvView view_of(const Shape& shape, DType dtype, Layout layout);
  std::int64_t index(const KvStrides& strides, std::size_t s, std::int64_t j) const {
    if (view_.page_size == 0) return j * strides.key_stride;
    return tables_[s][static_cast<std::size_t>(j / view_.page_size)] * strides.page_stride +
           j % view_.page_size * strides.key_stride;
  }
  void allocate(std::int64_t n_k, std::int64_t n_v, DType dtype);

  KvView view_;
  std::vector<std::vector<std::byte>> k_memory_, v_memory_;
  std::vector<KvSequence> sequences_;
  std::vector<std::vector<std::int32_t>> tables_;
};

struct Output {
  std::vector<float> out;  // [row][n_head][v_dim]
  std::vector<float> lse;  // [row][n_head]
  std::vector<RowStatus> status;
  AttendReport report;

  static bool bits_equal(const std::vector<float>& a, const std::vector<float>& b) {
    // memcmp of nothing still asks for pointers that are not null.
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
  }

  bool same_bits(const Output& other) const {
    return bits_equal(out, other.out) && bits_equal(lse, other.lse) && status == other.status;
  }
};

struct RunOptions {
  Isa isa = Isa::kScalar;
  int threads = 1;
  DType dtype = DType::kF32;
  Layout layout = Layout::kKeyHeadDim;
  float scale = 0.35f;
  float softcap = 0.0f;
  std::function<void(AttendArgs*)> adjust = {};  // the last word about the arguments
  // What `adjust` adds, for worst_error: sinks [n_head], and bias beside Numbers::bias with its error in f32 (units of
  // 2^-24).
  std::vector<float> sinks = {};
  std::function<double(std::int64_t h, std::int64_t i, std::int64_t j)> added_bias = {};
  double bias_error = 0;
};

inline Isa best_isa() { return supported_isas().back(); }

Executor& pool(int threads);

// Calls attend with a workspace of exactly the size it asks for.
Result<AttendReport> attend_exact(const AttendArgs& args, const MaskPlan& plan, Executor& executor, Isa isa);

// Runs sequences whose queries lie one after another, in the order given.
Output run(const Shape& shape, const std::vector<Numbers>& numbers, const std::vector<Sequence>& sequences,
           const MaskSpec& spec, const RunOptions& options, KvMemory* memory = nullptr);

reference::Params params_of(const RunOptions& options, std::int64_t h);

// Everything added to the scores of one row; no function where nothing is.
std::function<double(std::int64_t)> bias_of(const Shape& shape, const Numbers& x, const RunOptions& options,
                                            std::int64_t h, std::int64_t i);

// The fp64 result of query i, head h; visible(h, i, j) is the definition of the mask.
reference::Row reference_row(const Shape& shape, const Numbers& x, const RunOptions& options, std::int64_t h,
                             std::int64_t i,
                             const std::function<bool(std::int64_t, std::int64_t, std::int64_t)>& visible);

// Compares one sequence's rows with the fp64 reference. Returns the largest error in units of the bound (below 1: all
// within).
double worst_error(const Shape& shape, const Numbers& x, const Output& output, std::int64_t q_begin,
                   const RunOptions& options,
                   const std::function<bool(std::int64_t, std::int64_t, std::int64_t)>& visible);

}  // namespace rowmax::attention::test
