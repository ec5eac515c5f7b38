// What lies in a folder.
#pragma once

#include <string>
#include <vector>

namespace rowmax::base {

// The names in a folder ("" is the current one), without "." and "..", in no order; none where it cannot be read.
// Throws std::bad_alloc. (std::filesystem's iterators of libstdc++ 12 end the program where memory is short.)
std::vector<std::string> names_in_folder(const std::string& folder);

}  // namespace rowmax::base
