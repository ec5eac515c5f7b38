// cos and sin of every (position, frequency) of a batch, computed in f64 and rounded once: the angle of position p and
// pair i is p * scale * base^(-2i/denominator) / divisor_i (denominator: n_rot unless the spec says otherwise), exact to f64 at any context length. With YaRN the frequency f of
// pair i becomes f/factor * r + f * (1 - r), r = clamp((i - low) / (high - low), 0, 1), where low = floor and high =
// ceil of the index whose wave turns beta_fast, beta_slow times within the original context (or, YarnSpec::whole_pairs,
// not rounded); cos and sin carry its magnitude. With LongRoPE the divisors are those of the session's context, and cos
// and sin carry its magnitude.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model/spec.h"
#include "rowmax/executor.h"

namespace rowmax::engine {

class RopeTable {
 public:
  // context: of the session.
  RopeTable(const RopeSpec& spec, std::int64_t context);
  // Row r is for positions[r].
  void prepare(std::span<const std::int64_t> positions, Executor& executor);
  std::int64_t n_pair() const noexcept { return static_cast<std::int64_t>(frequencies_.size()); }
  RopePairing pairing() const noexcept { return pairing_; }
  const float* cos(std::int64_t row) const noexcept { return cos_.data() + row * n_pair(); }
  const float* sin(std::int64_t row) const noexcept { return sin_.data() + row * n_pair(); }
  // Inverse frequencies, radians per position; for inspection and tests.
  std::span<const double> frequencies() const noexcept { return frequencies_; }

 private:
  RopePairing pairing_;
  std::vector<double> frequencies_;
  double magnitude_ = 1;
  std::vector<float> cos_, sin_;
};

}  // namespace rowmax::engine
