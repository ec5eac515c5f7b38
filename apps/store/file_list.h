// The files below a folder.
#pragma once

#include <string>
#include <vector>

namespace rowmax::store {

// Paths of all regular files (and links to them), with the folder's own path in front; in no order. Folders deeper than
// 16 levels and ones that cannot be read are left out. (std::filesystem::recursive_directory_iterator of libstdc++ 12
// ends the program where memory is short.)
std::vector<std::string> files_below(const std::string& folder);

}  // namespace rowmax::store
