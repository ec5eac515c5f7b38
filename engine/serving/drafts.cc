#include "rowmax/engine/drafts.h"

#include <cstddef>
#include <string>

#include "base/guarded.h"

namespace rowmax::engine {
namespace {

// How many of the tokens before `end` are the last ones, at most n.
std::int64_t matched(std::span<const TokenId> tokens, std::int64_t end, std::int64_t n) {
  std::int64_t length = 0;
  const auto token = [&](std::int64_t i) { return tokens[static_cast<std::size_t>(i)]; };
  while (length < n && length < end && token(end - 1 - length) == token(std::ssize(tokens) - 1 - length)) ++length;
  return length;
}

std::vector<TokenId> look_up(std::span<const TokenId> tokens, int n_min, int n_max, std::int64_t at_most) {
  std::int64_t longest = n_min - 1, found = 0;
  for (std::int64_t end = std::ssize(tokens) - 1; end >= n_min && longest < n_max; --end) {
    const std::int64_t length = matched(tokens, end, n_max);
    if (length > longest) {
      longest = length;
      found = end;
    }
  }
  if (longest < n_min) return {};
  // Where the match is close, what lies between repeats itself: so does the guess.
  const auto after = tokens.subspan(static_cast<std::size_t>(found));
  std::vector<TokenId> guesses;
  for (std::size_t i = 0; std::ssize(guesses) < at_most; ++i) guesses.push_back(after[i % after.size()]);
  return guesses;
}

}  // namespace

Result<DraftFunction> ngram_drafts(int n_min, int n_max, int max_draft) {
  return base::guarded([&]() -> Result<DraftFunction> {
    if (n_min < 1 || n_max < n_min) {
      return Error::invalid_argument("n_min, n_max: expected 1 <= n_min <= n_max, found " + std::to_string(n_min) +
                                     " and " + std::to_string(n_max));
    }
    if (max_draft < 1 || max_draft > DraftLength::kMost) {
      return Error::invalid_argument("max_draft: expected 1 to " + std::to_string(DraftLength::kMost) + ", found " +
                                     std::to_string(max_draft));
    }
    return DraftFunction([=](std::span<const TokenId> tokens, std::int64_t at_most) {
      return look_up(tokens, n_min, n_max, std::min<std::int64_t>(at_most, max_draft));
    });
  });
}

}  // namespace rowmax::engine
