#include "engine/model/rope_table.h"

#include <algorithm>
#include <cmath>

#include "base/fp_env.h"
#include "base/math/f64.h"

namespace rowmax::engine {

namespace {

// Pairs below `low` keep their frequency, from `high` on it is divided by the factor.
struct Ramp {
  double low, high;
  double at(double pair) const noexcept { return std::clamp((pair - low) / std::max(high - low, 0.001), 0.0, 1.0); }
};

Ramp yarn_ramp(const RopeSpec& spec) noexcept {
  constexpr double kTwoPi = 6.283185307179586476925;
  const double n_rot = static_cast<double>(spec.n_rot);
  const auto index = [&](double turns) {
    return spec.exponent_denominator() * base::log_f64(spec.yarn->original_context / (turns * kTwoPi)) /
           (2 * base::log_f64(spec.base));
  };
  const double low = index(spec.yarn->beta_fast), high = index(spec.yarn->beta_slow);
  const bool whole = spec.yarn->whole_pairs;
  return {std::max(whole ? std::floor(low) : low, 0.0), std::min(whole ? std::ceil(high) : high, n_rot - 1)};
}

}  // namespace

RopeTable::RopeTable(const RopeSpec& spec, std::int64_t context) : pairing_(spec.pairing) {
  const Ramp ramp = spec.yarn ? yarn_ramp(spec) : Ramp{};
  if (spec.yarn) magnitude_ = spec.yarn->magnitude;
  if (spec.long_rope) magnitude_ = spec.long_rope->magnitude;
  const std::vector<float>& divisors = spec.divisors_for(context);
  const std::int64_t n_pair = spec.n_rot / 2;
  for (std::int64_t i = 0; i < n_pair; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / spec.exponent_denominator();
    double frequency = spec.scale * base::pow_f64(spec.base, exponent);
    if (!divisors.empty()) frequency /= static_cast<double>(divisors[static_cast<std::size_t>(i)]);
    if (spec.yarn) {
      const double r = ramp.at(static_cast<double>(i));
      frequency = frequency / spec.yarn->factor * r + frequency * (1 - r);
    }
    frequencies_.push_back(frequency);
  }
}

void RopeTable::prepare(std::span<const std::int64_t> positions, Executor& executor) {
  const std::size_t size = positions.size() * frequencies_.size();
  if (sin_.size() < size) {  // the last to grow: where memory failed in between, both grow again
    cos_.resize(size);
    sin_.resize(size);
  }
  const auto fill = [&](std::int64_t row) {
    const base::ScopedFpEnv environment;
    const double position = static_cast<double>(positions[static_cast<std::size_t>(row)]);
    float* cos_row = cos_.data() + row * n_pair();
    float* sin_row = sin_.data() + row * n_pair();
    for (std::size_t i = 0; i < frequencies_.size(); ++i) {
      double s = 0, c = 0;
      base::sincos_f64(position * frequencies_[i], &s, &c);
      cos_row[i] = static_cast<float>(magnitude_ * c);
      sin_row[i] = static_cast<float>(magnitude_ * s);
    }
  };
  const std::int64_t n = static_cast<std::int64_t>(positions.size());
  if (n < 8) {
    for (std::int64_t row = 0; row < n; ++row) fill(row);
  } else {
    parallel_for(executor, n, [&](std::int64_t row, int) { fill(row); });
  }
}

}  // namespace rowmax::engine
