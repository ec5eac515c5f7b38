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
  rowmax quantize in.gguf out.gguf Q4_K --split-max-size 2G      # out-00001-of-0000N.gguf and so on
  rowmax quantize in.gguf out.gguf Q8_0 --json | jq '.tensors[] | select(.rms_error > 0.01)'
The table says for each type (--table: each tensor) what was lost: the error's root mean square over that of the weights, and the largest
error over the largest weight.
)";
  return text;
}

}  // namespace

CommandBody declare_quantize(Flags& table) {
  auto flags = std::make_shared<ConvertFlags>();
  table.add_word("input", flags->input, "GGUF file to read").type("IN.gguf").must_be_given();
  table.add_word("output", flags->output, "GGUF file to write").type("OUT.gguf").must_be_given();
  table.add_word("type", flags->type, "type of the matrices").type("TYPE").must_be_given();
  add_convert_flags(table, *flags);
  table.set_examples(footer());
  return [flags] { return run_converter(*flags, engine::quantize_gguf); };
}

}  // namespace rowmax::cli
