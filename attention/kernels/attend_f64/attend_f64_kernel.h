// The f64 attend kernel's algorithm, once for all ISAs; attend_f64.h defines what it computes. Plain loops over lanes
// that compilers turn into vectors: every lane is an output of its own, so that no width shows in the bits.
#pragma once

#include <cstring>

#include "attention/kernels/attend_f64/attend_f64.h"
#include "attention/kernels/rows.h"
#include "attention/kernels/stored_number.h"
#include "base/math/f64.h"

namespace rowmax::attention {
namespace {

constexpr double kInfinityF64 = __builtin_inf();

// The pointers of Scratch, to doubles.
struct ScratchF64 {
  double *q, *s, *bias, *o, *total, *k, *v, *l, *m, *total_m, *total_l;
  std::uint32_t *flags, *total_flags;
  std::uint64_t* words;
  RowSpans* spans;
};

inline ScratchF64 in_f64(const Scratch& s) noexcept {
  const auto f64 = [](float* p) { return static_cast<double*>(static_cast<void*>(p)); };
  return {f64(s.q), f64(s.s),       f64(s.bias),    f64(s.o), f64(s.total),  f64(s.k), f64(s.v), f64(s.l),
          f64(s.m), f64(s.total_m), f64(s.total_l), s.flags,  s.total_flags, s.words,  s.spans};
}

inline double tanh_of(double x) noexcept {
  if (x != x) return x;
  const double size = 1.0 - 2.0 / (base::exp_f64(2.0 * __builtin_fabs(x)) + 1.0);
  return __builtin_copysign(size, x);
}

inline void load_queries(const CallArgs& call, const BlockArgs& block, double* out) noexcept {
  const ConstHeadsView& q = call.args->q;
  for (int r = 0; r < block.n_rows; ++r) {
    const Row row = row_of(call, block, r);
    const std::int64_t at = (block.sequence->q_begin + row.query) * q.row_stride + row.head * q.head_stride;
    for (std::int64_t d = 0; d < q.n_dim; ++d) out[r * q.n_dim + d] = number_at(q.data, q.dtype, at + d * q.dim_stride);
  }
}

// Bias of a row for the keys of `word`; returns the word without the keys that the bias masks.
inline std::uint64_t load_bias(const CallArgs& call, const BlockArgs& block, const Row& row, std::int64_t begin,
                               std::uint64_t word, double* out) noexcept {
  const AttendArgs& args = *call.args;
  const RelativeBias& relative = args.relative_bias;
  const std::int64_t p = query_position(*block.sequence, row.query);
  const std::int64_t at =
      (block.sequence->q_first + row.query) * args.bias.row_stride + row.head * args.bias.head_stride;
  std::uint64_t kept = 0;
  for (int k = 0; k < kKeyTile; ++k) {
    double sum = 0;
    if ((word >> k & 1u) != 0) {
      const std::int64_t j = begin + k;
      if (block.kv->bias != nullptr) sum = number_at(block.kv->bias, args.bias.dtype, at + j * args.bias.key_stride);
      if (sum != -kInfinityF64) kept |= std::uint64_t{1} << k;
      if (args.alibi_slopes != nullptr) {
        sum += -static_cast<double>(args.alibi_slopes[row.head]) * static_cast<double>(p > j ? p - j : j - p);
      }
      if (relative.table != nullptr) {
        const std::int64_t distance = max_i64(min_i64(j - p, relative.max_distance), relative.min_distance);
        sum += static_cast<double>(relative.table[row.head * relative.head_stride + distance - relative.min_distance]);
      }
    }
    out[k] = sum;
  }
  return word & kept;
}

// Fills words[r] and the bias, returns the union.
inline std::uint64_t find_words_f64(const CallArgs& call, const BlockArgs& block, std::int64_t begin,
                                    const ScratchF64& scratch) noexcept {
  std::uint64_t any = 0;
  for (int r = 0; r < block.n_rows; ++r) {
    std::uint64_t word = spans_word(scratch.spans[r], begin);
    const Row row = row_of(call, block, r);
    if (word != 0) word &= bitmaps_word(*block.sequence, row.query, row.head, begin);
    if (word != 0 && adds_bias(call, block)) {
      word = load_bias(call, block, row, begin, word, scratch.bias + r * kKeyTile);
    }
    scratch.words[r] = word;
    any |= word;
  }
  return any;
}

// Keys of the tile as [d][key]; what no row sees is 0 and not read.
inline void gather_keys(const CallArgs& call, const BlockArgs& block, std::int64_t begin, std::uint64_t word,
                        const ScratchF64& scratch) noexcept {
  const Stream keys = key_stream(call, block);
  for (int k = 0; k < kKeyTile; ++k) {
    const bool seen = (word >> k & 1u) != 0;
    const void* key = seen ? keys.key(begin + k) : nullptr;
    for (std::int64_t d = 0; d < call.args->kv.k_dim; ++d) {
      scratch.k[d * kKeyTile + k] = seen ? stored_number(keys, key, d) : 0.0;
    }
  }
}

// Its values as [key][o_stride], likewise.
inline void gather_values(const CallArgs& call, const BlockArgs& block, std::int64_t begin, std::uint64_t word,
                          const ScratchF64& scratch) noexcept {
  const Stream values = value_stream(call, block);
  for (int k = 0; k < kKeyTile; ++k) {
    const bool seen = (word >> k & 1u) != 0;
    const void* value = seen ? values.key(begin + k) : nullptr;
    for (std::int64_t d = 0; d < call.o_stride; ++d) {
      scratch.v[k * call.o_stride + d] = seen && d < call.args->kv.v_dim ? stored_number(values, value, d) : 0.0;
    }
  }
}

// Masked scores of one row; returns their maximum.
inline double score_row(const CallArgs& call, int r, bool has_bias, const ScratchF64& scratch) noexcept {
  const AttendArgs& args = *call.args;
  double* s = scratch.s + r * kKeyTile;
  const double* q = scratch.q + r * args.kv.k_dim;
  const std::uint64_t word = scratch.words[r];
  for (int k = 0; k < kKeyTile; ++k) s[k] = 0;
  for (std::int64_t d = 0; d < args.kv.k_dim; ++d) {
    const double* key = scratch.k + d * kKeyTile;
    for (int k = 0; k < kKeyTile; ++k) s[k] = __builtin_fma(q[d], key[k], s[k]);
  }
  double high = -kInfinityF64;
  bool nan = false;
  for (int k = 0; k < kKeyTile; ++k) {
    if ((word >> k & 1u) == 0) {
      s[k] = -kInfinityF64;
      continue;
    }
    double x = s[k] * args.scale;
    if (args.softcap > 0.0f) {
      const double cap = static_cast<double>(args.softcap);
      if (x - x != 0.0 && x == x) scratch.flags[r] |= kRowOverflow;
      x = cap * tanh_of(x / cap);
    }
    if (has_bias) x += scratch.bias[r * kKeyTile + k];
    if (x == -kInfinityF64) scratch.flags[r] |= kRowOverflow;
    nan = nan || x != x;
    high = x > high ? x : high;
    s[k] = x;
  }
  return nan ? __builtin_nan("") : high;
}

// One tile of one row: scores to weights, weights times values.
inline void process_row(const CallArgs& call, int r, bool has_bias, const ScratchF64& scratch) noexcept {
  const std::uint64_t word = scratch.words[r];
  if (word == 0) return;
  double* s = scratch.s + r * kKeyTile;
  const double high = score_row(call, r, has_bias, scratch);
  scratch.flags[r] |= kRowSeen;
  const double m_old = scratch.m[r];
  const double m = high != high || m_old != m_old ? __builtin_nan("") : m_old > high ? m_old : high;
  const double base = m == -kInfinityF64 ? 0.0 : m;
  const double alpha = base::exp_f64(m_old - base);
  scratch.m[r] = m;
  for (int k = 0; k < kKeyTile; ++k) s[k] = (word >> k & 1u) != 0 ? base::exp_f64(s[k] - base) : 0.0;
  double* l = scratch.l + r * 16;
  for (int i = 0; i < 16; ++i) l[i] = l[i] * alpha + (((s[i] + s[i + 16]) + s[i + 32]) + s[i + 48]);
  double* o = scratch.o + r * call.o_stride;
  for (std::int64_t d = 0; d < call.o_stride; ++d) o[d] *= alpha;
  for (std::uint64_t rest = word; rest != 0; rest &= rest - 1) {  // hidden values are not used, whatever they are
    const int k = lowest_bit(rest);
    const double* value = scratch.v + k * call.o_stride;
    const double p = s[k];
    for (std::int64_t d = 0; d < call.o_stride; ++d) o[d] = __builtin_fma(p, value[d], o[d]);
  }
}

inline void start_split_f64(const CallArgs& call, const BlockArgs& block, const ScratchF64& scratch) noexcept {
  for (int r = 0; r < block.n_rows; ++r) {
    scratch.m[r] = -kInfinityF64;
    scratch.flags[r] = 0;
  }
  std::memset(scratch.l, 0, static_cast<std::size_t>(block.n_rows) * 16 * sizeof(double));
  std::memset(scratch.o, 0, static_cast<std::size_t>(block.n_rows * call.o_stride) * sizeof(double));
}

inline void merge_row_f64(const CallArgs& call, const double* o, double m, double l, std::uint32_t flags, int r,
                          const ScratchF64& scratch) noexcept {
  if ((flags & kRowSeen) == 0) return;
  double* total = scratch.total + r * call.o_stride;
  if ((scratch.total_flags[r] & kRowSeen) == 0) {
    std::memcpy(total, o, static_cast<std::size_t>(call.o_stride) * sizeof(double));
    scratch.total_m[r] = m;
    scratch.total_l[r] = l;
    scratch.total_flags[r] = flags;
    return;
  }
  const double old = scratch.total_m[r];
  const double joined = m != m || old != old ? __builtin_nan("") : old > m ? old : m;
  const double base = joined == -kInfinityF64 ? 0.0 : joined;
  const double a = base::exp_f64(old - base), b = base::exp_f64(m - base);
  for (std::int64_t d = 0; d < call.o_stride; ++d) total[d] = __builtin_fma(o[d], b, total[d] * a);
  scratch.total_l[r] = __builtin_fma(l, b, scratch.total_l[r] * a);
  scratch.total_m[r] = joined;
  scratch.total_flags[r] |= flags;
}

inline double* stored_row(const CallArgs& call, const BlockArgs& block, std::int64_t split, int r) noexcept {
  void* at = block.partials + (split * block.n_rows + r) * call.partial_stride;
  return static_cast<double*>(at);
}

inline void close_split_f64(const CallArgs& call, const BlockArgs& block, std::int64_t split,
                            const ScratchF64& scratch) noexcept {
  for (int r = 0; r < block.n_rows; ++r) {
    double* l = scratch.l + r * 16;
    for (int step = 8; step > 0; step /= 2) {
      for (int i = 0; i < step; ++i) l[i] += l[i + step];
    }
    const double* o = scratch.o + r * call.o_stride;
    if (block.partials == nullptr) {
      merge_row_f64(call, o, scratch.m[r], l[0], scratch.flags[r], r, scratch);
      continue;
    }
    double* stored = stored_row(call, block, split - block.split_begin, r);
    std::memcpy(stored, o, static_cast<std::size_t>(call.o_stride) * sizeof(double));
    const PartialTailF64 tail{scratch.m[r], l[0], scratch.flags[r]};
    std::memcpy(stored + call.o_stride, &tail, sizeof tail);
  }
}

// x as an element of a result; true where the type's range turns a finite x into infinity.
inline bool store_number(const HeadsView& out, std::int64_t at, double x) noexcept {
  if (out.dtype == DType::kF64) {
    static_cast<double*>(out.data)[at] = x == x ? x : __builtin_nan("");
    return false;
  }
  const bool finite = x - x == 0.0;
  if (out.dtype == DType::kF32) {
    const float rounded = x == x ? static_cast<float>(x) : kNaN;
    static_cast<float*>(out.data)[at] = rounded;
    return finite && rounded - rounded != 0.0f;
  }
  // Through f32, rounded to odd, so that the narrow type is rounded once.
  float narrow = static_cast<float>(x);
  if (finite && static_cast<double>(narrow) != x && narrow - narrow == 0.0f) {
    std::uint32_t bits = __builtin_bit_cast(std::uint32_t, narrow);
    const bool away = __builtin_fabs(static_cast<double>(narrow)) > __builtin_fabs(x);
    bits = (away ? bits - 1 : bits) | 1u;
    narrow = __builtin_bit_cast(float, bits);
  }
  return store_rounded(out.data, out.dtype, at, x == x ? narrow : kNaN) || (finite && narrow - narrow != 0.0f);
}

// Divides, writes one row's results and says what became of it. Leaves the row's final m and l in scratch.
inline RowStatus finish_row_f64(const CallArgs& call, const BlockArgs& block, int r,
                                const ScratchF64& scratch) noexcept {
  const AttendArgs& args = *call.args;
  const Row row = row_of(call, block, r);
  const std::int64_t at = packed_row(block, row);
  const std::uint32_t flags = scratch.total_flags[r];
  const bool empty = (flags & kRowSeen) == 0;
  const double sink = static_cast<double>(sink_of(args, row.head));
  double m = empty ? sink : scratch.total_m[r];
  double l = empty ? (sink == -kInfinityF64 ? 0.0 : 1.0) : scratch.total_l[r];
  double factor = 1;
  const bool overflow = !empty && ((flags & kRowOverflow) != 0 || m == kInfinityF64);
  if (!empty && sink != -kInfinityF64 && m == m) {
    const double joined = m > sink ? m : sink;
    factor = base::exp_f64(m - joined);
    l = l * factor + base::exp_f64(sink - joined);
    m = joined;
  }
  scratch.total_m[r] = m;
  scratch.total_l[r] = l;
  const double* o = scratch.total + r * call.o_stride;
  bool nan = false, infinite = false;
  for (std::int64_t d = 0; d < args.kv.v_dim; ++d) {
    const double nothing = args.empty_rows == EmptyRows::kNaN ? __builtin_nan("") : 0.0;
    const double x = empty ? nothing : o[d] * factor / l + 0.0;
    nan = nan || x != x;
    infinite = infinite || (x == x && x - x != 0.0);
    const std::int64_t index = at * args.out.row_stride + row.head * args.out.head_stride + d * args.out.dim_stride;
    infinite = store_number(args.out, index, x) || infinite;
  }
  if (args.lse != nullptr) {
    const double lse = empty ? m : m + base::log_f64(l);
    const float rounded = lse == lse ? static_cast<float>(lse) : kNaN;
    infinite = infinite || (lse - lse == 0.0 && rounded - rounded != 0.0f);
    args.lse[at * args.lse_row_stride + row.head * args.lse_head_stride] = rounded;
  }
  if (empty) return RowStatus::kEmpty;
  if (overflow) return RowStatus::kOverflow;
  if (nan || l != l) return RowStatus::kNonFinite;
  return infinite ? RowStatus::kOverflow : RowStatus::kOk;
}

// Finishes all rows of a block; the result has the status_bit of every status met.
inline std::uint32_t finish_rows_f64(const CallArgs& call, const BlockArgs& block, const ScratchF64& scratch,
                                     BlockCounts* counts) noexcept {
  const AttendArgs& args = *call.args;
  std::uint32_t met = 0;
  for (int r = 0; r < block.n_rows; ++r) {
    const RowStatus status = finish_row_f64(call, block, r, scratch);
    const Row row = row_of(call, block, r);
    const std::int64_t at = packed_row(block, row);
    if (args.row_status != nullptr) {
      args.row_status[at * args.status_row_stride + row.head * args.status_head_stride] = status;
    }
    met |= status_bit(status);
    count_row(status, at, row.head, counts);
  }
  return met;
}

// Sums over the block's splits: in scratch.total, or stored where the block has partials. Leaves queries and spans in
// scratch.
inline BlockSpans sum_splits_f64(const CallArgs& call, const BlockArgs& block, const ScratchF64& scratch) noexcept {
  load_queries(call, block, scratch.q);
  const BlockSpans all = find_spans(call, block, scratch.spans);
  const bool has_bias = adds_bias(call, block);
  for (int r = 0; r < block.n_rows; ++r) scratch.total_flags[r] = 0;
  for (std::int64_t split = block.split_begin; split < block.split_end; ++split) {
    const std::int64_t split_key = block.sequence->anchor + split * kSplitKeys;
    const std::int64_t end = min_i64(split_key + kSplitKeys, block.sequence->kv_end);
    start_split_f64(call, block, scratch);
    for (std::int64_t begin = split_key; begin < end; begin += kKeyTile) {
      if (!all.touches(begin, begin + kKeyTile)) continue;
      const std::uint64_t word = find_words_f64(call, block, begin, scratch);
      if (word == 0) continue;
      gather_keys(call, block, begin, word, scratch);
      gather_values(call, block, begin, word, scratch);
      for (int r = 0; r < block.n_rows; ++r) process_row(call, r, has_bias, scratch);
    }
    close_split_f64(call, block, split, scratch);
  }
  return all;
}

}  // namespace
}  // namespace rowmax::attention
