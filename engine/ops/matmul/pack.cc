#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/check.h"
#include "base/fp_env.h"
#include "engine/ops/matmul/interleave.h"
#include "engine/ops/matmul/matmul.h"
#include "engine/ops/matmul/pack_words.h"
#include "engine/ops/matmul/panel.h"
#include "engine/quant/floats.h"
#include "engine/quant/fp4.h"
#include "engine/quant/i2_s.h"
#include "engine/quant/iq.h"
#include "engine/quant/iq4.h"
#include "engine/quant/iq_bn.h"
#include "engine/quant/ptq1_0.h"
#include "engine/quant/q1_0.h"
#include "engine/quant/q2_0.h"
#include "engine/quant/q2_0c.h"
#include "engine/quant/q2_k.h"
#include "engine/quant/q3_k.h"
#include "engine/quant/q4_0.h"
#include "engine/quant/q4_1.h"
#include "engine/quant/q4_k.h"
#include "engine/quant/q5_0.h"
#include "engine/quant/q5_1.h"
#include "engine/quant/q5_k.h"
#include "engine/quant/q6_k.h"
#include "engine/quant/q8_0.h"
#include "engine/quant/stq1_0.h"
#include "engine/quant/tq_0.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

using panel::kQuads;
using panel::kRows;
using panel::kTile;
using panel::kVector;

struct Source {
  const FormatInfo* format;
  TensorView tensor;
  std::int64_t cols;

  // Formats whose rows are blocks and nothing else.
  const std::byte* row(std::int64_t r) const noexcept { return tensor.bytes + r * format_row_bytes(*format, cols); }
};

// Writes the panel of rows [first_row, first_row + n_rows), all of its bytes, whatever lies there.
using PackFn = void (*)(const Source& source, std::int64_t first_row, int n_rows, std::byte* out) noexcept;

struct PackRow {
  std::string_view format;
  int layout;
  std::int64_t (*panel_bytes)(std::int64_t cols) noexcept;
  PackFn pack;
  std::int64_t max_cols = std::int64_t{1} << 40;
  bool (*codes_below_3)(const std::byte* panel, std::int64_t cols) noexcept = nullptr;  // codes of one or two bits
  const quant::Codebook* book = nullptr;
};

template <class Wanted, class... kPanels>
constexpr int index_in(panel::PanelList<kPanels...>) noexcept {
  const bool same[] = {std::is_same_v<Wanted, kPanels>...};
  for (int i = 0; i < static_cast<int>(sizeof...(kPanels)); ++i) {
    if (same[i]) return i;
  }
  return -1;
}

// ---- integer formats

// 32 codes of a row to its words, one for each vector of the tile, a quad at a time (one byte a code: shifts by less
// than a byte's free bits stay within bytes).
template <class Panel>
inline void to_words(const std::uint8_t* codes, std::uint32_t* words) noexcept {
  std::uint32_t quads[kQuads];
  std::memcpy(quads, codes, sizeof quads);
  if constexpr (Panel::kBits == 8) {
    for (int q = 0; q < kQuads; ++q) words[q] = quads[q] ^ 0x80808080u;
  } else if constexpr (Panel::kBits == 2 || Panel::kBits == 3) {
    for (int h = 0; h < 2; ++h) {
      words[h] = 0;
      for (int j = 0; j < 4; ++j) words[h] |= (quads[4 * h + j] & 0x03030303u) << (2 * j);
    }
    if constexpr (Panel::kBits == 3) {
      words[2] = 0;
      for (int q = 0; q < kQuads; ++q) words[2] |= ((quads[q] >> 2) & 0x01010101u) << q;
    }
  } else if constexpr (Panel::kBits == 1) {  // codes 0 and 2
    words[0] = 0;
    for (int q = 0; q < kQuads; ++q) words[0] |= (quads[q] >> 1) << q;
  } else {
    for (int j = 0; j < 4; ++j) words[j] = (quads[j] & 0x0F0F0F0Fu) | ((quads[j + 4] & 0x0F0F0F0Fu) << 4);
    if constexpr (Panel::kBits == 5) {
      words[4] = 0;
      for (int q = 0; q < kQuads; ++q) words[4] |= ((quads[q] >> 4) & 0x01010101u) << q;
    }
    if constexpr (Panel::kBits == 6) {
      for (int h = 0; h < 2; ++h) {
        words[4 + h] = 0;
        for (int j = 0; j < 4; ++j) words[4 + h] |= ((quads[4 * h + j] >> 4) & 0x03030303u) << (2 * j);
      }
    }
  }
}

