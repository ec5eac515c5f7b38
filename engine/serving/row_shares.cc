#include "engine/serving/row_shares.h"

#include <algorithm>
#include <cstddef>

namespace rowmax::engine {

std::vector<std::int64_t> share_rows(std::span<const RowWish> wishes, std::int64_t step_rows) {
  std::vector<std::int64_t> rows(wishes.size());
  std::vector<std::size_t> prompts;
  std::int64_t steady = 0;
  for (std::size_t i = 0; i < wishes.size(); ++i) {
    if (wishes[i].steady) {
      steady += rows[i] = wishes[i].missing;
    } else {
      prompts.push_back(i);
    }
  }
  if (prompts.empty()) return rows;
  std::int64_t room = std::max({step_rows - steady, step_rows / 8, std::int64_t{1}});
  const auto wanted = [&](std::size_t i) { return std::min(wishes[i].missing, wishes[i].at_most) - rows[i]; };
  const auto give = [&](std::size_t i, std::int64_t n) {
    n = std::min(n, wanted(i));
    rows[i] += n;
    room -= n;
  };
  const std::int64_t others = std::ssize(prompts) - 1;
  const std::int64_t each = others > 0 ? std::max<std::int64_t>(1, room / 2 / others) : 0;
  for (const std::size_t i : prompts) give(i, i == prompts.front() ? std::max<std::int64_t>(1, room - room / 2) : each);
  for (const std::size_t i : prompts) {
    if (room > 0) give(i, room);
  }
  return rows;
}

}  // namespace rowmax::engine
