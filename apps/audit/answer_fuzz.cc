// libFuzzer: any bytes as a server's answer, or as a file of --against, are read or refused; what was read differs from
// itself in nothing.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "apps/audit/answer.h"
#include "apps/audit/saved.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace rowmax::audit;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto answers = read_answers(bytes, "fuzz");
  if (answers.ok()) {
    for (const Answer& each : *answers) {
      if (difference(each, each)) std::abort();
      const auto found = difference((*answers)[0], each);
      if (found && found->at_token && !found->first_logprob && !found->second_logprob) std::abort();
    }
  } else if (answers.error().message.empty()) {
    std::abort();
  }
  const auto saved = read_saved(bytes, "fuzz");
  if (saved.ok() && !read_saved(to_json(*saved).dump(), "again").ok()) std::abort();
  return 0;
}
