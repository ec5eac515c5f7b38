// ln of the softmax of a row of logits, in f64: the normaliser is computed once, then any token's value is a difference.
#pragma once

#include <cstddef>
#include <span>

#include "base/math/f64.h"

namespace rowmax::engine {

class LogSoftmax {
 public:
  // logits: at least one, all finite.
  explicit LogSoftmax(std::span<const float> logits) noexcept : most_(logits[0]) {
    for (float x : logits) most_ = x > most_ ? x : most_;
    // Four sums in a fixed order: the chain of additions would otherwise be the slowest part.
    double sums[4] = {0, 0, 0, 0};
    for (std::size_t i = 0; i < logits.size(); ++i) {
      sums[i % 4] += base::exp_f64(static_cast<double>(logits[i]) - most_);
    }
    log_sum_ = base::log_f64((sums[0] + sums[1]) + (sums[2] + sums[3]));
  }
  double of(float logit) const noexcept { return static_cast<double>(logit) - most_ - log_sum_; }

 private:
  double most_;
  double log_sum_ = 0;
};

}  // namespace rowmax::engine
