// Masked softmax over rows of scores: the middle of attention on its own, with attention's arithmetic and promises.
//
// weights[r][j] = exp(s[r][j] - m) / sum over visible keys, s = softcap(scale * score) + bias, hidden keys exactly 0.
// No visible key: all 0, lse -inf, RowStatus::kEmpty. Hidden scores are not read into the result, whatever they hold.
// Given the scores that attend() computes, the bits are those of AttendArgs::weights.
#pragma once

#include <cstdint>

#include "rowmax/attention.h"
#include "rowmax/backend.h"
#include "rowmax/result.h"

namespace rowmax {

struct SoftmaxArgs {
  const float* scores = nullptr;  // [n_row][n_key]
  std::int64_t n_row = 0;
  std::int64_t n_key = 0;
  std::int64_t row_stride = 0;
  // Optional, bit (j mod 64) of keep[r * keep_row_stride + j / 64], 1 = visible; stride in words, 0 to broadcast.
  const std::uint64_t* keep = nullptr;
  std::int64_t keep_row_stride = 0;
  float scale = 1.0f;
  float softcap = 0.0f;
  // Optional, f32, [n_row][n_key]; -inf hides.
  const float* bias = nullptr;
  std::int64_t bias_row_stride = 0;
  const float* sink = nullptr;              // optional, one logit for each row
  EmptyRows empty_rows = EmptyRows::kZero;  // kUniform: over all n_key keys

  float* weights = nullptr;  // [n_row][n_key]; may be `scores`
  std::int64_t weights_row_stride = 0;
  float* lse = nullptr;             // optional, [n_row]
  RowStatus* row_status = nullptr;  // optional, [n_row]
};

// Errors: kInvalidArgument (named). Allocates nothing.
Result<AttendReport> softmax(const SoftmaxArgs& args, const Backend& backend);

}  // namespace rowmax
