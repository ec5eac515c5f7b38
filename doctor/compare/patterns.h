// What a difference looks like: the same numbers scaled, permuted, shifted, ...
#pragma once

#include <cstdint>
#include <string>

#include "rowmax/doctor/compare.h"

namespace rowmax::doctor {

struct Pattern {
  std::string text;  // "scaled by 0.125"; where nothing fits: "no simple pattern (cosine 0.83)"
  bool found = false;
  double scale = 0;     // of "scaled", else 0
  double residual = 0;  // relative L2 with it undone
};

// ours and theirs have the same rows and width. n_head: runs that a row consists of (1: one). A pattern is found where it
// leaves at most a tenth of the difference and less than tolerance * 10.
Pattern find_pattern(const StageValues& ours, const StageValues& theirs, std::int64_t n_head, double tolerance);

}  // namespace rowmax::doctor
