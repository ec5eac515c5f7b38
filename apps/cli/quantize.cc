// rowmax quantize: a GGUF file in other types.
#include <memory>

#include "apps/cli/command.h"
#include "apps/cli/convert_report.h"

namespace rowmax::cli {
namespace {

std::string footer() {
  std::string text = "\nTypes:";
  for (const std::string_view type : engine::writable_types()) text += " " + std::string(type);
  text += R"(

Examples:
  rowmax quantize model-f16.gguf model-q4_k.gguf Q4_K
  rowmax quantize in.gguf out.gguf Q4_0 --tensor 'ffn_down=Q6_K' --tensor 'blk\.[01]\.=Q8_0' --output-type Q8_0
  rowmax quantize in.gguf out.gguf Q8_0 --json | jq '.tensors[] | select(.rms_error > 0.01)'
The table says for each tensor what was lost: the error's root mean square over that of the weights, and the largest
error over the largest weight.
)";
  return text;
}

}  // namespace

CommandBody declare_quantize(CLI::App& app) {
  auto flags = std::make_shared<ConvertFlags>();
  app.add_option("input", flags->input, "GGUF file to read")->type_name("IN.gguf")->required();
  app.add_option("output", flags->output, "GGUF file to write")->type_name("OUT.gguf")->required();
  app.add_option("type", flags->type, "type of the matrices")->type_name("TYPE")->required();
  add_convert_flags(app, *flags);
  app.footer(footer());
  return [flags] { return run_converter(*flags, engine::quantize_gguf); };
}

}  // namespace rowmax::cli
