// The random numbers of synthetic models: exact in every operation, so the same on every machine.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace rowmax::tools {

// A stream of numbers fixed by seed and name.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::string_view name);

  // Bell-shaped (sum of twelve uniform numbers), mean 0 and standard deviation 1.
  void fill_normal(std::span<float> values);
  // -1, 0, 0 and 1, or -1 and 1, with equal probability. Pieces of a multiple of 64 values continue one another.
  void fill_ternary(std::span<float> values);
  void fill_binary(std::span<float> values);

 private:
  std::uint64_t next();
  std::uint64_t state_;
};

// The first n normal numbers of a stream.
std::vector<float> random_normal(std::uint64_t seed, std::string_view name, std::int64_t n);

}  // namespace rowmax::tools
