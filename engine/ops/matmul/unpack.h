// Codes and scales out of an integer panel. Included after one dot_*.h; see panel.h for the layout.
#pragma once

#include <type_traits>

#include "engine/ops/matmul/panel.h"

namespace rowmax::engine::panel {
namespace {

ROWMAX_INLINE void store_rows(float* y, simd::F32x16 value, int n_rows) noexcept {
  if (n_rows == kRows) {
    simd::store(y, value);
  } else {
    simd::store_n(y, value, n_rows);
  }
}
ROWMAX_INLINE simd::F32x16 load_rows(const float* y, int n_rows) noexcept {
  return n_rows == kRows ? simd::load(y) : simd::load_n(y, n_rows);
}
ROWMAX_INLINE int rows_of_panel(const Job& job, std::int64_t p) noexcept {
  const std::int64_t left = job.rows - p * kRows;
  return left < kRows ? static_cast<int>(left) : kRows;
}

// The bytes that a panel's indices stand for in dot products.
template <class Panel>
ROWMAX_INLINE ByteTable book_bytes(const Job& job) noexcept {
  ByteTable table{};
  if constexpr (Panel::kHasBook) {
    constexpr int kOffset = Panel::kDotBits == 8 && !kUnsignedBytes ? 0 : Panel::kOffset;
    for (int i = 0; i < 16; ++i) table.v[i] = static_cast<std::uint8_t>(job.book->values[i] + kOffset);
  }
  return table;
}
template <class Panel>
ROWMAX_INLINE float book_unit(const Job& job) noexcept {
  return Panel::kHasBook ? job.book->unit : 1.0f;
}

// C: Codes, or a kind that holds some rows of these, loaded from where they lie.
template <class C>
ROWMAX_INLINE C load_as(const std::byte* p) noexcept {
  if constexpr (std::is_same_v<C, Codes>) {
    return load_codes(p);
  } else {
    return C::load(p);
  }
}

// Quads j and j + 4 of a tile, for j in 0 .. 3. Codes are unsigned; with 8 bits (in the dot product) they are signed
// bytes unless it wants unsigned ones. table: book_bytes.
template <class Panel, int j, class C>
ROWMAX_INLINE void unpack_pair(const std::byte* tile, const ByteTable& table, C& low, C& high) noexcept {
  if constexpr (Panel::kBits == 8) {
    low = load_as<C>(tile + kVector * j);
    high = load_as<C>(tile + kVector * (j + 4));
    if constexpr (kUnsignedBytes) {
      low = flip_sign(low);
      high = flip_sign(high);
    }
  } else if constexpr (Panel::kBits == 2 || Panel::kBits == 3) {
    low = shifted<-2 * j, 0x03>(load_as<C>(tile));
    high = shifted<-2 * j, 0x03>(load_as<C>(tile + kVector));
    if constexpr (Panel::kBits == 3) {
      const C third = load_as<C>(tile + 2 * kVector);
      low = merge(low, shifted<2 - j, 0x04>(third));
      high = merge(high, shifted<-2 - j, 0x04>(third));
    }
  } else if constexpr (Panel::kBits == 1) {
    const C bits = load_as<C>(tile);
    low = shifted<1 - j, 0x02>(bits);
    high = shifted<-3 - j, 0x02>(bits);
  } else {
    const C nibbles = load_as<C>(tile + kVector * j);
    low = shifted<0, 0x0F>(nibbles);
    high = shifted<-4, 0x0F>(nibbles);
    if constexpr (Panel::kBits == 5) {
      const C fifth = load_as<C>(tile + 4 * kVector);
      low = merge(low, shifted<4 - j, 0x10>(fifth));
      high = merge(high, shifted<-j, 0x10>(fifth));
    }
    if constexpr (Panel::kBits == 6) {
      low = merge(low, shifted<4 - 2 * j, 0x30>(load_as<C>(tile + 4 * kVector)));
      high = merge(high, shifted<4 - 2 * j, 0x30>(load_as<C>(tile + 5 * kVector)));
    }
  }
  if constexpr (Panel::kHasBook) {
    low = look_up(table, low);
    high = look_up(table, high);
  }
}

// Takes the quads of a tile as they are.
struct StoreQuads {
  std::uint8_t (*codes)[kVector];
  ROWMAX_INLINE void operator()(int quad, Codes c) noexcept { store_codes(codes[quad], c); }
};

// put(quad, codes) for every quad of a tile.
template <class Panel, int j, class Put>
ROWMAX_INLINE void put_pair(const std::byte* tile, const ByteTable& table, Put&& put) noexcept {
  Codes low, high;
  unpack_pair<Panel, j>(tile, table, low, high);
  put(j, low);
  put(j + 4, high);
}
template <class Panel, class Put>
ROWMAX_INLINE void unpack_tile(const std::byte* tile, Put&& put, const ByteTable& table = {}) noexcept {
  put_pair<Panel, 0>(tile, table, put);
  put_pair<Panel, 1>(tile, table, put);
  put_pair<Panel, 2>(tile, table, put);
  put_pair<Panel, 3>(tile, table, put);
}

// Scales that are bytes: quant::byte_scale.
template <ScaleKind kKind>
ROWMAX_INLINE simd::F32x16 byte_scales(simd::I32x16 bytes) noexcept {
  if constexpr (kKind == ScaleKind::kE8M0) {
    const simd::F32x16 power = simd::max(simd::bitcast_f32(simd::shift_left<23>(bytes)), simd::splat(0x1p-127f));
    return simd::fma(power, simd::splat(-0.5f), power);  // half of it, and NaN of infinity
  } else {
    return simd::mul(simd::bitcast_f32(simd::shift_left<20>(bytes)), simd::splat(0x1p119f));
  }
}

// The scales of one record (a tile, or the 8 tiles that share sub-scales).
template <class Panel>
class Scales {
 public:
  ROWMAX_INLINE Scales() noexcept {}
  ROWMAX_INLINE explicit Scales(const std::byte* record, float unit) noexcept
      : subs_(reinterpret_cast<const std::uint8_t*>(record) + Panel::kHalvesBytes) {
    if constexpr (Panel::kScale == ScaleKind::kHalf)
      d_ = simd::load_f16(reinterpret_cast<const std::uint16_t*>(record));
    if constexpr (Panel::kHasBook && Panel::kSubScales && Panel::kScale == ScaleKind::kHalf) {
      d_ = simd::mul(d_, simd::splat(unit));
    }
    if constexpr (Panel::kHasMin) m_ = simd::load_f16(reinterpret_cast<const std::uint16_t*>(record) + kRows);
  }
  // Of group `group` counted from the record's start.
  ROWMAX_INLINE simd::F32x16 scale(int group) const noexcept {
    if constexpr (Panel::kScale != ScaleKind::kHalf) {
      return byte_scales<Panel::kScale>(load_u8(subs_ + group * Panel::kSubBytes));
    } else if constexpr (Panel::kOddNibbles) {
      const simd::I32x16 both = load_u8(subs_ + group / 2 * Panel::kSubBytes);
      const simd::I32x16 n = group % 2 == 0 ? simd::bit_and(both, simd::splat_i32(15)) : simd::shift_right<4>(both);
      return simd::mul(d_, simd::to_f32(simd::bit_or(simd::shift_left<1>(n), simd::splat_i32(1))));
    } else if constexpr (Panel::kSubScales) {
      const std::uint8_t* sub = subs_ + group * Panel::kSubBytes;
      // Only formats with a minimum have unsigned sub-scales.
      simd::I32x16 factor = Panel::kHasMin ? load_u8(sub) : load_i8(sub);
      if constexpr (Panel::kNibbles) factor = simd::bit_and(factor, simd::splat_i32(15));
      return simd::mul(d_, simd::to_f32(factor));
    } else {
      return d_;
    }
  }
  ROWMAX_INLINE simd::F32x16 min(int group) const noexcept {
    if constexpr (Panel::kSubScales) {
      const std::uint8_t* sub = subs_ + group * Panel::kSubBytes;
      const simd::I32x16 factor = Panel::kNibbles ? simd::shift_right<4>(load_u8(sub)) : load_u8(sub + kRows);
      return simd::neg(simd::mul(m_, simd::to_f32(factor)));
    } else {
      return m_;
    }
  }

