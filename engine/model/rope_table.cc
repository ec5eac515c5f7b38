#include "engine/model/rope_table.h"

#include "base/fp_env.h"
#include "base/math/f64.h"

namespace rowmax::engine {

RopeTable::RopeTable(const RopeSpec& spec) : pairing_(spec.pairing) {
  const std::int64_t n_pair = spec.n_rot / 2;
  for (std::int64_t i = 0; i < n_pair; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(spec.n_rot);
    double frequency = spec.scale * base::pow_f64(spec.base, exponent);
    if (!spec.divisors.empty()) frequency /= static_cast<double>(spec.divisors[static_cast<std::size_t>(i)]);
    frequencies_.push_back(frequency);
  }
}

void RopeTable::prepare(std::span<const std::int64_t> positions, Executor& executor) {
  const std::size_t size = positions.size() * frequencies_.size();
  if (cos_.size() < size) {
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
      cos_row[i] = static_cast<float>(c);
      sin_row[i] = static_cast<float>(s);
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
