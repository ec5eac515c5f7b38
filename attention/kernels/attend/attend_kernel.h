// The attend kernel's algorithm, once for all ISAs: tiles and splits. attend.h defines what it computes; finish.h,
// second_pass.h and entry.h follow.
#pragma once

#include "attention/kernels/attend/attend.h"
#include "attention/kernels/attend/weights.h"
#include "attention/kernels/rows.h"
#include "base/math/f64.h"

namespace rowmax::attention {
namespace {

// Register blocks of equal height where few rows do not fill two: 8 rows are 4 + 4, not 6 + 2.
inline int rows_of_block(int n_rows) noexcept {
  if (n_rows > kConvertRows) return kBlockRows;
  if (n_rows <= kWideBlockRows) return n_rows;
  const int n_blocks = (n_rows + kBlockRows - 1) / kBlockRows;
  return (n_rows + n_blocks - 1) / n_blocks;
}

// Rows of queries or results to ask memory for before they are read or written.
inline constexpr int kRowsAhead = 16;

// Queries of the block's rows [begin, end) as f32, as the register blocks read them: [d][row] of each register block,
// but [row][d] of full ones of blocks with many rows.
template <class Source>
void load_query_rows(const CallArgs& call, const BlockArgs& block, int begin, int end, float* out) noexcept {
  const ConstHeadsView& q = call.args->q;
  const auto* data = static_cast<const typename Source::Type*>(q.data);
  const int step = rows_of_block(block.n_rows);
  const auto row_data = [&](int r) {
    const Row row = row_of(call, block, r);
    return data + (block.sequence->q_begin + row.query) * q.row_stride + row.head * q.head_stride;
  };
  for (int r = begin; r < end; ++r) {
    if (r + kRowsAhead < block.n_rows && q.dim_stride == 1) {
      const auto* next = reinterpret_cast<const char*>(row_data(r + kRowsAhead));
      for (std::size_t i = 0; i < static_cast<std::size_t>(q.n_dim) * sizeof *data; i += 64) {
        __builtin_prefetch(next + i, 0, 2);
      }
    }
    const auto* from = row_data(r);
    const int r0 = r - r % step;
    const int n = block.n_rows - r0 < step ? block.n_rows - r0 : step;
    std::int64_t d = 0;
    if (block.n_rows <= kConvertRows || n < kBlockRows) {
      float* to = out + r0 * q.n_dim + (r - r0);
      for (; d < q.n_dim; ++d) to[d * n] = Source::one(from + d * q.dim_stride);
      continue;
    }
    float* to = out + r * q.n_dim;
    if (q.dim_stride == 1) {
      for (; d + 16 <= q.n_dim; d += 16) simd::store(to + d, Source::load(from + d));
    }
    for (; d < q.n_dim; ++d) to[d] = Source::one(from + d * q.dim_stride);
  }
}

inline void load_queries(const CallArgs& call, const BlockArgs& block, int begin, int end,
                         const Scratch& scratch) noexcept {
  with_source(call.args->q.dtype,
              [&](auto source) { load_query_rows<decltype(source)>(call, block, begin, end, scratch.q); });
}

// Asks for the memory of a row's results.
inline void prefetch_row_results(const CallArgs& call, const BlockArgs& block, int r) noexcept {
  const HeadsView& out = call.args->out;
  if (r >= block.n_rows || out.data == nullptr || out.dim_stride != 1) return;
  const Row row = row_of(call, block, r);
  const std::int64_t size = out.dtype == DType::kF64 ? 8 : out.dtype == DType::kF32 ? 4 : 2;
  const std::int64_t at = (block.sequence->q_begin + row.query) * out.row_stride + row.head * out.head_stride;
  const char* data = static_cast<const char*>(out.data) + at * size;
  for (std::int64_t i = 0; i < call.args->kv.v_dim * size; i += 64) __builtin_prefetch(data + i, 1, 2);
}

// How far a block's rows have come in its first tile. Every query is read and every result written once: with few keys
// a row that is a tenth of the time, unless it happens while the rows before compute.
struct RowsMet {
  int queries = 0;  // loaded
  int results = 0;  // asked for

