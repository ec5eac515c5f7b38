// Any bytes as a template, rendered over a small conversation: no crash, no hang, and the pieces make up the text.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "rowmax/engine/chat_template.h"

using rowmax::engine::ChatTemplate;
using rowmax::engine::TemplateLimits;
using rowmax::engine::TemplateValue;

static TemplateValue message(const char* role, const char* content) {
  return TemplateValue::make_dict({{"role", TemplateValue::of(role)}, {"content", TemplateValue::of(content)}});
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const TemplateValue globals = TemplateValue::make_dict(
      {{"messages", TemplateValue::make_list({message("system", "s\xC3\xA9"), message("user", " u\n<|x|> ")})},
       {"tools",
        TemplateValue::make_list({TemplateValue::make_dict(
            {{"n", TemplateValue::of(std::int64_t{-3})}, {"f", TemplateValue::of(0.5)}, {"z", TemplateValue()}})})},
       {"bos_token", TemplateValue::of("<s>")},
       {"add_generation_prompt", TemplateValue::of(true)}});
  TemplateLimits limits;
  limits.max_steps = 20'000;
  limits.max_output_bytes = 1 << 16;
  limits.max_depth = 60;
  const auto parsed = ChatTemplate::parse(std::string_view(reinterpret_cast<const char*>(data), size), limits);
  if (!parsed.ok()) return 0;
  const auto text = parsed->render(globals, 1'751'605'567);
  const auto pieces = parsed->render_pieces(globals, 1'751'605'567);
  if (text.ok() != pieces.ok()) std::abort();
  if (!text.ok()) return 0;
  std::string joined;
  for (const auto& piece : *pieces) joined += piece.text;
  if (joined != *text) std::abort();
  return 0;
}
