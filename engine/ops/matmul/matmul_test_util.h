// The definition of matmul.h in plain scalar code, from the file's bytes; and weights to try it on.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string_view>
#include <vector>

#include "engine/ops/matmul/matmul.h"
#include "engine/quant/fp4.h"
#include "engine/quant/i2_s.h"
#include "engine/quant/integer_block.h"
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

namespace rowmax::engine::matmul_test {

// An emulated processor (tests/builds/run.sh says so) takes an order of magnitude longer: there the largest tests
// do less of what no processor differs in (threads, rows of several panels), and every format and kernel all the same.
inline bool emulated() { return std::getenv("ROWMAX_EMULATED") != nullptr; }

// A weight matrix as integers and floats, one entry for each k (or each group of k).
struct Integers {
  int group = 0, offset = 0;
  bool has_min = false, by_token = false;
  std::vector<int> codes;             // [rows][cols]
  std::vector<float> scales, mins;    // [rows][cols / group]
  const std::int8_t* book = nullptr;  // the values that stored bits choose
};

template <class Format>
Integers read_integers(const std::vector<std::byte>& tensor, std::int64_t rows, std::int64_t cols) {
  const std::int64_t n_elements = rows * cols;
  Integers out;
  out.group = Format::kGroup;
  out.offset = Format::kOffset;
  out.has_min = Format::kHasMin;
  if constexpr (quant::HasBook<Format>) out.book = Format::kBook.values;
  for (std::int64_t b = 0; b < n_elements / Format::kElements; ++b) {
    typename Format::Block block;
    std::memcpy(&block, tensor.data() + b * static_cast<std::int64_t>(sizeof block), sizeof block);
    std::uint8_t codes[Format::kElements];
    quant::read_codes<Format>(block, codes);
    out.codes.insert(out.codes.end(), codes, codes + Format::kElements);
    for (int g = 0; g < Format::kElements / Format::kGroup; ++g) {
      out.scales.push_back(quant::group_scale<Format>(block, g));
      if constexpr (Format::kHasMin) out.mins.push_back(quant::group_min<Format>(block, g));
    }
  }
  return out;
}

// The same of a format with one scale a row or tensor: `scales` has one entry a row.
template <class Format>
Integers read_ternary(const std::vector<std::byte>& tensor, std::int64_t rows, std::int64_t cols) {
  Integers out;
  out.by_token = true;
  out.offset = 1;
  const TensorView view{tensor.data(), rows, cols};
  for (std::int64_t r = 0; r < rows; ++r) {
    out.scales.push_back(Format::scale(view, r));
    for (std::int64_t b = 0; b < cols / Format::kElements; ++b) {
      std::uint8_t codes[Format::kElements];
      Format::read_codes(view, r, b, codes);
      out.codes.insert(out.codes.end(), codes, codes + Format::kElements);
    }
  }
  return out;
}

using ReadFn = Integers (*)(const std::vector<std::byte>& tensor, std::int64_t rows, std::int64_t cols);
// nullptr for formats without an integer path.
inline ReadFn integer_reader(std::string_view format) {
  static constexpr struct {
    std::string_view name;
    ReadFn read;
  } kReaders[] = {{"Q4_0", &read_integers<quant::Q40>},
                  {"Q4_1", &read_integers<quant::Q41>},
                  {"Q5_0", &read_integers<quant::Q50>},
                  {"Q5_1", &read_integers<quant::Q51>},
                  {"Q8_0", &read_integers<quant::Q80>},
                  {"Q4_K", &read_integers<quant::Q4K>},
                  {"Q5_K", &read_integers<quant::Q5K>},
                  {"Q6_K", &read_integers<quant::Q6K>},
                  {"Q2_K", &read_integers<quant::Q2K>},
                  {"Q3_K", &read_integers<quant::Q3K>},
                  {"IQ4_NL", &read_integers<quant::Iq4Nl>},
                  {"IQ4_XS", &read_integers<quant::Iq4Xs>},
                  {"Q2_0", &read_integers<quant::Q20>},
                  {"Q2_0_128", &read_integers<quant::Q20G128>},
                  {"PQ2_0", &read_integers<quant::Pq20>},
                  {"Q2_0C", &read_integers<quant::Q20C>},
                  {"Q2_0C_41", &read_integers<quant::Q20CType41>},
                  {"PTQ1_0", &read_integers<quant::Ptq10>},
                  {"TQ1_0", &read_integers<quant::Tq10>},
                  {"TQ2_0", &read_integers<quant::Tq20>},
                  {"Q1_0", &read_integers<quant::Q10>},
                  {"I2_S", &read_ternary<quant::I2S>},
                  {"I2_S_64", &read_ternary<quant::I2S64>},
                  {"I2_S_ROW4", &read_ternary<quant::I2SRow4>},
                  {"IQ1_BN", &read_ternary<quant::Iq1Bn>},
                  {"IQ2_BN", &read_ternary<quant::Iq2Bn>},
                  {"IQ2_BN_R4", &read_ternary<quant::Iq2BnR4>},
                  {"MXFP4", &read_integers<quant::Mxfp4>},
                  {"NVFP4", &read_integers<quant::Nvfp4>},
                  {"STQ1_0", &read_integers<quant::Stq10>},
                  {"STQ1_0_42", &read_integers<quant::Stq10Type42>},
                  {"IQ2_XXS", &read_integers<quant::Iq2Xxs>},
                  {"IQ2_XS", &read_integers<quant::Iq2Xs>},
                  {"IQ2_S", &read_integers<quant::Iq2S>},
                  {"IQ3_XXS", &read_integers<quant::Iq3Xxs>},
                  {"IQ3_S", &read_integers<quant::Iq3S>},
                  {"IQ1_S", &read_integers<quant::Iq1S>},
                  {"IQ1_M", &read_integers<quant::Iq1M>}};
  for (const auto& row : kReaders) {
    if (row.name == format) return row.read;
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

// One scale a token: activations of one signed byte.
struct RoundedToken {
  float s = 0.0f;
  std::vector<int> q;
};
inline RoundedToken round_token(const float* x, std::int64_t n) {
  RoundedToken out;
  float most = 0.0f;
  bool finite = true;
  for (std::int64_t i = 0; i < n; ++i) {
    finite = finite && std::isfinite(x[i]);
    most = std::max(most, std::fabs(x[i]));
  }
  out.s = finite ? 127.0f / std::max(1e-5f, most) : std::numeric_limits<float>::quiet_NaN();
  for (std::int64_t i = 0; i < n; ++i) {
    out.q.push_back(finite ? std::clamp(static_cast<int>(std::nearbyint(x[i] * out.s)), -128, 127) : 0);
  }
  return out;
}

// y [n_tok][rows]
inline std::vector<float> token_reference(const Integers& w, const Shape& s, const float* x, std::int64_t ldx) {
  std::vector<float> y;
  for (std::int64_t t = 0; t < s.n_tok; ++t) {
    const RoundedToken token = round_token(x + t * ldx, s.cols);
    for (std::int64_t r = 0; r < s.rows; ++r) {
      std::int64_t dot = 0;
      for (std::int64_t k = 0; k < s.cols; ++k) {
        dot += (w.codes[static_cast<std::size_t>(r * s.cols + k)] - 1) * token.q[static_cast<std::size_t>(k)];
      }
      y.push_back(static_cast<float>(dot) * w.scales[static_cast<std::size_t>(r)] / token.s);
    }
  }
  return y;
}

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

// Formats of at most 2 bits a weight, which stand for three values, or two.
inline bool is_ternary(const FormatInfo& format) {
  return format.block_bytes * 4 <= format.block_elements + 4 * 2 && format.block_elements >= 32 &&
         !format.needs_importance;
}

// rows * cols random weights, encoded: normal with some outliers, or -m, 0 and m for ternary formats.
inline std::vector<std::byte> random_tensor(const FormatInfo& format, std::int64_t rows, std::int64_t cols, int seed) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::normal_distribution<float> normal(0.01f, 0.05f);
  std::vector<float> values(static_cast<std::size_t>(rows * cols));
  for (float& value : values) {
    value = normal(random);
    if (is_ternary(format)) {
      value = value > 0.03f ? 0.0375f : value < -0.02f ? -0.0375f : 0.0f;
    } else if (random() % 100 == 0) {
      value *= 20.0f;
    }
  }
  std::vector<std::byte> tensor(static_cast<std::size_t>(format_tensor_bytes(format, rows, cols)));
  encode_tensor(format, values.data(), rows, cols, tensor.data());
  return tensor;
}

// Sets every scale of an otherwise arbitrary tensor to the half `d` (and every minimum to `m`), so that it is finite.
inline void set_scales(const FormatInfo& format, std::int64_t rows, std::int64_t cols, std::uint16_t d, std::uint16_t m,
                       std::vector<std::byte>& tensor) {
  const float scale = 1.0009765625f;
  if (format.tail_bytes > 0) {
    std::memcpy(tensor.data() + tensor.size() - static_cast<std::size_t>(format.tail_bytes), &scale, 4);
    return;
  }
  const std::string_view name = format.name;
  if (name == "MXFP4" || name == "NVFP4") {
    for (std::size_t i = 0; i < tensor.size(); ++i) {
      if (name == "MXFP4" ? i % 17 == 0 : i % 36 < 4) tensor[i] = name == "MXFP4" ? std::byte{129} : std::byte{0x3D};
    }
    return;
  }
  if (name == "IQ1_M") {  // four bits of d in the highest of each of the last four words
    for (std::size_t i = 0; i < tensor.size(); ++i) {
      if (i % 56 < 48 || i % 2 == 0) continue;
      tensor[i] = (tensor[i] & std::byte{15}) | static_cast<std::byte>((d >> (i % 56 - 49) / 2 * 4 & 15) << 4);
    }
    return;
  }
  if (format.row_head_bytes > 0) {  // a group's scales are at its start, f32 or halves
    const std::int64_t group_bytes = format.row_group * format_row_bytes(format, cols);
    for (std::int64_t r = 0; r < rows; ++r) {
      std::byte* at = tensor.data() + r / format.row_group * group_bytes + r % format.row_group * format.row_head_bytes;
      std::memcpy(at, format.row_head_bytes == 2 ? static_cast<const void*>(&d) : &scale,
                  static_cast<std::size_t>(format.row_head_bytes));
    }
    return;
  }
  // The halves d (and m) lie at a block's start, or at its end.
  const bool at_end = name == "Q2_K" || name == "Q3_K" || name == "Q6_K" || name == "TQ1_0" || name == "TQ2_0" ||
                      name == "PTQ1_0" || name.starts_with("STQ1_0");
  const bool has_min = name.ends_with("_1") || name == "Q2_K" || name == "Q4_K" || name == "Q5_K";
  const std::uint16_t halves[2] = {d, m};
  for (std::int64_t b = 0; b < rows * cols / format.block_elements; ++b) {
    std::byte* at = tensor.data() + b * format.block_bytes + (at_end ? format.block_bytes - (has_min ? 4 : 2) : 0);
    std::memcpy(at, halves, has_min ? 4 : 2);
  }
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