  void load_to(const CallArgs& call, const BlockArgs& block, int end, const Scratch& scratch) noexcept {
    if (queries >= end) return;
    load_queries(call, block, queries, end, scratch);
    queries = end;
  }
  void ask_to(const CallArgs& call, const BlockArgs& block, int end) noexcept {
    if (block.partials != nullptr) return;
    for (; results < end; ++results) prefetch_row_results(call, block, results);
  }
};

// Bias of one row for the keys of `word`, nothing else is read; returns the word without the keys that the bias masks.
template <class Source>
std::uint64_t load_bias_row(const CallArgs& call, const BlockArgs& block, const Row& row, std::int64_t begin,
                            std::uint64_t word, float* out) noexcept {
  const BiasStrides& strides = call.args->bias;
  const auto* from = static_cast<const typename Source::Type*>(block.kv->bias) +
                     (block.sequence->q_first + row.query) * strides.row_stride + row.head * strides.head_stride +
                     begin * strides.key_stride;
  std::uint64_t hidden = 0;
  for (int c = 0; c < kKeyTile; c += 16) {
    const std::uint32_t bits = static_cast<std::uint32_t>(word >> c) & 0xFFFFu;
    F32x16 x = simd::splat(0.0f);
    if (bits == 0xFFFFu && strides.key_stride == 1) {
      x = Source::load(from + c);
    } else if (bits != 0 && strides.key_stride == 0) {
      x = simd::splat(Source::one(from));
    } else if (bits != 0 && (bits & (bits + 1)) == 0 && strides.key_stride == 1) {
      x = Source::load_n(from + c, bits_end(bits));
    } else if (bits != 0) {
      float lanes[16] = {};
      for (std::uint32_t rest = bits; rest != 0; rest &= rest - 1) {
        const int k = lowest_bit(rest);
        lanes[k] = Source::one(from + (c + k) * strides.key_stride);
      }
      x = simd::load(lanes);
    }
    simd::store(out + c, x);
    hidden |= std::uint64_t{simd::mask_bits(simd::equal(x, simd::splat(-kInfinity)))} << c;
  }
  return word & ~hidden;
}

// Distances p - j of sixteen keys from `key` on, as f32 (rounded once).
ROWMAX_INLINE F32x16 distances(std::int64_t p, std::int64_t key) noexcept {
  constexpr std::int64_t kSmall = std::int64_t{1} << 30;
  const std::int64_t first = p - key;
  if (first < kSmall && first > -kSmall) {
    alignas(64) static constexpr std::int32_t kLanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return simd::to_f32(simd::sub(simd::splat_i32(static_cast<std::int32_t>(first)), simd::load_i32(kLanes)));
  }
  float lanes[16];
  for (int i = 0; i < 16; ++i) lanes[i] = static_cast<float>(first - i);
  return simd::load(lanes);
}

// Adds ALiBi and the relative bias to the bias of the rows that see a key of the tile; without a dense bias these are
// all there is.
inline void add_distance_bias(const CallArgs& call, const BlockArgs& block, std::int64_t begin,
                              const Scratch& scratch) noexcept {
  const AttendArgs& args = *call.args;
  const RelativeBias& relative = args.relative_bias;
  const bool dense = block.kv->bias != nullptr;
  for (int r = 0; r < block.n_rows; ++r) {
    if (scratch.words[r] == 0) continue;
    const Row row = row_of(call, block, r);
    const std::int64_t p = query_position(*block.sequence, row.query);
    for (int c = 0; c < kKeyTile; c += 16) {
      float* bias = scratch.bias + r * kKeyTile + c;
      F32x16 sum = dense ? simd::load(bias) : simd::splat(0.0f);
      if (args.alibi_slopes != nullptr) {
        const F32x16 slope = simd::splat(-args.alibi_slopes[row.head]);
        sum = simd::add(sum, simd::mul(slope, simd::abs(distances(p, begin + c))));
      }
      if (relative.table != nullptr) {
        const float* table = relative.table + row.head * relative.head_stride;
        float entries[16];
        for (int i = 0; i < 16; ++i) {
          const std::int64_t distance = begin + c + i - p;
          entries[i] =
              table[max_i64(min_i64(distance, relative.max_distance), relative.min_distance) - relative.min_distance];
        }
        sum = simd::add(sum, simd::load(entries));
      }
      simd::store(bias, sum);
    }
  }
}

// find_words where spans are all that hides keys.
inline std::uint64_t find_span_words(const BlockArgs& block, std::int64_t begin, const Scratch& scratch) noexcept {
  std::uint64_t any = 0;
  for (int r = 0; r < block.n_rows; ++r) {
    const RowSpans& spans = scratch.spans[r];
    std::uint64_t word = bit_range(spans.begin0 - begin, spans.end0 - begin);
    if (spans.begin1 < spans.end1) word |= bit_range(spans.begin1 - begin, spans.end1 - begin);
    scratch.words[r] = word;
    any |= word;
  }
  return any;
}

// Fills words[r], the keys of a tile that row r sees, and their bias, and returns their union; where that is 0 nothing
// need be filled in.
inline std::uint64_t find_words(const CallArgs& call, const BlockArgs& block, const BlockSpans& all, std::int64_t begin,
                                const Scratch& scratch) noexcept {
  const PlanSequence& sequence = *block.sequence;
  const std::int64_t valid_begin = max_i64(begin, sequence.kv_begin);
  const std::int64_t valid_end = min_i64(begin + kKeyTile, sequence.kv_end);
  const bool has_bias = block.kv->bias != nullptr;
  if (sequence.n_bitmaps == 0 && !has_bias && all.covers(valid_begin, valid_end)) {
    const std::uint64_t word = bit_range(valid_begin - begin, valid_end - begin);
    for (int r = 0; r < block.n_rows; ++r) scratch.words[r] = word;
    if (call.distance_bias) add_distance_bias(call, block, begin, scratch);
    return word;
  }
  if (sequence.n_bitmaps != 0) {
    const std::int64_t last = row_of(call, block, block.n_rows - 1).query;
    const std::int64_t head = block.kv_head * call.group;
    const std::int64_t first = row_of(call, block, 0).query;
    if (bits_hide_tile(sequence, first, last + 1, head, head + call.group, begin)) return 0;
  }
  if (sequence.n_bitmaps == 0 && !has_bias) {
    const std::uint64_t any = find_span_words(block, begin, scratch);
    if (call.distance_bias && any != 0) add_distance_bias(call, block, begin, scratch);
    return any;
  }
  BitsRun run;
  std::uint64_t any = 0;
  for (int r = 0; r < block.n_rows; ++r) {
    std::uint64_t word = spans_word(scratch.spans[r], begin);
    if (word != 0) {
      const Row row = row_of(call, block, r);
      if (sequence.n_bitmaps != 0) {
        find_bits_run(sequence, row.query, row.head, begin, &run);
        word &= run.word;
      }
      if (has_bias) {
        with_source(call.args->bias.dtype, [&](auto source) {
          word = load_bias_row<decltype(source)>(call, block, row, begin, word, scratch.bias + r * kKeyTile);
        });
      }
    }
    scratch.words[r] = word;
    any |= word;
  }
  if (call.distance_bias && any != 0) add_distance_bias(call, block, begin, scratch);
  return any;
}

inline std::uint64_t words_union(const std::uint64_t* words, int n) noexcept {
  std::uint64_t any = 0;
  for (int r = 0; r < n; ++r) any |= words[r];
  return any;
}

inline std::uint64_t words_common(const std::uint64_t* words, int n) noexcept {
  std::uint64_t all = ~std::uint64_t{0};
  for (int r = 0; r < n; ++r) all &= words[r];
  return all;
}

// The lines of a tile's keys or values, to ask for while the operand before is computed with. Nothing where the tile
// lies in more than one piece.
inline Prefetch prefetch_keys(const CallArgs& call, const BlockArgs& block, std::int64_t begin) noexcept {
  const Stream stream = key_stream(call, block);
  const KvStrides& strides = *stream.strides;
  const std::int64_t end = min_i64(begin + kKeyTile, block.sequence->kv_end);
  if (!read_in_place(stream.dtype) || begin < block.sequence->kv_begin || begin >= end) return {};
  if (!stream.one_page(begin, end)) return {};
  const auto bytes = [&](std::int64_t n) { return bytes_in_place(stream.dtype, n); };
  const std::int64_t k_dim = call.args->kv.k_dim;
  if (strides.key_stride == 1) {
    return prefetch_rows(stream.key(begin), k_dim, bytes(end - begin), bytes(strides.dim_stride));
  }
  if (strides.dim_stride != 1) return {};
  return prefetch_rows(stream.key(begin), end - begin, bytes(k_dim), bytes(strides.key_stride));
}
inline Prefetch prefetch_values(const CallArgs& call, const BlockArgs& block, std::int64_t begin,
                                std::uint64_t word) noexcept {
  const Stream stream = value_stream(call, block);
  const int first = lowest_bit(word);
  if (!read_in_place(stream.dtype) || stream.strides->dim_stride != 1) return {};
  if (!stream.one_page(begin + first, begin + bits_end(word))) return {};
  return prefetch_rows(stream.key(begin + first), bits_end(word) - first,
                       bytes_in_place(stream.dtype, call.args->kv.v_dim),
                       bytes_in_place(stream.dtype, stream.strides->key_stride));
}

// Raw dots of all rows that see a key of the tile; kWeights: then their weights. met: nullptr where all queries are in
// scratch.
template <class Source, bool kWeights>
void find_scores(const CallArgs& call, const BlockArgs& block, const TileOperand& k, const Scratch& scratch,
                 Prefetch ahead, RowsMet* met) noexcept {
  const std::int64_t n_dim = call.args->kv.k_dim;
  const int step = rows_of_block(block.n_rows);
  const int n_blocks = (block.n_rows + step - 1) / step;
  const bool inside = block.n_rows <= kConvertRows;
  ahead.spread(inside ? score_steps(step, n_dim) * n_blocks + 2 * block.n_rows : n_blocks);
  const bool plain = !adds_bias(call, block) && !(call.args->softcap > 0.0f);
  Prefetch none;
  int last = -1;  // rows whose weights are half done
  for (int r0 = 0; r0 < block.n_rows; r0 += step) {
    const int n = block.n_rows - r0 < step ? block.n_rows - r0 : step;
    const std::uint64_t any = words_union(scratch.words + r0, n);
    if (!inside) ahead.step<2>();
    if (any == 0) continue;
    if (met != nullptr) met->load_to(call, block, r0 + n, scratch);
    const float* q = scratch.q + r0 * n_dim;
    float* s = scratch.s + r0 * kKeyTile;
    if constexpr (kIsQ8_0<Source>) {  // of few rows alone, and whole
      scores_block<Source, false>(n, q, n_dim, k, s, &ahead);
    } else if (k.n_lanes != kKeyTile) {
      scores_block<Source, true>(n, q, n_dim, k, s, &ahead);
    } else if (inside) {
      scores_block<Source, false>(n, q, n_dim, k, s, &ahead);
    } else if (n == kBlockRows) {
      const int begin = lowest_bit(any) / 16 * 16;
      const int end = (bits_end(any) + 15) / 16 * 16;
      scores_rows<Source, false, false, kBlockRows>(q, n_dim, k, begin, end, s, nullptr);
    } else {
      scores_block<Source, false>(n, q, n_dim, k, s, &none);
    }
    if constexpr (!kWeights) continue;
    if (plain && n == kBlockRows && words_common(scratch.words + r0, n) == ~std::uint64_t{0}) {
      start_weights_plain<kBlockRows>(call, r0, scratch);
    } else {
      start_weights(call, block, r0, n, scratch, inside ? &ahead : &none);
    }
    if (last >= 0) finish_weights(last, step, scratch, inside ? &ahead : &none);
    last = r0;
  }
  if (last >= 0) {
    finish_weights(last, block.n_rows - last < step ? block.n_rows - last : step, scratch, inside ? &ahead : &none);
  }
}

// met: nullptr where nobody waits for results.
template <class Source>
void add_values(const CallArgs& call, const BlockArgs& block, const TileOperand& v, std::uint64_t tile_word,
                const Scratch& scratch, Prefetch ahead, RowsMet* met) noexcept {
  const std::int64_t n_dim = call.args->kv.v_dim;
  Prefetch none;
  int finite = -1;  // not looked at yet
  const int step = rows_of_block(block.n_rows);
  const int n_blocks = (block.n_rows + step - 1) / step;
  const bool inside = block.n_rows <= kConvertRows;
  ahead.spread(inside ? value_steps(step, bits_end(tile_word) - lowest_bit(tile_word), n_dim) * n_blocks : n_blocks);
  for (int r0 = 0; r0 < block.n_rows; r0 += step) {
    const int n = block.n_rows - r0 < step ? block.n_rows - r0 : step;
    const std::uint64_t any = words_union(scratch.words + r0, n);
    if (!inside) ahead.step<2>();
    if (any == 0) continue;
    if (met != nullptr) met->ask_to(call, block, r0 + n);
    const int begin = lowest_bit(any);
    const int end = bits_end(any);
    const std::uint64_t range = bit_range(begin, end);
    bool masked = false;
    for (int r = r0; r < r0 + n; ++r) masked = masked || scratch.words[r] != range;
    if (masked && finite < 0) finite = finite_values<Source>(v, lowest_bit(tile_word), bits_end(tile_word), n_dim);
    if (masked && finite == 0) {
      for (int r = r0; r < r0 + n; ++r) {
        values_guarded<Source>(scratch.s + r * kKeyTile, scratch.alpha[r], v, scratch.words[r], n_dim,
                               scratch.o + r * call.o_stride);
      }
    } else {
      values_block<Source>(n, scratch.s + r0 * kKeyTile, scratch.alpha + r0, v, begin, end, n_dim,
                           scratch.o + r0 * call.o_stride, call.o_stride,
                           inside            ? &ahead
                           : n == kBlockRows ? nullptr
                                             : &none);
    }
  }
}

// The tile that starts at key `begin`; `word`: the keys that some row sees, not 0; `more`: the next tile is likely to
// follow.
inline void process_tile(const CallArgs& call, const BlockArgs& block, std::int64_t begin, std::uint64_t word,
                         bool more, const Scratch& scratch, RowsMet* met) noexcept {
  const TileOperand k = prepare_keys(call, block, begin, word, scratch);
  const Prefetch values_ahead = prefetch_values(call, block, begin, word);
  with_tile_source(
      k, [&](auto source) { find_scores<decltype(source), true>(call, block, k, scratch, values_ahead, met); });
  const TileOperand v = prepare_values(call, block, begin, word, scratch);
  const Prefetch keys_ahead = more ? prefetch_keys(call, block, begin + kKeyTile) : Prefetch{};
  with_tile_source(v,
                   [&](auto source) { add_values<decltype(source)>(call, block, v, word, scratch, keys_ahead, met); });
}

inline void start_split(const CallArgs& call, const BlockArgs& block, const Scratch& scratch) noexcept {
  for (int r = 0; r < block.n_rows; r += 16) simd::store(scratch.m + r, simd::splat(-kInfinity));
  for (int r = 0; r < block.n_rows; ++r) {
    simd::store(scratch.l + r * 16, simd::splat(0.0f));
    scratch.flags[r] = 0;
  }
  std::memset(scratch.o, 0, static_cast<std::size_t>(block.n_rows * call.o_stride) * sizeof(float));
}

// How a row's split, with its maximum m, joins what was before it, with the maximum m_total.
struct MergeFactors {
  float m;
  F32x16 before, added;