// read(r, codes): those of row r of the four.
template <class Panel, int kWords, class Read>
inline void put_read_codes(Read read, panel::Tiles tiles) noexcept {
  constexpr int kTileWords = Panel::kTileBytes / kVector, kTiles = kWords / kTileWords;
  std::uint32_t lines[panel::kRowsAtOnce][kWords];
  const std::byte* rows[panel::kRowsAtOnce];
  for (int r = 0; r < panel::kRowsAtOnce; ++r) {
    std::uint8_t codes[kTiles * kTile];
    read(r, codes);
    for (int t = 0; t < kTiles; ++t) to_words<Panel>(codes + t * kTile, lines[r] + t * kTileWords);
    rows[r] = reinterpret_cast<const std::byte*>(lines[r]);
  }
  panel::Words words[kWords];
  panel::take_words<kWords>(rows, 0, words);
  for (int w = 0; w < kWords; ++w) tiles[w] = words[w];
}

// Blocks are fields of bytes at any address.
template <class Block>
const Block& block_at(const std::byte* bytes) noexcept {
  static_assert(alignof(Block) == 1);
  return *reinterpret_cast<const Block*>(bytes);
}

// Of the blocks of a panel's rows, the codes of four rows, the first of which is row `first` of the panel.
template <class Format, class Panel, int kWords>
inline void put_codes(const std::byte* const* blocks, int first, panel::Tiles tiles) noexcept {
  if constexpr (panel::Direct<Format>::value) {
    using Direct = panel::Direct<Format>;
    panel::Words stored[Direct::kWords];
    panel::take_words<Direct::kWords>(blocks + first, Direct::kAt, stored);
    Direct::turn(stored, tiles);
  } else {
    const auto read = [&](int r, std::uint8_t* codes) noexcept {
      const auto& block = block_at<typename Format::Block>(blocks[first + r]);
      if constexpr (Panel::kHasBook) {
        Format::read_indices(block, codes);
      } else {
        Format::read_codes(block, codes);
      }
    };
    put_read_codes<Panel, kWords>(read, tiles);
  }
}

template <class Format, class Panel>
inline void put_sub_scales(const std::byte* const* blocks, std::uint8_t* subs) noexcept {
  constexpr int kGroups = Format::kElements / Format::kGroup;
  if constexpr (panel::DirectSubs<Format>::value) {
    using Direct = panel::DirectSubs<Format>;
    constexpr int kVectors = kGroups * Panel::kSubBytes / kRows;
    panel::Bytes bytes[kRows];
    for (int r = 0; r < kRows; ++r) std::memcpy(&bytes[r], blocks[r] + Direct::kAt, sizeof bytes[r]);
    panel::turn<std::uint8_t>(bytes);
    panel::Words in[kRows], out[kRows];
    std::memcpy(in, bytes, sizeof in);
    Direct::turn(in, out);
    std::memcpy(subs, out, kVectors * sizeof out[0]);
  } else {
    for (int r = 0; r < kRows; ++r) {
      const auto& block = block_at<typename Format::Block>(blocks[r]);
      for (int g = 0; g < kGroups; ++g) {
        if constexpr (Panel::kOddNibbles) {
          subs[g / 2 * Panel::kSubBytes + r] |=
              static_cast<std::uint8_t>(Format::sub_scale(block, g) / 2 << (g % 2 * 4));
          continue;
        }
        std::uint8_t* sub = subs + g * Panel::kSubBytes + r;
        sub[0] = static_cast<std::uint8_t>(Format::sub_scale(block, g));
        if constexpr (Panel::kNibbles) {
          sub[0] |= static_cast<std::uint8_t>(Format::sub_min(block, g) << 4);
        } else if constexpr (Format::kHasMin) {
          sub[kRows] = static_cast<std::uint8_t>(Format::sub_min(block, g));
        }
      }
    }
  }
}

