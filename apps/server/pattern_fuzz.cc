// libFuzzer: any bytes as a rule and a text: an error that says why not, or matches that lie in the text, in order, none of
// them empty.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "apps/server/normalise.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace rowmax::server;
  if (size > 2000) return 0;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const std::size_t middle = std::min(all.find('\0'), all.size());
  const auto rule = NormaliseRule::parse(all.substr(0, middle));
  if (!rule.ok() && rule.error().message.empty()) std::abort();
  const auto pattern = Pattern::parse(all.substr(0, middle));
  if (!pattern.ok()) return 0;
  const std::string_view text = all.substr(middle);
  std::size_t at = 0;
  std::uint64_t steps = 10'000'000;
  const auto found = pattern->find_all(text, steps);
  if (!found) return 0;
  for (const Pattern::Match& match : *found) {
    if (match.begin < at || match.end <= match.begin || match.end > text.size()) std::abort();
    at = match.end;
  }
  return 0;
}
