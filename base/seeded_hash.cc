#include "base/seeded_hash.h"

#include <sys/random.h>

#include <bit>
#include <chrono>
#include <cstring>

namespace rowmax::base {
namespace {

struct State {
  std::uint64_t v0, v1, v2, v3;

  State(std::uint64_t key0, std::uint64_t key1) noexcept
      : v0(key0 ^ 0x736f6d6570736575u),
        v1(key1 ^ 0x646f72616e646f6du),
        v2(key0 ^ 0x6c7967656e657261u),
        v3(key1 ^ 0x7465646279746573u) {}

  void round() noexcept {
    v0 += v1, v1 = std::rotl(v1, 13) ^ v0, v0 = std::rotl(v0, 32);
    v2 += v3, v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3, v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1, v1 = std::rotl(v1, 17) ^ v2, v2 = std::rotl(v2, 32);
  }
  void take(std::uint64_t block) noexcept {
    v3 ^= block;
    round();
    v0 ^= block;
  }
  std::uint64_t finish() noexcept {
    v2 ^= 0xff;
    round(), round(), round();
    return v0 ^ v1 ^ v2 ^ v3;
  }
};

struct Keys {
  std::uint64_t key[2];
};

const Keys& process_keys() noexcept {
  static const Keys keys = [] {
    Keys drawn = {};
    if (::getrandom(&drawn, sizeof drawn, GRND_NONBLOCK) != static_cast<::ssize_t>(sizeof drawn)) {
      // Early in a boot, or a kernel without it: the address of this process's memory and the time.
      drawn.key[0] = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
      drawn.key[1] = reinterpret_cast<std::uintptr_t>(&drawn);
    }
    return drawn;
  }();
  return keys;
}

}  // namespace

std::uint64_t siphash13(std::uint64_t key0, std::uint64_t key1, std::string_view text) noexcept {
  State state(key0, key1);
  const std::size_t whole = text.size() / 8 * 8;
  for (std::size_t at = 0; at < whole; at += 8) {
    std::uint64_t block = 0;
    std::memcpy(&block, text.data() + at, 8);
    state.take(block);
  }
  std::uint64_t last = 0;
  std::memcpy(&last, text.data() + whole, text.size() - whole);
  state.take(last | static_cast<std::uint64_t>(text.size()) << 56);
  return state.finish();
}

std::uint64_t seeded_hash(std::string_view text) noexcept {
  const Keys& keys = process_keys();
  return siphash13(keys.key[0], keys.key[1], text);
}

std::uint64_t seeded_hash(std::uint64_t number) noexcept {
  const Keys& keys = process_keys();
  State state(keys.key[0], keys.key[1]);
  state.take(number);
  return state.finish();
}

}  // namespace rowmax::base