template <class Format, class Panel>
inline void put_scales(const std::byte* const* blocks, std::uint8_t* record) noexcept {
  std::uint16_t halves[2][kRows];
  for (int r = 0; r < kRows; ++r) {
    const auto& block = block_at<typename Format::Block>(blocks[r]);
    if constexpr (Panel::kScale == panel::ScaleKind::kHalf) halves[0][r] = Format::scale_bits(block);
    if constexpr (Format::kHasMin) halves[1][r] = Format::min_bits(block);
  }
  std::memcpy(record, halves, Panel::kHalvesBytes);
  if constexpr (Format::kSubScales) put_sub_scales<Format, Panel>(blocks, record + Panel::kHalvesBytes);
}

// Of n vectors with an element for each row, those of the rows from n_rows on.
void clear_rows(std::uint8_t* vectors, std::int64_t n, int element_bytes, int n_rows) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint8_t* vector = vectors + i * kRows * element_bytes;
    std::memset(vector + n_rows * element_bytes, 0, static_cast<std::size_t>((kRows - n_rows) * element_bytes));
  }
}

// Rows that are missing are packed as the last one again, and cleared.
template <class Begin>
void find_rows(Begin begin, std::int64_t first_row, int n_rows, const std::byte* (&rows)[kRows]) noexcept {
  for (int r = 0; r < kRows; ++r) rows[r] = begin(first_row + std::min(r, n_rows - 1));
}
inline void go_on(const std::byte* (&rows)[kRows], std::int64_t n_bytes) noexcept {
  for (const std::byte*& row : rows) row += n_bytes;
}

template <class Format, class Panel>
void pack_integers(const Source& source, std::int64_t first_row, int n_rows, std::byte* out) noexcept {
  constexpr int kRecords = Format::kElements / Panel::kBlock;  // of a block, each with its scale
  static_assert(kRecords == 1 || !Format::kSubScales);
  constexpr int kTiles = kRecords * Panel::kScaleTiles, kWords = kTiles * Panel::kTileBytes / kVector;
  const std::int64_t n_blocks = source.cols / Format::kElements, scale_bytes = Panel::scale_bytes(source.cols);
  auto* const records = reinterpret_cast<std::uint8_t*>(out);
  std::uint8_t* const tiles = records + scale_bytes;
  std::memset(records, 0, static_cast<std::size_t>(scale_bytes));
  const std::byte* blocks[kRows];
  find_rows([&](std::int64_t row) { return source.row(row); }, first_row, n_rows, blocks);
  for (std::int64_t b = 0; b < n_blocks; ++b) {
    for (int i = 0; i < kRecords; ++i) {
      put_scales<Format, Panel>(blocks, records + (b * kRecords + i) * Panel::kRecordBytes);
    }
    for (int first = 0; first < kRows; first += panel::kRowsAtOnce) {
      put_codes<Format, Panel, kWords>(blocks, first, {tiles + b * kTiles * Panel::kTileBytes + 4 * first});
    }
    go_on(blocks, sizeof(typename Format::Block));
  }
  if (n_rows == kRows) return;
  for (std::int64_t i = 0; i < n_blocks * kRecords; ++i) {
    constexpr int kHalves = Panel::kHalvesBytes;
    std::uint8_t* record = records + i * Panel::kRecordBytes;
    clear_rows(record, kHalves / (2 * kRows), 2, n_rows);
    clear_rows(record + kHalves, (Panel::kRecordBytes - kHalves) / kRows, 1, n_rows);
  }
  clear_rows(tiles, n_blocks * kWords, kVector / kRows, n_rows);
}

// Codes of one bit stand for 0 and 2.
template <class Panel>
bool codes_below_3(const std::byte* panel, std::int64_t cols) noexcept {
  if constexpr (Panel::kBits == 2) {
    std::uint64_t threes = 0;
    for (std::int64_t at = Panel::scale_bytes(cols); at < Panel::bytes(cols); at += 8) {
      std::uint64_t codes;
      std::memcpy(&codes, panel + at, 8);
      threes |= codes & (codes >> 1);
    }
    return (threes & 0x5555555555555555u) == 0;
  }
  return true;
}