 private:
  const std::uint8_t* subs_;
  simd::F32x16 d_;
  simd::F32x16 m_;
};

// Some tiles of a panel, taken apart: what several tokens share.
struct UnpackedScales {
  alignas(64) float scales[kInt8Chunk / 16][kRows];  // by group
  alignas(64) float mins[kInt8Chunk / 16][kRows];
};
struct Unpacked : UnpackedScales {
  alignas(64) std::uint8_t codes[kInt8Chunk / kTile][kQuads][kVector];

  ROWMAX_INLINE StoreQuads tile(int t) noexcept { return {codes[t]}; }
};

// Tiles [tile_begin, tile_end) of panel p (at most kInt8Chunk / kTile; tile_begin a multiple of Panel::kScaleTiles).
// Out: scales, mins, and tile(t), which takes quads.
template <class Panel, class Out>
ROWMAX_INLINE void unpack(const Job& job, std::int64_t p, std::int64_t tile_begin, std::int64_t tile_end,
                          Out& out) noexcept {
  const ByteTable table = book_bytes<Panel>(job);
  const std::byte* panel = job.panels + p * job.panel_bytes;
  const std::byte* tile = panel + Panel::scale_bytes(job.cols) + tile_begin * Panel::kTileBytes;
  const std::byte* record = panel + tile_begin / Panel::kScaleTiles * Panel::kRecordBytes;
  const int n_tiles = static_cast<int>(tile_end - tile_begin);
  for (int first = 0; first < n_tiles; first += Panel::kScaleTiles, record += Panel::kRecordBytes) {
    const Scales<Panel> scales(record, book_unit<Panel>(job));
    for (int t = 0; t < Panel::kScaleTiles; ++t, tile += Panel::kTileBytes) {
      unpack_tile<Panel>(tile, out.tile(first + t), table);
      for (int g = 0; g < Panel::kGroups; ++g) {
        const int from = t * Panel::kGroups + g, to = first * Panel::kGroups + from;
        simd::store(out.scales[to], scales.scale(from));
        if constexpr (Panel::kHasMin) simd::store(out.mins[to], scales.min(from));
      }
    }
  }
}

// Packed codes that are unpacked next, to be asked for while others are multiplied: `lines` lines a tile.
struct Ahead {
  const std::byte* codes = nullptr;
  int lines = 0;

  ROWMAX_INLINE void ask() noexcept {
    for (int i = 0; i < lines; ++i, codes += kVector) prefetch(codes);
  }
  // For those that multiply with the same weights later.
  ROWMAX_INLINE Ahead take() noexcept {
    const Ahead all = *this;
    lines = 0;
    return all;
  }
};
// Those of panel p (of the next job, perhaps) from a tile on; their scales, of n_tiles tiles, are asked for at once.
template <class Panel>
ROWMAX_INLINE Ahead ahead_of(const Job& job, std::int64_t p, std::int64_t tile, std::int64_t n_tiles) noexcept {
  if (p * kRows >= job.rows) return {};
  const std::byte* panel = job.panels + p * job.panel_bytes;
  const std::byte* record = panel + tile / Panel::kScaleTiles * Panel::kRecordBytes;
  const std::int64_t scale_bytes = n_tiles / Panel::kScaleTiles * Panel::kRecordBytes;
  for (std::int64_t at = 0; at < scale_bytes; at += kVector) prefetch(record + at);
  return {panel + Panel::scale_bytes(job.cols) + tile * Panel::kTileBytes, Panel::kTileBytes / kVector};
}

}  // namespace
}  // namespace rowmax::engine::panel
