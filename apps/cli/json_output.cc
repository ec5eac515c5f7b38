#include "apps/cli/json_output.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace rowmax::cli {

Status print_json(const Json& object) {
  const std::string text = object.dump() + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);
  return flush_output();
}

Status flush_output() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return Error{ErrorCode::kIo, std::string("cannot write to standard output: ") + std::strerror(errno)};
  }
  return {};
}

}  // namespace rowmax::cli