template <class Format>
constexpr PackRow integer_row() noexcept {
  constexpr quant::ScaleKind kScale = quant::scale_kind<Format>();
  constexpr int kBits = [] {
    if constexpr (quant::HasBook<Format>) {
      return Format::kIndexBits;
    } else {
      return Format::kCodeBits;
    }
  }();
  // A scale is repeated after 256 k at the latest: what kernels take at a time.
  constexpr int kScaleTiles = std::min(Format::kElements, panel::kF32Chunk) / kTile;
  using Panel = panel::IntegerPanel<kBits, Format::kGroup, Format::kOffset, Format::kHasMin, Format::kSubScales,
                                    kScaleTiles, quant::HasBook<Format> ? Format::kCodeBits : 0, kScale>;
  static_assert(Format::kElements % Panel::kBlock == 0);
  static_assert(index_in<Panel>(panel::Panels{}) >= 0, "add the layout to panel::Panels");
  PackRow row = {Format::kName, index_in<Panel>(panel::Panels{}), &Panel::bytes, &pack_integers<Format, Panel>};
  if constexpr (Panel::kBits <= 2) row.codes_below_3 = &codes_below_3<Panel>;
  if constexpr (Panel::kHasBook) row.book = &Format::kBook;
  return row;
}

// ---- floats

// A line of every row at a time: rows that lie a multiple of 4096 bytes apart share their places in the first cache,
// which would have lost a line before its second piece is asked for.
template <class Panel>
void pack_stored(const Source& source, std::int64_t first_row, int n_rows, std::byte* out) noexcept {
  constexpr int kBytes = Panel::kElementBytes, kLine = 64;
  using Bits = std::conditional_t<kBytes == 2, std::uint16_t, std::uint32_t>;
  alignas(kLine) std::byte lines[kRows][kLine] = {};  // of rows that are missing: stay 0
  const std::int64_t row_bytes = source.cols * kBytes;
  const std::byte* rows = source.row(first_row);
  for (std::int64_t at = 0; at < row_bytes; at += kLine) {
    const std::int64_t n = std::min<std::int64_t>(kLine, row_bytes - at);
    for (int r = 0; r < n_rows; ++r) {
      const std::byte* from = rows + r * row_bytes + at;
      if (n == kLine) {
        std::memcpy(lines[r], from, kLine);
      } else {
        std::memcpy(lines[r], from, static_cast<std::size_t>(n));
      }
    }
    panel::interleave<Bits>(lines[0], kLine, static_cast<std::size_t>(n) / kBytes, out + at * kRows);
  }
  const std::int64_t used = row_bytes * kRows;
  std::memset(out + used, 0, static_cast<std::size_t>(Panel::bytes(source.cols) - used));
}

template <class Format, panel::Float kKind>
constexpr PackRow float_row() noexcept {
  using Panel = panel::FloatPanel<kKind>;
  return {Format::kName, index_in<Panel>(panel::Panels{}), &Panel::bytes, &pack_stored<Panel>};
}

// ---- ternary weights with a scale a row or a tensor

template <class Format>
void pack_ternary(const Source& source, std::int64_t first_row, int n_rows, std::byte* out) noexcept {
  using Panel = panel::TernaryPanel;
  using Direct = panel::Direct<Format>;
  static_assert(Format::kElements % kTile == 0);
  constexpr int kTiles = Format::kElements / kTile, kWords = kTiles * Panel::kTileBytes / kVector;
  const TensorView tensor = source.tensor;
  auto* scales = reinterpret_cast<float*>(out);
  for (int r = 0; r < kRows; ++r) scales[r] = r < n_rows ? Format::scale(tensor, first_row + r) : 0.0f;
  auto* const tiles = reinterpret_cast<std::uint8_t*>(out) + Panel::kHeadBytes;
  const std::int64_t n_blocks = source.cols / Format::kElements;
  [[maybe_unused]] const std::byte* rows[kRows];
  if constexpr (Direct::value) {
    find_rows([&](std::int64_t row) { return Direct::begin(tensor, row); }, first_row, n_rows, rows);
  }
  for (std::int64_t b = 0; b < n_blocks; ++b) {
    for (int first = 0; first < kRows; first += panel::kRowsAtOnce) {
      const panel::Tiles words{tiles + b * kTiles * Panel::kTileBytes + 4 * first};
      if constexpr (!Direct::value) {
        const auto read = [&](int r, std::uint8_t* codes) noexcept {
          Format::read_codes(tensor, first_row + std::min(first + r, n_rows - 1), b, codes);
        };
        put_read_codes<Panel, kWords>(read, words);
      } else if constexpr (Format::kRowGroup > 1) {
        Direct::read_group(rows[first], words);
      } else {
        panel::Words stored[Direct::kWords];
        panel::take_words<Direct::kWords>(rows + first, Direct::kAt, stored);
        Direct::turn(stored, words);
      }
    }
    if constexpr (Direct::value) go_on(rows, Direct::kBytes);
  }
  if (n_rows < kRows) clear_rows(tiles, n_blocks * kWords, kVector / kRows, n_rows);
}

