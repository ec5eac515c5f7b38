#include "tools/make_model/synthetic/random.h"

namespace rowmax::tools {
namespace {

// splitmix64 (public domain, https://prng.di.unimi.it/splitmix64.c).
std::uint64_t splitmix64(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// FNV-1a, 64 bits.
std::uint64_t hash_name(std::string_view name) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return hash;
}

}  // namespace

RandomStream::RandomStream(std::uint64_t seed, std::string_view name) : state_(splitmix64(seed) ^ hash_name(name)) {}

std::uint64_t RandomStream::next() { return splitmix64(state_); }

void RandomStream::fill_normal(std::span<float> values) {
  for (float& value : values) {
    // Twelve 16-bit numbers: their sum has mean 12 * 65535 / 2 and a variance of 2^32 (but for 2^-32 of it).
    std::int64_t sum = 0;
    for (int draw = 0; draw < 3; ++draw) {
      for (std::uint64_t bits = next(), part = 0; part < 4; ++part, bits >>= 16) sum += bits & 0xFFFF;
    }
    value = static_cast<float>(sum - 6 * 65535) * 0x1p-16f;
  }
}

void RandomStream::fill_ternary(std::span<float> values) {
  constexpr float kValues[4] = {-1.0f, 0.0f, 1.0f, 0.0f};
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < values.size(); ++i, bits >>= 2) {
    if (i % 32 == 0) bits = next();
    values[i] = kValues[bits & 3];
  }
}

void RandomStream::fill_binary(std::span<float> values) {
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < values.size(); ++i, bits >>= 1) {
    if (i % 64 == 0) bits = next();
    values[i] = (bits & 1) != 0 ? 1.0f : -1.0f;
  }
}

std::vector<float> random_normal(std::uint64_t seed, std::string_view name, std::int64_t n) {
  std::vector<float> values(static_cast<std::size_t>(n));
  RandomStream(seed, name).fill_normal(values);
  return values;
}

}  // namespace rowmax::tools
