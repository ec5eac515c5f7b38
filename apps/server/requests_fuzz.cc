// libFuzzer: any bytes as the body of a request give values for a template and a sampler, or an error that says why not.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "apps/server/generation_input.h"
#include "apps/server/template_values.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace rowmax::server;
  const auto document =
      rowmax::engine::parse_json({reinterpret_cast<const char*>(data), size}, "fuzz", {.depth = 64, .values = 4096});
  if (!document.ok()) return 0;
  Fields sampling(document->root());
  read_sampling(sampling, {}, 1000);
  read_stop(sampling, "stop");
  Fields chat(document->root());
  const auto input = read_chat(chat);
  for (const Fields* fields : {&sampling, &chat}) {
    if (!fields->ok() && (fields->error().message.empty() || fields->error().status != 400)) std::abort();
  }
  if (chat.ok() && input.messages.list.empty()) std::abort();
  return 0;
}