template <class Format>
constexpr PackRow ternary_row() noexcept {
  using Panel = panel::TernaryPanel;
  return {Format::kName, index_in<Panel>(panel::Panels{}), &Panel::bytes, &pack_ternary<Format>, Panel::kMaxCols};
}

// A format of blocks without a row in kPackRows: decoded to f32 at load.
void pack_decoded(const Source& source, std::int64_t first_row, int n_rows, std::byte* out) noexcept {
  constexpr std::int64_t kMaxBlock = 1024;
  const FormatInfo& format = *source.format;
  const std::int64_t block = format.block_elements;
  ROWMAX_CHECK(block <= kMaxBlock && format.row_head_bytes == 0 && format.row_group == 1,
               "a format that pack_decoded cannot take apart");
  std::memset(out, 0, static_cast<std::size_t>(panel::FloatPanel<panel::Float::kF32>::bytes(source.cols)));
  float values[kMaxBlock];
  auto* to = reinterpret_cast<float*>(out);
  for (int r = 0; r < n_rows; ++r) {
    const std::byte* row = source.row(first_row + r);
    for (std::int64_t b = 0; b < source.cols / block; ++b) {
      format.decode({row + b * format.block_bytes, 1, block}, 0, 1, values);
      for (std::int64_t i = 0; i < block; ++i) to[(b * block + i) * kRows + r] = values[i];
    }
  }
}

constexpr PackRow kPackRows[] = {
    float_row<quant::F32, panel::Float::kF32>(),
    float_row<quant::F16, panel::Float::kF16>(),
    float_row<quant::BF16, panel::Float::kBf16>(),
    integer_row<quant::Q40>(),
    integer_row<quant::Q41>(),
    integer_row<quant::Q50>(),
    integer_row<quant::Q51>(),
    integer_row<quant::Q80>(),
    integer_row<quant::Q2K>(),
    integer_row<quant::Q3K>(),
    integer_row<quant::Q4K>(),
    integer_row<quant::Q5K>(),
    integer_row<quant::Q6K>(),
    integer_row<quant::Iq4Nl>(),
    integer_row<quant::Iq4Xs>(),
    integer_row<quant::Mxfp4>(),
    integer_row<quant::Nvfp4>(),
    integer_row<quant::Iq2Xxs>(),
    integer_row<quant::Iq2Xs>(),
    integer_row<quant::Iq2S>(),
    integer_row<quant::Iq3Xxs>(),
    integer_row<quant::Iq3S>(),
    integer_row<quant::Iq1S>(),
    integer_row<quant::Iq1M>(),
    integer_row<quant::Q20>(),
    integer_row<quant::Q20G128>(),
    integer_row<quant::Pq20>(),
    integer_row<quant::Q20C>(),
    integer_row<quant::Q20CType41>(),
    integer_row<quant::Ptq10>(),
    integer_row<quant::Tq10>(),
    integer_row<quant::Tq20>(),
    integer_row<quant::Stq10>(),
    integer_row<quant::Stq10Type42>(),
    integer_row<quant::Q10>(),
    ternary_row<quant::I2S>(),
    ternary_row<quant::I2S64>(),
    ternary_row<quant::I2SRow4>(),
    ternary_row<quant::Iq1Bn>(),
    ternary_row<quant::Iq2Bn>(),
    ternary_row<quant::Iq2BnR4>(),
};

PackRow pack_row(const FormatInfo& format) noexcept {
  for (const PackRow& row : kPackRows) {
    if (row.format == format.name) return row;
  }
  using Panel = panel::FloatPanel<panel::Float::kF32>;
  return {format.name, index_in<Panel>(panel::Panels{}), &Panel::bytes, &pack_decoded};
}

Error wrong(std::string what, std::int64_t expected, std::int64_t found) {
  return Error{ErrorCode::kInvalidArgument,
               "pack: expected " + what + " " + std::to_string(expected) + ", found " + std::to_string(found)};
}

}  // namespace

