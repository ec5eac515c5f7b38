// rowmax convert: a Hugging Face folder, or a GGUF file, to a GGUF file.
#include <filesystem>
#include <memory>
#include <system_error>

#include "apps/cli/command.h"
#include "apps/cli/convert_report.h"

namespace rowmax::cli {
namespace {

constexpr const char* kFooter = R"(
A folder holds config.json, model.safetensors (or its shards and their index), tokenizer.json and, where they exist,
tokenizer_config.json, special_tokens_map.json, generation_config.json and chat_template.jinja. Llama, SmolLM2, Mistral, Qwen 2, 2.5 and 3,
Gemma 2 and 3 (text), Phi 3 and 4 (mini), BitNet b1.58, Falcon-E and Falcon3-1.58bit (master weights or packed), BitNet's
embedding models.

Examples:
  rowmax convert SmolLM2-135M-Instruct smollm2-q8_0.gguf --type Q8_0
  rowmax convert bitnet-b1.58-2B-4T-bf16 bitnet.gguf
  rowmax convert Falcon-E-1B-Instruct-prequantized falcon-e.gguf --master-weights
  rowmax convert model-f16.gguf model-q4_k.gguf --type Q4_K
)";

Result<ExitCode> convert(const ConvertFlags& flags) {
  std::error_code ignored;
  if (std::filesystem::is_directory(flags.input, ignored)) return run_converter(flags, engine::convert_folder);
  if (!flags.ignored_fields.empty()) {
    return Error{ErrorCode::kInvalidArgument, "--ignore-field: a GGUF file has none; expected a Hugging Face folder"};
  }
  if (flags.master_weights) {
    return Error{ErrorCode::kInvalidArgument, "--master-weights: expected a Hugging Face folder, found a GGUF file"};
  }
  if (flags.type.empty()) {
    return Error{ErrorCode::kInvalidArgument, "--type: from a GGUF file the type must be given"};
  }
  return run_converter(flags, engine::quantize_gguf);
}

}  // namespace

CommandBody declare_convert(Flags& table) {
  auto flags = std::make_shared<ConvertFlags>();
  table.add_word("input", flags->input, "Hugging Face folder, or GGUF file").type("DIR|IN.gguf").must_be_given();
  table.add_word("output", flags->output, "GGUF file to write").type("OUT.gguf").must_be_given();
  table.add("--type", flags->type, "type of the matrices; default: as the folder's, ternary ones I2_S").type("TYPE");
  table.add("--pre", flags->pre, "pre-tokenizer where the folder's is unknown").type("NAME");
  table
      .add(
          "--ignore-field", flags->ignored_fields,
          "convert without a field of the folder's JSON files that rowmax would otherwise refuse; may be given several "
          "times")
      .type("FILE:FIELD");
  table.add_switch(
      "--master-weights", flags->master_weights,
      "the folder's float matrices are those that a ternary model (BitNet b1.58) was trained with, though its "
      "configuration does not say so: round them as it does");
  table
      .add("--hadamard", flags->hadamard_block,
           "store the matrices turned by Hadamard matrices of this size (prism.hadamard, version 1)")
      .type("BLOCK");
  add_convert_flags(table, *flags);
  table.set_examples(kFooter);
  return [flags] { return convert(*flags); };
}

}  // namespace rowmax::cli
