// What lies in a folder, and below it.
#pragma once

#include <string>
#include <vector>

namespace rowmax::store {

// (std::filesystem's iterators of libstdc++ 12 end the program where memory is short.)

// The names in a folder, without "." and "..", in no order; none where it cannot be read.
std::vector<std::string> names_in(const std::string& folder);

// Paths of all regular files (and links to them), with the folder's own path in front; in no order. Folders deeper than
// 16 levels and ones that cannot be read are left out.
std::vector<std::string> files_below(const std::string& folder);

}  // namespace rowmax::store
