// Another program, run to its end.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rowmax/result.h"

namespace rowmax::store {

struct ChildOptions {
  std::vector<std::string> arguments;              // the program's name first, found as find_program does
  std::function<bool(std::string_view)> inherits;  // whether it gets our variable of this name; empty: all of them
  std::vector<std::pair<std::string, std::string>> variables;  // set for the child besides
  std::string folder;                                          // its working directory
  std::string log;             // gets its standard output and error; replaced where it is there
  std::function<bool()> tick;  // called about ten times a second; false ends the child
};

// The exit status, 128 + signal for a killed child. kNotFound when there is no such program, kCancelled where
// `tick` said false. The child leads a process group of its own, of which nothing is left afterwards, and is
// killed when the calling thread ends, however that comes about.
Result<int> run_child(const ChildOptions& options);

// The file that PATH has for the name. Entries that are not absolute are passed over: what lies in the current folder
// is not meant. kNotFound.
Result<std::string> find_program(const std::string& name);

}  // namespace rowmax::store
