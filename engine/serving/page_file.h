// What a file of a disk cache holds: a head that its reader can write himself, the parts of a page, and a sum of all of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/digests.h"
#include "engine/serving/disk_folder.h"
#include "rowmax/engine/session.h"

namespace rowmax::engine {

// Of all that numbers depend on: the version, the bytes of the tensors, metadata, edits, types, the pages' layout.
base::Sha256::Digest numbers_digest(const Session& session, const SessionOptions& options, std::string_view version);

using PageKey = std::array<std::uint8_t, 24>;
// Of a page's tokens and all before them: `before` is the key of the page before it, or that of no tokens.
PageKey first_key(const base::Sha256::Digest& numbers) noexcept;
PageKey next_key(const PageKey& before, std::span<const TokenId> tokens) noexcept;

struct PageFile {
  static constexpr std::size_t kHeadBytes = 8 + 4 + 4 + 32 + 24 + 8 + kPrefixPageTokens * sizeof(TokenId);
  static constexpr std::size_t kSumBytes = 8;
  static std::size_t bytes(std::size_t payload) noexcept { return kHeadBytes + payload + kSumBytes; }

  // Nothing of a file is taken at its word: the head is compared with this one.
  static void write_head(std::span<std::byte> file, const base::Sha256::Digest& numbers, const PageName& name,
                         std::span<const TokenId> tokens) noexcept;
  static std::span<std::byte> payload(std::span<std::byte> file) noexcept {
    return file.subspan(kHeadBytes, file.size() - kHeadBytes - kSumBytes);
  }
  static void write_sum(std::span<std::byte> file) noexcept;
  // nullptr where the file is what it should be; what is wrong with it.
  static const char* fault(std::span<const std::byte> file, const base::Sha256::Digest& numbers, const PageName& name,
                           std::span<const TokenId> tokens) noexcept;
};

}  // namespace rowmax::engine
