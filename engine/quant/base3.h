// Ternary digits five to a byte. A byte is ceil(number * 256 / 243) of the number in base 3 whose first digit is the
// most significant one; digit n comes back as the upper bits of byte * 3^n times 3, in 8 bits each time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace rowmax::engine::quant {

inline constexpr std::uint8_t kPowersOf3[] = {1, 3, 9, 27, 81};

// Digit n (0 .. 4, the first is 0) of a byte: 0, 1 or 2, for any byte.
inline std::uint8_t base3_digit(std::uint8_t byte, int n) noexcept {
  const auto shifted = static_cast<std::uint8_t>(byte * kPowersOf3[n]);
  return static_cast<std::uint8_t>((shifted * 3) >> 8);
}

// Digits d[0], d[stride], ... of which n (at most 5) are given; missing ones are 0.
inline std::uint8_t base3_byte(const std::uint8_t* digits, int stride, int n) noexcept {
  int number = 0;
  for (int i = 0; i < 5; ++i) number = 3 * number + (i < n ? digits[i * stride] : 0);
  return static_cast<std::uint8_t>((number * 256 + 242) / 243);
}

// n_bytes bytes whose digit n is codes[n * n_bytes + m] for byte m.
inline void read_base3(const std::uint8_t* bytes, int n_bytes, int n_digits, std::uint8_t* codes) noexcept {
  // Eight bytes at a time, each in a field of 16 bits: of byte * 3 the lower 8 bits give the next digits.
  constexpr std::uint64_t kBytes = 0x00FF00FF00FF00FFu, kCarries = 0x0300030003000300u;
  for (int m = 0; m < n_bytes; m += 8) {
    const std::size_t n_taken = n_bytes - m < 8 ? static_cast<std::size_t>(n_bytes - m) : 8;
    std::uint64_t word = 0;
    std::memcpy(&word, bytes + m, n_taken);
    std::uint64_t even = word & kBytes, odd = word >> 8 & kBytes;
    for (int n = 0; n < n_digits; ++n) {
      even *= 3;
      odd *= 3;
      const std::uint64_t digits = (even & kCarries) >> 8 | (odd & kCarries);
      std::memcpy(codes + n * n_bytes + m, &digits, n_taken);
      even &= kBytes;
      odd &= kBytes;
    }
  }
}
inline void write_base3(const std::uint8_t* codes, int n_bytes, int n_digits, std::uint8_t* bytes) noexcept {
  for (int m = 0; m < n_bytes; ++m) bytes[m] = base3_byte(codes + m, n_bytes, n_digits);
}

}  // namespace rowmax::engine::quant
