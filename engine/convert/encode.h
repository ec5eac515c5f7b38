// Encodes one tensor, piece by piece on all threads, and measures what is lost.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "engine/convert/tensor_rows.h"
#include "rowmax/executor.h"
#include "rowmax/result.h"

namespace rowmax::engine {

// Root mean square of the difference over that of the weights; the largest difference over the largest weight.
struct EncodingError {
  double rms = 0, max = 0;
};

// Takes the next bytes of the tensor and how many rows they hold.
using EncodedSink = std::function<Status(std::span<const std::byte> bytes, std::int64_t n_rows)>;

// Whole blocks and groups of rows (a caller's bug otherwise). kNumericFault, naming the tensor: a weight that is NaN or
// infinite, or too large for the type. May throw std::bad_alloc. The error is the same for any executor.
Result<EncodingError> encode_rows(const TensorRows& tensor, const FormatInfo& format, Executor& executor,
                                  const EncodedSink& sink);

// Formats whose weights are at most three values times a scale.
bool is_ternary_format(const FormatInfo& format);

// The most that encoding ternary weights in a ternary format may lose: a scale's rounding to a half.
inline constexpr double kTernaryLoss = 0x1p-10;

}  // namespace rowmax::engine
