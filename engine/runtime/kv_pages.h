// Which pages of a sequence a group of layers with one window needs. window 0: none.
#pragma once

#include <algorithm>
#include <cstdint>

#include "rowmax/kv.h"

namespace rowmax::engine {

constexpr std::int64_t pages_of(std::int64_t n_tokens) noexcept { return (n_tokens + kKeyTile - 1) / kKeyTile; }

// The first page of which a token at `position` sees something.
constexpr std::int64_t first_page_seen(std::int64_t window, std::int64_t position) noexcept {
  return window == 0 ? 0 : std::max<std::int64_t>(0, position - window + 1) / kKeyTile;
}

// How many pages of n_pages a run of n_rows tokens and what they see lie in, at most.
constexpr std::int64_t pages_at_once(std::int64_t window, std::int64_t n_rows, std::int64_t n_pages) noexcept {
  if (window == 0) return n_pages;
  // A run of positions touches one page, and another for each edge that lies within it.
  return std::min(n_pages, (window - 1 + n_rows + kKeyTile - 2) / kKeyTile + 1);
}

}  // namespace rowmax::engine
