#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::tools {
namespace {

// splitmix64 (public domain, https://prng.di.unimi.it/splitmix64.c).
class Splitmix64 {
 public:
  explicit Splitmix64(std::uint64_t state) : state_(state) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

 private:
  std::uint64_t state_;
};

// FNV-1a, 64 bits.
std::uint64_t hash_name(std::string_view name) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return hash;
}

}  // namespace

std::vector<float> random_normal(std::uint64_t seed, std::string_view name, std::int64_t n) {
  Splitmix64 generator(Splitmix64(seed).next() ^ hash_name(name));
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) {
    // Twelve 16-bit numbers: their sum has mean 12 * 65535 / 2 and a variance of 2^32 (but for 2^-32 of it).
    std::int64_t sum = 0;
    for (int draw = 0; draw < 3; ++draw) {
      for (std::uint64_t bits = generator.next(), part = 0; part < 4; ++part, bits >>= 16) sum += bits & 0xFFFF;
    }
    value = static_cast<float>(sum - 6 * 65535) * 0x1p-16f;
  }
  return values;
}

}  // namespace rowmax::tools
