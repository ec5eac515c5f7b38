// Another program, run to its end.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "rowmax/result.h"

namespace rowmax::cli {

struct ChildOptions {
  std::vector<std::string> arguments;                          // the program's name first, found through PATH
  std::vector<std::pair<std::string, std::string>> variables;  // set for the child in addition to ours
  std::string log;                                             // file that gets its standard output and error
  std::function<void()> tick;                                  // called about ten times a second
};

// The exit status, 128 + signal for a killed child. kNotFound when there is no such program, kCancelled after Ctrl-C
// (the child is ended then).
Result<int> run_child(const ChildOptions& options);

}  // namespace rowmax::cli
