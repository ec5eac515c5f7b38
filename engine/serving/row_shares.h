// How the rows of a step are shared among what runs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace rowmax::engine {

struct RowWish {
  bool steady = false;       // it generates: all that it misses is computed in each step
  std::int64_t missing = 0;  // rows until its next result, 1 or more
  std::int64_t at_most = 0;  // that it takes in one step, 1 or more; of one that is not steady
};

// One number for each, 1 or more; the oldest comes first. What is steady gets what it misses. Of what is left of
// step_rows, an eighth of it at least, the oldest prompt gets one half and the others the other, in equal parts; what a
// prompt does not need goes to the others, the oldest first.
std::vector<std::int64_t> share_rows(std::span<const RowWish> wishes, std::int64_t step_rows);

}  // namespace rowmax::engine
