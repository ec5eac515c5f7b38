#include "doctor/checks/tensor_stats.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/fp_env.h"
#include "doctor/checks/sentences.h"

namespace rowmax::doctor {
namespace {

using engine::FormatInfo;
using engine::TensorView;

// A share of a tensor's rows, looked at by one thread; its memory is taken before.
struct Piece {
  std::int64_t first = 0, last = 0;
  std::vector<float> values;  // of one row
  std::vector<double> col_squares;
  double squares = 0;
  std::int64_t n_zero = 0, invalid_col = -1;
  float low = std::numeric_limits<float>::infinity(), high = -std::numeric_limits<float>::infinity();
  engine::InvalidWeight invalid;
  ByteRun run;
};

bool finite(float x) { return (std::bit_cast<std::uint32_t>(x) & 0x7F800000u) != 0x7F800000u; }

// Sums in lanes, so that the loop over a row becomes vector code: eight at a time, and what is left over.
struct Lanes {
  static constexpr std::size_t kN = 8;
  double squares[kN] = {};
  float low[kN] = {}, high[kN] = {};
  std::int32_t n_zero[kN] = {};

  void see_one(std::size_t i, float x, double& col_squares) noexcept {
    const double square = static_cast<double>(x) * static_cast<double>(x);
    squares[i] += square;
    col_squares += square;
    low[i] = x < low[i] ? x : low[i];
    high[i] = x > high[i] ? x : high[i];
    n_zero[i] += x == 0 ? 1 : 0;
  }
  void see(const float* x, double* col_squares) noexcept {
    for (std::size_t i = 0; i < kN; ++i) see_one(i, x[i], col_squares[i]);
  }
};

void see_row(const TensorView& view, const FormatInfo& format, std::int64_t row, std::int64_t at, Piece& piece,
             TensorStats& stats) noexcept {
  std::vector<float>& x = piece.values;
  format.decode(view, row, 1, x.data());
  if (piece.invalid.row >= 0) {  // NaN and infinity are told elsewhere; here they count as nothing
    for (float& value : x) value = finite(value) ? value : 0;
  }
  Lanes lanes;
  for (std::size_t i = 0; i < Lanes::kN; ++i) lanes.low[i] = lanes.high[i] = x[0];
  const std::size_t whole = x.size() / Lanes::kN * Lanes::kN;
  for (std::size_t k = 0; k < whole; k += Lanes::kN) lanes.see(x.data() + k, piece.col_squares.data() + k);
  for (std::size_t k = whole; k < x.size(); ++k) lanes.see_one(k - whole, x[k], piece.col_squares[k]);
  double squares = 0;
  float low = lanes.low[0], high = lanes.high[0];
  for (std::size_t i = 0; i < Lanes::kN; ++i) {
    squares += lanes.squares[i];
    low = std::min(low, lanes.low[i]);
    high = std::max(high, lanes.high[i]);
    piece.n_zero += lanes.n_zero[i];
  }
  piece.squares += squares;
  piece.low = std::min(piece.low, low);
  piece.high = std::max(piece.high, high);
  stats.row_rms[static_cast<std::size_t>(at)] = static_cast<float>(std::sqrt(squares / static_cast<double>(view.cols)));
  stats.row_most[static_cast<std::size_t>(at)] = std::max(high, -low);
}

// Runs that are long enough cover a whole block of 512 bytes.
void find_runs(std::span<const std::byte> bytes, std::int64_t from, std::int64_t to, ByteRun& longest) noexcept {
  constexpr std::int64_t kBlock = 512;
  const std::byte* const p = bytes.data();
  for (std::int64_t at = from; at + kBlock <= to; at += kBlock) {
    if (std::memcmp(p + at, p + at + 1, kBlock - 1) != 0) continue;
    std::int64_t begin = at, end = at + kBlock;
    while (begin > from && p[begin - 1] == p[at]) --begin;
    while (end < to && p[end] == p[at]) ++end;
    if (end - begin >= kLongRun && end - begin > longest.size) longest = {begin, end - begin, p[at]};
    at = begin + (end - begin) / kBlock * kBlock;
  }
}

void find_invalid(const TensorView& view, const FormatInfo& format, Piece& piece) noexcept {
  piece.invalid = format.find_invalid(view, piece.first, piece.last - piece.first);
  if (piece.invalid.row < 0) return;
  format.decode(view, piece.invalid.row, 1, piece.values.data());
  const auto bad = std::ranges::find_if(piece.values, [](float x) { return !finite(x); });
  if (bad != piece.values.end()) piece.invalid_col = bad - piece.values.begin();
}

}  // namespace

bool TensorStats::is_ternary() const noexcept {
  return format->block_elements >= 32 && format->block_bytes * 4 <= format->block_elements + 8;
}

TensorStats look_at(const engine::GgufTensor& tensor, std::int64_t stride, Executor& executor) {
  TensorStats stats;
  const TensorName name = split_tensor_name(tensor.name);
  stats.name = tensor.name;
  stats.kind = name.kind;
  stats.layer = name.layer;
  stats.format = tensor.format;
  stats.cols = tensor.shape[0];
  stats.rows = tensor.n_elements() / stats.cols;
  stats.stride = std::clamp<std::int64_t>(stride, 1, stats.rows);
  const auto n_seen = static_cast<std::size_t>((stats.rows + stats.stride - 1) / stats.stride);
  stats.row_rms.resize(n_seen);
  stats.row_most.resize(n_seen);

  // Pieces of about a quarter million numbers: the cut is by the tensor alone, and so are all sums.
  const FormatInfo& format = *tensor.format;
  const std::int64_t n_groups = stats.rows / format.row_group;
  const std::int64_t n_pieces =
      std::clamp<std::int64_t>(stats.rows * stats.cols / (1 << 18), 1, std::min<std::int64_t>(64, n_groups));
  std::vector<Piece> pieces(static_cast<std::size_t>(n_pieces));
  for (std::int64_t i = 0; i < n_pieces; ++i) {
    Piece& piece = pieces[static_cast<std::size_t>(i)];
    piece.first = n_groups * i / n_pieces * format.row_group;
    piece.last = n_groups * (i + 1) / n_pieces * format.row_group;
    piece.values.resize(static_cast<std::size_t>(stats.cols));
    piece.col_squares.resize(static_cast<std::size_t>(stats.cols));
  }
  const TensorView view{tensor.data.data(), stats.rows, stats.cols};
  const std::int64_t row_bytes = engine::format_row_bytes(format, stats.cols);
  parallel_for(executor, n_pieces, [&](std::int64_t task, int) noexcept {
    const base::ScopedFpEnv fp_env;
    Piece& piece = pieces[static_cast<std::size_t>(task)];
    find_invalid(view, format, piece);
    find_runs(tensor.data, piece.first * row_bytes, piece.last * row_bytes, piece.run);
    for (std::int64_t at = (piece.first + stats.stride - 1) / stats.stride; at * stats.stride < piece.last; ++at) {
      see_row(view, format, at * stats.stride, at, piece, stats);
    }
  });

  std::vector<double> col_squares(static_cast<std::size_t>(stats.cols));
  double squares = 0;
  stats.low = std::numeric_limits<float>::infinity();
  stats.high = -stats.low;
  for (const Piece& piece : pieces) {
    squares += piece.squares;
    stats.n_zero += piece.n_zero;
    stats.low = std::min(stats.low, piece.low);
    stats.high = std::max(stats.high, piece.high);
    for (std::size_t k = 0; k < col_squares.size(); ++k) col_squares[k] += piece.col_squares[k];
    if (stats.invalid.row < 0 && piece.invalid.row >= 0) {
      stats.invalid = piece.invalid;
      stats.invalid_col = piece.invalid_col;
    }
    if (piece.run.size > stats.run.size) stats.run = piece.run;
  }
  stats.rms = std::sqrt(squares / static_cast<double>(stats.n()));
  for (const double square : col_squares) {
    stats.col_rms.push_back(static_cast<float>(std::sqrt(square / static_cast<double>(n_seen))));
  }
  return stats;
}

}  // namespace rowmax::doctor
