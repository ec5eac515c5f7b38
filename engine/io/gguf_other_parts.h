// The parts of an earlier split model of the same name that lie beside a new one in another number of files: nobody
// could tell which of the two a name means.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/result.h"

namespace rowmax::engine {

struct OtherParts {
  // PREFIX-0000I-of-0000M.gguf, M not the new count: regular files that say themselves to be part I of M (split.no,
  // split.count). Sorted.
  std::vector<std::string> parts;
  // Files with such a name that do not say so, links among them: not ours to judge.
  std::vector<std::string> unlike;
};
// In the folder of prefix. What cannot be read counts as unlike.
OtherParts find_other_parts(std::string_view prefix, std::uint64_t count);

// Removes one of `parts`, unless it is another file now. kIo.
Status remove_other_part(const std::string& path);

}  // namespace rowmax::engine
