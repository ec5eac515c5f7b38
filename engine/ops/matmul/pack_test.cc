// Where pack() puts the codes of every format, against the text of panel.h and the format's own reader of codes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "engine/ops/matmul/matmul_test_util.h"

namespace rowmax::engine::pack_test {
namespace {

struct Panel {
  const std::uint8_t* bytes;
  std::int64_t n_bytes, cols;
  int bits;
};

// Bits of a code in the panel: PTQ1_0 and the like are unpacked to two.
int panel_bits(std::string_view name) {
  if (name == "Q1_0") return 1;
  if (name == "Q3_K" || name.starts_with("IQ2_X") || name == "IQ2_S" || name == "IQ1_S" || name == "IQ1_M") return 3;
  if (name.starts_with("Q4_") || name.starts_with("IQ4_") || name.starts_with("IQ3_") || name.ends_with("FP4"))
    return 4;
  if (name.starts_with("Q5_")) return 5;
  if (name == "Q6_K") return 6;
  return name == "Q8_0" ? 8 : 2;
}

// The code of row r at k, as panel.h says.
int code_at(const Panel& panel, int r, std::int64_t k) {
  const std::int64_t tile_bytes = 16 * 32 * panel.bits / 8;
  const std::uint8_t* tile =
      panel.bytes + panel.n_bytes - panel.cols / 32 * tile_bytes + k / 32 * tile_bytes;  // codes are last
  const int quad = static_cast<int>(k % 32) / 4, i = static_cast<int>(k % 4);
  const auto bits = [&](int vector, int first, int n) {
    return tile[64 * vector + 4 * r + i] >> first & ((1 << n) - 1);
  };
  switch (panel.bits) {
    case 1: return 2 * bits(0, quad, 1);
    case 2: return bits(quad / 4, 2 * (quad % 4), 2);
    case 3: return bits(quad / 4, 2 * (quad % 4), 2) | bits(2, quad, 1) << 2;
    case 8: return bits(quad, 0, 8) ^ 0x80;
    default: break;
  }
  const int low = bits(quad % 4, quad < 4 ? 0 : 4, 4);
  if (panel.bits == 5) return low | bits(4, quad, 1) << 4;
  if (panel.bits == 6) return low | bits(4 + quad / 4, 2 * (quad % 4), 2) << 4;
  return low;
}

void expect_codes_in_place(const FormatInfo& format, const std::vector<std::byte>& tensor, std::int64_t rows,
                           std::int64_t cols) {
  SerialExecutor executor;
  const auto expected = matmul_test::integer_reader(format.name)(tensor, rows, cols);
  const auto packed = pack(format, tensor, rows, cols, executor);
  ASSERT_TRUE(packed.ok()) << packed.error().message;
  for (std::int64_t r = 0; r < packed->n_panels() * 16; ++r) {
    const Panel panel{reinterpret_cast<const std::uint8_t*>(packed->panel(r / 16)), packed->panel_bytes(), cols,
                      panel_bits(format.name)};
    for (std::int64_t k = 0; k < cols; ++k) {
      const int code = code_at(panel, static_cast<int>(r % 16), k);
      if (r >= rows) {
        ASSERT_EQ(code, panel.bits == 8 ? 128 : 0) << format.name << " missing row " << r << " k " << k;
      } else {
        ASSERT_EQ(expected.book != nullptr ? expected.book[code] + expected.offset : code,
                  expected.codes[static_cast<std::size_t>(r * cols + k)])
            << format.name << " row " << r << " of " << rows << " k " << k << " of " << cols;
      }
    }
  }
}

TEST(PackedCodes, AreWherePanelsHaveThem) {
  std::mt19937 random(7);
  int n_formats = 0;
  for (const FormatInfo& format : formats()) {
    if (matmul_test::integer_reader(format.name) == nullptr) continue;
    ++n_formats;
    for (const std::int64_t blocks : {1, 3, 5}) {
      for (const std::int64_t rows : {4, 16, 36}) {
        const std::int64_t cols = blocks * std::max<std::int64_t>(32, format.block_elements);
        std::vector<std::byte> tensor(static_cast<std::size_t>(format_tensor_bytes(format, rows, cols)));
        for (const int fill : {0x00, 0xFF, 0x55, -1}) {
          for (std::byte& byte : tensor) byte = static_cast<std::byte>(fill < 0 ? random() : fill);
          ASSERT_NO_FATAL_FAILURE(expect_codes_in_place(format, tensor, rows, cols));
        }
      }
    }
  }
  EXPECT_EQ(n_formats, 38);
}

// The records in front of the codes, as panel.h says: halves, then a byte a group (and its minimum), sixteen rows each.
template <class Format>
void expect_scales_in_place(std::int64_t rows, std::int64_t n_blocks, std::mt19937& random) {
  using Block = typename Format::Block;
  constexpr bool kHalves = quant::scale_kind<Format>() == quant::ScaleKind::kHalf;
  constexpr bool kOddNibbles = kHalves && Format::kSubScales && quant::HasBook<Format> && Format::kGroup == 16;
  constexpr int kRecordElements = std::min(Format::kElements, 256), kGroups = kRecordElements / Format::kGroup;
  const FormatInfo& format = *find_format(std::string_view(Format::kName));
  const std::int64_t cols = n_blocks * Format::kElements;
  std::vector<Block> blocks(static_cast<std::size_t>(rows * n_blocks));
  const std::span<std::byte> tensor = std::as_writable_bytes(std::span(blocks));
  for (std::byte& byte : tensor) byte = static_cast<std::byte>(random());
  SerialExecutor executor;
  const auto packed = pack(format, tensor, rows, cols, executor);
  ASSERT_TRUE(packed.ok()) << packed.error().message;
  for (std::int64_t p = 0; p < packed->n_panels(); ++p) {
    const auto* at = reinterpret_cast<const std::uint8_t*>(packed->panel(p));
    const auto expect = [&](std::int64_t record, const char* what, int bytes, auto of_block) {
      for (std::int64_t r = 0; r < 16; ++r, at += bytes) {
        const std::int64_t row = 16 * p + r, block = record * kRecordElements / Format::kElements;
        const unsigned wanted = row < rows ? of_block(blocks[static_cast<std::size_t>(row * n_blocks + block)]) : 0;
        const unsigned found = bytes == 2 ? at[0] | at[1] << 8 : at[0];
        ASSERT_EQ(found, wanted & (bytes == 2 ? 0xFFFFu : 0xFFu))
            << Format::kName << " " << what << " of record " << record << " row " << row << " of " << rows;
      }
    };
    for (std::int64_t record = 0; record < cols / kRecordElements; ++record) {
      if constexpr (kHalves) expect(record, "d", 2, [](const Block& b) { return Format::scale_bits(b); });
      if constexpr (Format::kHasMin) expect(record, "min", 2, [](const Block& b) { return Format::min_bits(b); });
      for (int g = 0; Format::kSubScales && g < kGroups; ++g) {
        if constexpr (kOddNibbles) {
          expect(record, "odd", 1, [&](const Block& b) {
            return static_cast<unsigned>(Format::sub_scale(b, g) / 2 | Format::sub_scale(b, g + 1) / 2 << 4);
          });
          ++g;
        } else if constexpr (Format::kSubScales && Format::kHasMin && Format::kGroup == 16) {
          expect(record, "both", 1, [&](const Block& b) {
            return static_cast<unsigned>(Format::sub_scale(b, g) | Format::sub_min(b, g) << 4);
          });
        } else if constexpr (Format::kSubScales) {
          expect(record, "sub", 1, [&](const Block& b) { return static_cast<unsigned>(Format::sub_scale(b, g)); });
          if constexpr (Format::kHasMin) {
            expect(record, "sub min", 1, [&](const Block& b) { return static_cast<unsigned>(Format::sub_min(b, g)); });
          }
        }
      }
    }
  }
}

template <class... Formats>
void expect_scales_of() {
  std::mt19937 random(11);
  for (const std::int64_t n_blocks : {1, 3}) {
    for (const std::int64_t rows : {4, 16, 36}) {
      (expect_scales_in_place<Formats>(rows, n_blocks, random), ...);
    }
  }
}

TEST(PackedScales, AreWherePanelsHaveThem) {
  expect_scales_of<quant::Q40, quant::Q41, quant::Q50, quant::Q51, quant::Q80, quant::Q2K, quant::Q3K, quant::Q4K,
                   quant::Q5K, quant::Q6K>();
  expect_scales_of<quant::Iq4Nl, quant::Iq4Xs, quant::Mxfp4, quant::Nvfp4, quant::Iq2Xxs, quant::Iq2Xs, quant::Iq2S,
                   quant::Iq3Xxs, quant::Iq3S, quant::Iq1S, quant::Iq1M>();
  expect_scales_of<quant::Q20, quant::Q20G128, quant::Pq20, quant::Q20C, quant::Q20CType41, quant::Ptq10, quant::Tq10,
                   quant::Tq20, quant::Stq10, quant::Stq10Type42, quant::Q10>();
}

// Number k of row r of a panel lies at 16 k + r, whatever the rows and columns are multiples of.
TEST(PackedFloats, AreWherePanelsHaveThem) {
  std::mt19937 random(9);
  SerialExecutor executor;
  for (const char* name : {"F32", "F16", "BF16"}) {
    const FormatInfo& format = *find_format(std::string_view(name));
    const auto size = static_cast<std::size_t>(format.block_bytes);
    for (const std::int64_t cols : {1, 3, 7, 8, 31, 32, 33, 64, 100}) {
      for (const std::int64_t rows : {1, 15, 16, 35}) {
        std::vector<std::byte> bytes(static_cast<std::size_t>(rows * cols) * size + 1);
        for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
        const std::span<const std::byte> tensor = std::span(bytes).subspan(1);  // no alignment is relied upon
        const auto packed = pack(format, tensor, rows, cols, executor);
        ASSERT_TRUE(packed.ok()) << packed.error().message;
        const std::vector<std::byte> zero(size);
        for (std::int64_t r = 0; r < packed->n_panels() * 16; ++r) {
          for (std::int64_t k = 0; k < cols; ++k) {
            const std::byte* found = packed->panel(r / 16) + static_cast<std::size_t>(16 * k + r % 16) * size;
            const std::byte* wanted = r < rows ? &tensor[static_cast<std::size_t>(r * cols + k) * size] : zero.data();
            ASSERT_EQ(std::memcmp(found, wanted, size), 0) << name << " row " << r << " of " << rows << " k " << k;
          }
        }
      }
    }
  }
}

// Memory that was used before: nothing of it is left, between codes and scales as little as in rows that are missing.
TEST(Pack, WritesEveryByte) {
  std::mt19937 random(10);
  SerialExecutor executor;
  for (const FormatInfo& format : formats()) {
    for (const std::int64_t blocks : {1, 3, 7}) {
      for (const std::int64_t rows : {4, 16, 36}) {
        const std::int64_t cols = blocks * std::max<std::int64_t>(format.block_elements, blocks);
        std::vector<std::byte> tensor(static_cast<std::size_t>(format_tensor_bytes(format, rows, cols)));
        for (std::byte& byte : tensor) byte = static_cast<std::byte>(random());
        const auto n_bytes = packed_bytes(format, rows, cols);
        ASSERT_TRUE(n_bytes.ok()) << n_bytes.error().message;
        base::Buffer memory[2];
        for (const int fill : {0, 1}) {
          memory[fill] = std::move(base::Buffer::allocate(*n_bytes)).value();
          std::memset(memory[fill].data(), fill == 0 ? 0x00 : 0xFF, *n_bytes);
          ASSERT_TRUE(pack(format, tensor, rows, cols, executor, {memory[fill].data(), *n_bytes}).ok());
        }
        EXPECT_EQ(std::memcmp(memory[0].data(), memory[1].data(), *n_bytes), 0)
            << format.name << " rows " << rows << " cols " << cols;
      }
    }
  }
}

TEST(PackRows, ShowsThePackingThreadEachPanelsRowsOnce) {
  const auto pool = make_thread_pool(2);
  ASSERT_TRUE(pool.ok());
  const FormatInfo& format = *find_format("F32");
  const std::vector<std::byte> tensor(52 * 8 * 4);
  auto packed = begin_pack(format, tensor, 52, 8);
  ASSERT_TRUE(packed.ok());
  std::vector<std::int64_t> seen(4);
  pack_rows(*packed, tensor, 16, 52, **pool, [&](std::int64_t first, std::int64_t n_rows) {
    ASSERT_EQ(first % 16, 0);
    seen[static_cast<std::size_t>(first / 16)] += n_rows;
  });
  EXPECT_EQ(seen, (std::vector<std::int64_t>{0, 16, 16, 4}));
}

TEST(PackRows, InPiecesGiveTheMatrixOfOneCall) {
  std::mt19937 random(8);
  SerialExecutor executor;
  for (const FormatInfo& format : formats()) {
    const std::int64_t rows = 52, cols = 3 * std::max<std::int64_t>(32, format.block_elements);
    std::vector<std::byte> tensor(static_cast<std::size_t>(format_tensor_bytes(format, rows, cols)));
    for (const bool threes : {false, true}) {  // in the last piece alone
      for (std::byte& byte : tensor) byte = static_cast<std::byte>(random() & random() & 0x55);
      if (threes)
        std::fill(tensor.end() - static_cast<std::ptrdiff_t>(tensor.size() / 52), tensor.end(), std::byte{0xFF});
      const auto whole = pack(format, tensor, rows, cols, executor);
      ASSERT_TRUE(whole.ok());
      auto pieces = begin_pack(format, tensor, rows, cols);
      ASSERT_TRUE(pieces.ok());
      pack_rows(*pieces, tensor, 0, 16, executor);
      pack_rows(*pieces, tensor, 16, 48, executor);
      pack_rows(*pieces, tensor, 48, 52, executor);
      EXPECT_EQ(std::memcmp(pieces->panel(0), whole->panel(0), whole->bytes()), 0) << format.name;
      EXPECT_EQ(pieces->codes_below_3(), whole->codes_below_3()) << format.name << threes;
    }
  }
}

}  // namespace
}  // namespace rowmax::engine::pack_test
