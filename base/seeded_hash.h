// Hashes for tables whose keys a file chooses: keyed with numbers that are drawn once a process, so that nobody can write
// a file whose keys all meet in one place. No result may depend on the order of such a table.
#pragma once

#include <cstdint>
#include <string_view>

namespace rowmax::base {

// SipHash-1-3 (Aumasson and Bernstein, 2012; one and three rounds, as Rust and Python use it).
std::uint64_t seeded_hash(std::string_view text) noexcept;
std::uint64_t seeded_hash(std::uint64_t number) noexcept;

// SipHash-1-3 with a key of the caller's, for tests against the published algorithm.
std::uint64_t siphash13(std::uint64_t key0, std::uint64_t key1, std::string_view text) noexcept;

}  // namespace rowmax::base