Result<std::size_t> packed_bytes(const FormatInfo& format, std::int64_t rows, std::int64_t cols) {
  constexpr std::int64_t kMaxRows = std::int64_t{1} << 40;
  const PackRow row = pack_row(format);
  if (rows < 1 || rows > kMaxRows) return wrong("rows in 1 ..", kMaxRows, rows);
  if (rows % format.row_group != 0) {
    return wrong(std::string("rows in whole groups of ") + format.name + ", each", format.row_group, rows);
  }
  if (cols < 1 || cols > row.max_cols) return wrong("cols in 1 ..", row.max_cols, cols);
  if (cols % format.block_elements != 0) {
    return wrong(std::string("cols in whole blocks of ") + format.name + ", each", format.block_elements, cols);
  }
  std::int64_t n_bytes = 0;
  if (__builtin_mul_overflow((rows + kRows - 1) / kRows, row.panel_bytes(cols), &n_bytes))
    return Error::out_of_memory();
  return static_cast<std::size_t>(n_bytes);
}

Result<PackedMatrix> begin_pack(const FormatInfo& format, std::span<const std::byte> tensor, std::int64_t rows,
                                std::int64_t cols, std::span<std::byte> memory) {
  ROWMAX_TRY(n_packed, packed_bytes(format, rows, cols));
  std::int64_t n_bytes = 0;
  if (__builtin_mul_overflow(rows, format_row_bytes(format, cols), &n_bytes)) return Error::out_of_memory();
  n_bytes += format.tail_bytes;
  if (n_bytes != static_cast<std::int64_t>(tensor.size())) {
    return wrong("bytes:", n_bytes, static_cast<std::int64_t>(tensor.size()));
  }

  const PackRow row = pack_row(format);
  PackedMatrix matrix;
  matrix.format_ = &format;
  matrix.rows_ = rows;
  matrix.cols_ = cols;
  matrix.layout_ = row.layout;
  matrix.book_ = row.book;
  matrix.panel_bytes_ = row.panel_bytes(cols);
  if (memory.empty()) {
    ROWMAX_TRY(buffer, base::Buffer::allocate(n_packed));
    matrix.buffer_ = std::move(buffer);
    memory = {matrix.buffer_.data(), n_packed};
  }
  ROWMAX_CHECK(memory.size() == n_packed && reinterpret_cast<std::uintptr_t>(memory.data()) % 64 == 0,
               "pack: memory of another size or alignment");
  matrix.data_ = memory.data();
  matrix.codes_below_3_ = row.codes_below_3 != nullptr;
  return matrix;
}

void pack_rows(PackedMatrix& matrix, std::span<const std::byte> tensor, std::int64_t row_begin, std::int64_t row_end,
               Executor& executor, const LookAtRows& look) noexcept {
  const std::int64_t rows = matrix.rows_, cols = matrix.cols_;
  ROWMAX_CHECK(row_begin >= 0 && row_begin % kRows == 0 && row_begin <= row_end && row_end <= rows &&
                   (row_end % kRows == 0 || row_end == rows),
               "pack_rows: rows that are not whole panels");
  const PackRow row = pack_row(*matrix.format_);
  const Source source{matrix.format_, {tensor.data(), rows, cols}, cols};
  const std::int64_t first_panel = row_begin / kRows;
  std::atomic<bool> below_3 = matrix.codes_below_3_;
  parallel_for(executor, (row_end + kRows - 1) / kRows - first_panel, [&](std::int64_t task, int) {
    const base::ScopedFpEnv fp_env;
    const std::int64_t p = first_panel + task;
    std::byte* to = matrix.data_ + p * matrix.panel_bytes_;
    const int n_rows = static_cast<int>(std::min<std::int64_t>(kRows, rows - p * kRows));
    if (look) look(p * kRows, n_rows);
    row.pack(source, p * kRows, n_rows, to);
    if (row.codes_below_3 != nullptr && !row.codes_below_3(to, cols)) below_3.store(false, std::memory_order_relaxed);
  });
  matrix.codes_below_3_ = below_3;
}

Result<PackedMatrix> pack(const FormatInfo& format, std::span<const std::byte> tensor, std::int64_t rows,
                          std::int64_t cols, Executor& executor, std::span<std::byte> memory) {
  ROWMAX_TRY(matrix, begin_pack(format, tensor, rows, cols, memory));
  pack_rows(matrix, tensor, 0, rows, executor);
  return matrix;
}

}  // namespace rowmax::engine