  ROWMAX_INLINE F32x16 join(F32x16 total, F32x16 x) const noexcept {
    return simd::fma(x, added, simd::mul(total, before));
  }
  float join(float total, float x) const noexcept {
    float lanes[16];
    simd::store(lanes, join(simd::splat(total), simd::splat(x)));
    return lanes[0];
  }
};
inline MergeFactors merge_factors(float m_total, float m) noexcept {
  const float m_new = m_total > m ? m_total : m;
  float factors[16];
  const F32x16 exponents = simd::select(simd::mask_from_bits(1), simd::splat(m_total), simd::splat(m));
  simd::store(factors, exp_weight(simd::sub(exponents, guarded_base(simd::splat(m_new)))));
  return {m_new, simd::splat(factors[0]), simd::splat(factors[1])};
}

// One row's finished split joins the splits before it.
inline void merge_row(const CallArgs& call, const float* o, float m, float l, std::uint32_t flags, int r,
                      const Scratch& scratch) noexcept {
  if ((flags & kRowSeen) == 0) return;
  float* total = scratch.total + r * call.o_stride;
  if ((scratch.total_flags[r] & kRowSeen) == 0) {
    std::memcpy(total, o, static_cast<std::size_t>(call.o_stride) * sizeof(float));
    scratch.total_m[r] = m;
    scratch.total_l[r] = l;
    scratch.total_flags[r] = flags;
    return;
  }
  const MergeFactors factors = merge_factors(scratch.total_m[r], m);
  for (std::int64_t d = 0; d < call.o_stride; d += 16) {
    simd::store(total + d, factors.join(simd::load(total + d), simd::load(o + d)));
  }
  scratch.total_l[r] = factors.join(scratch.total_l[r], l);
  scratch.total_m[r] = factors.m;
  scratch.total_flags[r] |= flags;
}

inline void store_partials(const CallArgs& call, const BlockArgs& block, std::int64_t split,
                           const Scratch& scratch) noexcept {
  for (int r = 0; r < block.n_rows; ++r) {
    float* stored = block.partials + ((split - block.split_begin) * block.n_rows + r) * call.partial_stride;
    if ((scratch.flags[r] & kRowSeen) != 0) {
      std::memcpy(stored, scratch.o + r * call.o_stride, static_cast<std::size_t>(call.o_stride) * sizeof(float));
    }
    const PartialTail tail{scratch.m[r], simd::reduce_add(simd::load(scratch.l + r * 16)), scratch.flags[r]};
    std::memcpy(stored + call.o_stride, &tail, sizeof tail);
  }
}

// merge_row for rows [r0, r0 + n), n <= 16, with one exponential for all of them.
inline void merge_rows(const CallArgs& call, int r0, int n, const Scratch& scratch) noexcept {
  float sums[16] = {};
  std::uint32_t both = 0;
  for (int i = 0; i < n; ++i) {
    sums[i] = simd::reduce_add(simd::load(scratch.l + (r0 + i) * 16));
    both |= (scratch.flags[r0 + i] & scratch.total_flags[r0 + i] & kRowSeen) << i;
  }
  static_assert(kRowSeen == 1);
  const F32x16 m = simd::load(scratch.m + r0);
  const F32x16 m_total = simd::load_n(scratch.total_m + r0, n);
  const F32x16 base = guarded_base(simd::max(m_total, m));
  const F32x16 a = exp_weight(simd::sub(m_total, base));
  const F32x16 b = exp_weight(simd::sub(m, base));
  float new_m[16], new_l[16], factors_a[16], factors_b[16];
  simd::store(new_m, simd::max(m_total, m));
  simd::store(new_l, simd::fma(simd::load(sums), b, simd::mul(simd::load_n(scratch.total_l + r0, n), a)));
  simd::store(factors_a, a);
  simd::store(factors_b, b);
  for (int i = 0; i < n; ++i) {
    const int r = r0 + i;
    const float* o = scratch.o + r * call.o_stride;
    if (((both >> i) & 1u) == 0) {
      merge_row(call, o, scratch.m[r], sums[i], scratch.flags[r], r, scratch);
      continue;
    }
    float* total = scratch.total + r * call.o_stride;
    const F32x16 row_a = simd::splat(factors_a[i]);
    const F32x16 row_b = simd::splat(factors_b[i]);
    for (std::int64_t d = 0; d < call.o_stride; d += 16) {
      simd::store(total + d, simd::fma(simd::load(o + d), row_b, simd::mul(simd::load(total + d), row_a)));
    }
    scratch.total_l[r] = new_l[i];
    scratch.total_m[r] = new_m[i];
    scratch.total_flags[r] |= scratch.flags[r];
  }
}

inline void close_split(const CallArgs& call, const BlockArgs& block, std::int64_t split,
                        const Scratch& scratch) noexcept {
  if (block.partials != nullptr) return store_partials(call, block, split, scratch);
  for (int r = 0; r < block.n_rows; r += 16) {
    merge_rows(call, r, block.n_rows - r < 16 ? block.n_rows - r : 16, scratch);
  }
}

// The sums of the block's rows over its splits: in scratch, or stored split by split. Leaves the queries of all rows
// that see a key in scratch.
inline BlockSpans sum_splits(const CallArgs& call, const BlockArgs& block, const Scratch& scratch) noexcept {
  RowsMet met;
  if (block.n_rows <= kConvertRows) met.load_to(call, block, block.n_rows, scratch);
  const BlockSpans all = find_spans(call, block, scratch.spans);
  for (int r = 0; r < block.n_rows; ++r) scratch.total_flags[r] = 0;
  for (std::int64_t split = block.split_begin; split < block.split_end; ++split) {
    const std::int64_t split_key = block.sequence->anchor + split * kSplitKeys;
    const std::int64_t end = min_i64(split_key + kSplitKeys, block.sequence->kv_end);
    bool started = false;
    for (std::int64_t begin = split_key; begin < end; begin += kKeyTile) {
      if (!all.touches(begin, begin + kKeyTile)) continue;
      const std::uint64_t word = find_words(call, block, all, begin, scratch);
      if (word == 0) continue;
      if (!started) start_split(call, block, scratch);
      started = true;
      process_tile(call, block, begin, word, all.touches(begin + kKeyTile, begin + 2 * kKeyTile), scratch, &met);
    }
    if (!started && block.partials != nullptr) start_split(call, block, scratch);
    if (started || block.partials != nullptr) close_split(call, block, split, scratch);
  }
  return all;
}

}  // namespace
}  // namespace rowmax::attention
