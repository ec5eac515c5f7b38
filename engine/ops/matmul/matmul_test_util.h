// The definition of matmul.h in plain scalar code, from the file's bytes; and weights to try it on.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "engine/ops/matmul/matmul.h"
#include "engine/quant/integer_block.h"
#include "engine/quant/q4_0.h"
#include "engine/quant/q4_1.h"
#include "engine/quant/q4_k.h"
#include "engine/quant/q5_0.h"
#include "engine/quant/q5_1.h"
#include "engine/quant/q5_k.h"
#include "engine/quant/q6_k.h"
#include "engine/quant/q8_0.h"

namespace rowmax::engine::matmul_test {

// A weight matrix as integers and floats, one entry for each k (or each group of k).
struct Integers {
  int group = 0, offset = 0;
  bool has_min = false;
  std::vector<int> codes;           // [rows][cols]
  std::vector<float> scales, mins;  // [rows][cols / group]
};

template <class Format>
Integers read_integers(const std::vector<std::byte>& tensor, std::int64_t n_elements) {
  Integers out;
  out.group = Format::kGroup;
  out.offset = Format::kOffset;
  out.has_min = Format::kHasMin;
  for (std::int64_t b = 0; b < n_elements / Format::kElements; ++b) {
    typename Format::Block block;
    std::memcpy(&block, tensor.data() + b * static_cast<std::int64_t>(sizeof block), sizeof block);
    std::uint8_t codes[Format::kElements];
    Format::read_codes(block, codes);
    out.codes.insert(out.codes.end(), codes, codes + Format::kElements);
    for (int g = 0; g < Format::kElements / Format::kGroup; ++g) {
      out.scales.push_back(quant::group_scale<Format>(block, g));
      if constexpr (Format::kHasMin) out.mins.push_back(quant::group_min<Format>(block, g));
    }
  }
  return out;
}

using ReadFn = Integers (*)(const std::vector<std::byte>& tensor, std::int64_t n_elements);
// nullptr for formats without an integer path.
inline ReadFn integer_reader(std::uint32_t format) {
  static constexpr struct {
    std::uint32_t id;
    ReadFn read;
  } kReaders[] = {{2, &read_integers<quant::Q40>},  {3, &read_integers<quant::Q41>}, {6, &read_integers<quant::Q50>},
                  {7, &read_integers<quant::Q51>},  {8, &read_integers<quant::Q80>}, {12, &read_integers<quant::Q4K>},
                  {13, &read_integers<quant::Q5K>}, {14, &read_integers<quant::Q6K>}};
  for (const auto& row : kReaders) {
    if (row.id == format) return row.read;
  }
  return nullptr;
}

struct RoundedBlock {
  float d = 0.0f;
  int a[32] = {};
};
inline RoundedBlock round_block(const float* x) {
  RoundedBlock out;
  float most = 0.0f;
  for (int i = 0; i < 32; ++i) {
    if (!std::isfinite(x[i])) {
      out.d = std::numeric_limits<float>::quiet_NaN();
      return out;
    }
    most = std::max(most, std::fabs(x[i]));
  }
  if (most < 0x1p-100f) return out;
  out.d = most / 16256.0f;
  const float inverse = 16256.0f / most;
  for (int i = 0; i < 32; ++i) out.a[i] = static_cast<int>(std::nearbyint(x[i] * inverse));
  return out;
}

struct Shape {
  std::int64_t rows, cols, n_tok;
};

// y [n_tok][rows]
inline std::vector<float> int8_reference(const Integers& w, const Shape& s, const float* x, std::int64_t ldx) {
  std::vector<float> y;
  const std::int64_t n_groups = s.cols / w.group;
  for (std::int64_t t = 0; t < s.n_tok; ++t) {
    std::vector<RoundedBlock> blocks;
    for (std::int64_t b = 0; b < s.cols / 32; ++b) blocks.push_back(round_block(x + t * ldx + 32 * b));
    for (std::int64_t r = 0; r < s.rows; ++r) {
      float acc = 0.0f;
      for (std::int64_t g = 0; g < n_groups; ++g) {
        const RoundedBlock& block = blocks[static_cast<std::size_t>(g * w.group / 32)];
        const int* a = block.a + g * w.group % 32;
        int dot = 0, sum = 0;
        for (int i = 0; i < w.group; ++i) {
          dot += (w.codes[static_cast<std::size_t>(r * s.cols + g * w.group + i)] - w.offset) * a[i];
          sum += a[i];
        }
        const auto at = static_cast<std::size_t>(r * n_groups + g);
        acc = std::fma(static_cast<float>(dot), w.scales[at] * block.d, acc);
        if (w.has_min) acc = std::fma(w.mins[at], block.d * static_cast<float>(sum), acc);
      }
      y.push_back(acc);
    }
  }
  return y;
}

// weights: decoded, [rows][cols]
inline std::vector<float> f32_reference(const std::vector<float>& weights, const Shape& s, const float* x,
                                        std::int64_t ldx) {
  std::vector<float> y;
  for (std::int64_t t = 0; t < s.n_tok; ++t) {
    for (std::int64_t r = 0; r < s.rows; ++r) {
      float total = 0.0f;
      for (std::int64_t k = 0; k < s.cols; k += 256) {
        float sum = 0.0f;
        for (std::int64_t i = k; i < std::min(k + 256, s.cols); ++i) {
          sum = std::fma(weights[static_cast<std::size_t>(r * s.cols + i)], x[t * ldx + i], sum);
        }
        total = k == 0 ? sum : total + sum;
      }
      y.push_back(total);
    }
  }
  return y;
}

// rows * cols random normal weights with some outliers, encoded.
inline std::vector<std::byte> random_tensor(const FormatInfo& format, std::int64_t rows, std::int64_t cols, int seed) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::normal_distribution<float> normal(0.01f, 0.05f);
  std::vector<float> values(static_cast<std::size_t>(rows * cols));
  for (float& value : values) {
    value = normal(random);
    if (random() % 100 == 0) value *= 20.0f;
  }
  std::vector<std::byte> tensor(static_cast<std::size_t>(rows * format_row_bytes(format, cols)));
  format.encode(values.data(), rows * cols / format.block_elements, tensor.data());
  return tensor;
}

inline std::vector<float> random_input(std::int64_t n, int seed) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::normal_distribution<float> normal(0.0f, 1.0f);
  std::vector<float> x(static_cast<std::size_t>(n));
  for (float& value : x) {
    value = normal(random);
    if (random() % 50 == 0) value *= 30.0f;
    if (random() % 50 == 0) value = 0.0f;
  }
  return x;
}

}  // namespace rowmax::engine::matmul_test
