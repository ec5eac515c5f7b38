// Digests of bytes, as files and their names hold them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace rowmax::base {

// XXH64 (Yann Collet's xxHash): several bytes a cycle. Finds damage; nobody is kept from writing what has a given sum.
std::uint64_t xxh64(std::span<const std::byte> bytes, std::uint64_t seed = 0) noexcept;

// SHA-256 (FIPS 180-4): nobody knows two texts with the same one.
class Sha256 {
 public:
  using Digest = std::array<std::uint8_t, 32>;

  void add(std::span<const std::byte> bytes) noexcept;
  void add(std::string_view text) noexcept { add(std::as_bytes(std::span(text.data(), text.size()))); }
  // Of a text that others follow: with its length before it.
  void add_field(std::string_view text) noexcept;
  void add_number(std::uint64_t number) noexcept;
  // Of everything that was added; nothing may follow.
  Digest digest() noexcept;

 private:
  void compress(const std::uint8_t* block) noexcept;

  std::array<std::uint32_t, 8> state_ = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                                         0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};
  std::array<std::uint8_t, 64> block_ = {};
  std::size_t filled_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace rowmax::base
