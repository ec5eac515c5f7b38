// Key tiles as the kernel wants them: where a tile's keys and values can be read as they lie, and how they are gathered
// into f32 scratch where they cannot. Part of the attend kernel's algorithm, see attend.h.
#pragma once

#include <cstring>
#include <type_traits>

#include "attention/kernels/attend/packed_types.h"
#include "base/half.h"
#include "base/simd/simd.h"

namespace rowmax::attention {
namespace {

using simd::F32x16;

// Element types: sixteen of them, the first n, or one, as f32.
struct SourceF32 {
  using Type = float;
  static ROWMAX_INLINE F32x16 load(const float* p) noexcept { return simd::load(p); }
  static ROWMAX_INLINE F32x16 load_n(const float* p, int n) noexcept { return simd::load_n(p, n); }
  static ROWMAX_INLINE float one(const float* p) noexcept { return *p; }
};
struct SourceF16 {
  using Type = std::uint16_t;
  static ROWMAX_INLINE F32x16 load(const std::uint16_t* p) noexcept { return simd::load_f16(p); }
  static ROWMAX_INLINE F32x16 load_n(const std::uint16_t* p, int n) noexcept { return simd::load_f16_n(p, n); }
  static ROWMAX_INLINE float one(const std::uint16_t* p) noexcept { return base::f16_to_f32(*p); }
};
struct SourceBf16 {
  using Type = std::uint16_t;
  static ROWMAX_INLINE F32x16 load(const std::uint16_t* p) noexcept { return simd::load_bf16(p); }
  static ROWMAX_INLINE F32x16 load_n(const std::uint16_t* p, int n) noexcept { return simd::load_bf16_n(p, n); }
  static ROWMAX_INLINE float one(const std::uint16_t* p) noexcept { return base::bf16_to_f32(*p); }
};

// Blocks of numbers, decoded where they are used: bytes and scales apart, see TileOperand.
struct SourceQ8_0 {
  using Type = std::uint8_t;
};
template <class Source>
inline constexpr bool kIsQ8_0 = std::is_same_v<Source, SourceQ8_0>;

// Calls fn(Source{}) for the element type.
template <class Fn>
ROWMAX_INLINE void with_source(DType dtype, Fn&& fn) noexcept {
  if (dtype == DType::kF32) {
    fn(SourceF32{});
  } else if (dtype == DType::kF16) {
    fn(SourceF16{});
  } else {
    fn(SourceBf16{});
  }
}

// One operand of a tile, ready for the register blocks: keys as [d][key], values as [key][d]. Of q8_0: keys as
// turn_q8_0_keys leaves them, values as the rows of blocks that they are, with their scales apart.
struct TileOperand {
  const void* data;
  std::int64_t stride;  // elements between two d of keys, between two keys of values (q8_0: bytes)
  DType dtype;
  int n_lanes;                    // lanes that may be read: keys of a direct key tile, else kKeyTile
  const float* scales = nullptr;  // of q8_0: [d / 32][key]
};

// The same for the type of an operand.
template <class Fn>
ROWMAX_INLINE void with_tile_source(const TileOperand& operand, Fn&& fn) noexcept {
  if (operand.dtype == DType::kQ8_0) {
    fn(SourceQ8_0{});
  } else {
    with_source(operand.dtype, fn);
  }
}

// Values of sixteen dimensions from d on, of which `lanes` are there.
template <class Source>
ROWMAX_INLINE F32x16 load_value(const TileOperand& v, int key, std::int64_t d, int lanes) noexcept {
  const auto* row = static_cast<const typename Source::Type*>(v.data) + key * v.stride;
  if constexpr (kIsQ8_0<Source>) {
    return decode_q8_0(row + q8_0_at(d), v.scales[d / 32 * kKeyTile + key]);
  } else {
    return lanes == 16 ? Source::load(row + d) : Source::load_n(row + d, lanes);
  }
}

// Keys of `word` of the tile that starts at key `begin`, as f32 [d][key]; other lanes are 0.
template <class Source>
void gather_keys(const Stream& stream, std::int64_t begin, std::uint64_t word, std::int64_t n_dim,
                 float* out) noexcept {
  using Type = typename Source::Type;
  if (word != ~std::uint64_t{0}) {
    std::memset(out, 0, static_cast<std::size_t>(n_dim) * kKeyTile * sizeof(float));
  }
  const std::int64_t dim_stride = stream.strides->dim_stride;
  std::int64_t d_done = 0;
  if (dim_stride == 1) {
    // Sixteen keys by sixteen dimensions at a time.
    for (int k0 = 0; k0 < kKeyTile; k0 += 16) {
      const std::uint32_t bits = static_cast<std::uint32_t>(word >> k0) & 0xFFFFu;
      if (bits == 0) continue;
      const Type* rows[16];
      for (int k = 0; k < 16; ++k) {
        rows[k] = (bits >> k) & 1u ? static_cast<const Type*>(stream.key(begin + k0 + k)) : nullptr;
      }
      if constexpr (std::is_same_v<Source, SourceF32>) {
        if (bits == 0xFFFFu) {
          for (std::int64_t d = 0; d < n_dim / 16 * 16; d += 4) {
            F32x16 x[4];
            simd::load_columns4(rows, d, x);
            for (int i = 0; i < 4; ++i) simd::store(out + (d + i) * kKeyTile + k0, x[i]);
          }
          continue;
        }
      }
      for (std::int64_t d0 = 0; d0 + 16 <= n_dim; d0 += 16) {
        F32x16 x[16];
        for (int k = 0; k < 16; ++k) x[k] = rows[k] != nullptr ? Source::load(rows[k] + d0) : simd::splat(0.0f);
        simd::transpose(x);
        for (int d = 0; d < 16; ++d) simd::store(out + (d0 + d) * kKeyTile + k0, x[d]);
      }
    }
    d_done = n_dim / 16 * 16;
  }
  for (std::uint64_t rest = word; rest != 0; rest &= rest - 1) {
    const int k = lowest_bit(rest);
    const Type* row = static_cast<const Type*>(stream.key(begin + k));
    for (std::int64_t d = d_done; d < n_dim; ++d) out[d * kKeyTile + k] = Source::one(row + d * dim_stride);
  }
}

// The same for keys that already lie as [d][key] in one page.
template <class Source>
void convert_keys(const TileOperand& from, std::int64_t n_dim, float* out) noexcept {
  const auto* data = static_cast<const typename Source::Type*>(from.data);
  for (std::int64_t d = 0; d < n_dim; ++d) {
    for (int c = 0; c < kKeyTile; c += 16) {
      const int n = from.n_lanes - c;
      const auto* p = data + d * from.stride + c;
      simd::store(out + d * kKeyTile + c, n >= 16 ? Source::load(p) : Source::load_n(p, n < 0 ? 0 : n));
    }
  }
}

// Values of the keys of `word` as f32 [key][o_stride]; keys left out and padding are 0.
template <class Source>
void gather_values(const Stream& stream, std::int64_t begin, std::uint64_t word, std::int64_t n_dim,
                   std::int64_t o_stride, float* out) noexcept {
  using Type = typename Source::Type;
  const std::int64_t dim_stride = stream.strides->dim_stride;
  for (int k = lowest_bit(word); k < bits_end(word); ++k) {
    float* to = out + k * o_stride;
    if (((word >> k) & 1u) == 0) {
      std::memset(to, 0, static_cast<std::size_t>(o_stride) * sizeof(float));
      continue;
    }
    const Type* row = static_cast<const Type*>(stream.key(begin + k));
    if (dim_stride == 1) {
      std::int64_t d = 0;
      for (; d + 16 <= n_dim; d += 16) simd::store(to + d, Source::load(row + d));
      if (d < n_dim) simd::store(to + d, Source::load_n(row + d, static_cast<int>(n_dim - d)));
    } else {
      std::memset(to, 0, static_cast<std::size_t>(o_stride) * sizeof(float));
      for (std::int64_t d = 0; d < n_dim; ++d) to[d] = Source::one(row + d * dim_stride);
    }
  }
}

// Blocks of more rows than this reuse a tile often enough to have it converted to f32 and laid out densely first.
inline constexpr int kConvertRows = 12;

// Whether few rows read tiles of the type where they lie, and the bytes of n elements then.
inline bool read_in_place(DType dtype) noexcept { return dtype != DType::kF8E4M3; }
inline std::int64_t bytes_in_place(DType dtype, std::int64_t n) noexcept {
  return dtype == DType::kQ8_0 ? q8_0_bytes(n) : dtype == DType::kF32 ? 4 * n : 2 * n;
}

// Most rows of one register block; those decode q8_0 themselves. Several would do it several times.
inline constexpr int kDecodeRows = simd::kRegistersPerVector == 1 ? 8 : 6;

// `word`: the keys that some row of the block sees; not 0.
inline TileOperand prepare_keys(const CallArgs& call, const BlockArgs& block, std::int64_t begin, std::uint64_t word,
                                const Scratch& scratch) noexcept {
  const Stream stream = key_stream(call, block);
  const PlanSequence& sequence = *block.sequence;
  const std::int64_t n_dim = call.args->kv.k_dim;
  const std::int64_t end = min_i64(begin + kKeyTile, sequence.kv_end);
  const bool direct = stream.strides->key_stride == 1 && begin >= sequence.kv_begin && stream.one_page(begin, end);
  const TileOperand packed{scratch.k, kKeyTile, DType::kF32, kKeyTile};
  if (is_packed(stream.dtype)) {
    if (stream.dtype == DType::kQ8_0) {
      const TileRows rows = find_rows(stream, begin, word);
      if (block.n_rows <= kDecodeRows) {
        auto* const words = reinterpret_cast<std::int32_t*>(scratch.k);
        float* const scales = scratch.k + n_dim / 4 * kKeyTile;
        turn_q8_0_keys(rows, n_dim, words);
        load_q8_0_scales(rows, 0, n_dim, kHighByte, scales);
        return {words, kKeyTile, DType::kQ8_0, kKeyTile, scales};
      }
      decode_q8_0_keys(rows, n_dim, scratch.k);
    } else if (direct) {
      convert_f8_keys(stream, begin, static_cast<int>(end - begin), n_dim, scratch.k);
    } else {
      gather_f8_keys(stream, begin, word, n_dim, scratch.k);
    }
    return packed;
  }
  if (direct) {
    const TileOperand operand{stream.key(begin), stream.strides->dim_stride, stream.dtype,
                              static_cast<int>(end - begin)};
    if (block.n_rows <= kConvertRows || (stream.dtype == DType::kF32 && operand.n_lanes == kKeyTile)) return operand;
    with_source(stream.dtype, [&](auto source) { convert_keys<decltype(source)>(operand, n_dim, scratch.k); });
    return packed;
  }
  with_source(stream.dtype, [&](auto source) { gather_keys<decltype(source)>(stream, begin, word, n_dim, scratch.k); });
  return packed;
}

inline TileOperand prepare_values(const CallArgs& call, const BlockArgs& block, std::int64_t begin, std::uint64_t word,
                                  const Scratch& scratch) noexcept {
  const Stream stream = value_stream(call, block);
  const std::int64_t n_dim = call.args->kv.v_dim;
  const std::int64_t first = begin + lowest_bit(word);
  if (is_packed(stream.dtype)) {
    if (stream.dtype == DType::kQ8_0) {
      const TileRows rows = find_rows(stream, begin, word);
      if (block.n_rows <= kDecodeRows && stream.one_page(first, begin + bits_end(word))) {
        load_q8_0_scales(rows, 0, n_dim, simd::kI8Unit, scratch.v);
        const std::int64_t row_bytes = q8_0_bytes(stream.strides->key_stride);
        const std::int64_t back = stream.offset(first) - (first - begin) * stream.strides->key_stride;
        return {element(stream.base, stream.dtype, back), row_bytes, DType::kQ8_0, kKeyTile, scratch.v};
      }
      decode_q8_0_values(rows, word, n_dim, call.o_stride, scratch.v);
    } else {
      gather_f8_values(stream, begin, word, n_dim, call.o_stride, scratch.v);
    }
    return {scratch.v, call.o_stride, DType::kF32, kKeyTile};
  }
  const bool direct = stream.strides->dim_stride == 1 && stream.one_page(first, begin + bits_end(word));
  // Direct f32 rows far apart would fall into few cache sets; blocks with many rows copy them together.
  // Vectors across two cache lines cost more than the copy, too.
  const bool dense = stream.dtype == DType::kF32 && stream.strides->key_stride == n_dim && n_dim % 16 == 0 &&
                     reinterpret_cast<std::uintptr_t>(stream.base) % 64 == 0;
  if (direct && (block.n_rows <= kConvertRows || dense)) {
    // Key `begin` itself may lie in a page of its own, or nowhere: count back from the first visible one.
    const std::int64_t back = stream.offset(first) - (first - begin) * stream.strides->key_stride;
    return {element(stream.base, stream.dtype, back), stream.strides->key_stride, stream.dtype, kKeyTile};
  }
  with_source(stream.dtype, [&](auto source) {
    gather_values<decltype(source)>(stream, begin, word, n_dim, call.o_stride, scratch.v);
  });
  return {scratch.v, call.o_stride, DType::kF32, kKeyTile};
}

template <class Source>
bool finite_floats(const TileOperand& v, int begin, int end, std::int64_t n_dim) noexcept {
  const auto* data = static_cast<const typename Source::Type*>(v.data);
  const F32x16 zero = simd::splat(0.0f);
  F32x16 sum[4] = {zero, zero, zero, zero};  // x * 0 is NaN for a non-finite x
  for (int k = begin; k < end; ++k) {
    const auto* row = data + k * v.stride;
    std::int64_t d = 0;
    for (; d + 64 <= n_dim; d += 64) {
      for (int i = 0; i < 4; ++i) sum[i] = simd::fma(Source::load(row + d + 16 * i), zero, sum[i]);
    }
    for (; d + 16 <= n_dim; d += 16) sum[0] = simd::fma(Source::load(row + d), zero, sum[0]);
    if (d < n_dim) sum[0] = simd::fma(Source::load_n(row + d, static_cast<int>(n_dim - d)), zero, sum[0]);
  }
  const F32x16 all = simd::add(simd::add(sum[0], sum[1]), simd::add(sum[2], sum[3]));
  return simd::mask_bits(simd::is_nan(all)) == 0;
}

// Whether all values of keys [begin, end) of a tile are finite.
template <class Source>
bool finite_values(const TileOperand& v, int begin, int end, std::int64_t n_dim) noexcept {
  if constexpr (kIsQ8_0<Source>) {  // where its scale is not
    for (std::int64_t d = 0; d < n_dim; d += 32) {
      const float* scales = v.scales + d / 32 * kKeyTile;
      for (int k = begin; k < end; ++k) {
        if (!(scales[k] - scales[k] == 0.0f)) return false;
      }
    }
    return true;
  } else {
    return finite_floats<Source>(v, begin, end, n_dim);
  }
}

}  // namespace
}  // namespace rowmax::attention
