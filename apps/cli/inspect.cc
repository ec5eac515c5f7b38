// rowmax inspect: what is in a file, and what the engine would do with it, each fact with its source.
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "apps/cli/command.h"
#include "apps/cli/engine_setup.h"
#include "apps/cli/inspect_report.h"
#include "apps/cli/kernel_list.h"
#include "apps/cli/terminal.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

constexpr const char* kInspectExamples = R"(
Examples:
  rowmax inspect                    the story model in the program
  rowmax inspect -m model.gguf
  rowmax inspect model.gguf --all | less
  rowmax inspect model.gguf --json | jq .model.facts
The exit code is 0 where the model can be run; otherwise it names the reason, and what the file holds is shown anyway.
)";

struct InspectFlags {
  EngineFlags engine;
  std::string path;
  bool all = false, json = false;
};

Result<ExitCode> inspect(const InspectFlags& flags) {
  auto kernels = kernels_to_use(flags.engine);
  // A wrong name is wrong usage; what this machine cannot run is part of the report.
  if (!kernels.ok() && kernels.error().code == ErrorCode::kInvalidArgument) return std::move(kernels).error();
  Result<engine::KernelVariant> variant =
      kernels.ok() ? Result(std::move(kernels->variant)) : std::move(kernels).error();
  EngineFlags engine = flags.engine;
  if (!flags.path.empty()) engine.model = flags.path;
  ROWMAX_TRY(setup, open_tokenizer(engine));
  ROWMAX_TRY(edits, conventions(engine));
  ROWMAX_TRY(inspection, inspect_file(setup.file, setup.options, edits, std::move(variant)));
  if (flags.json) {
    ROWMAX_RETURN_IF_ERROR(print_json(inspection_json(inspection)));
  } else {
    const std::string text = inspection_text(inspection, flags.all);
    std::fwrite(text.data(), 1, text.size(), stdout);
  }
  // The report is whole; what makes the exit code is said where errors are looked for too.
  if (const Error* problem = inspection.first_error()) {
    ROWMAX_RETURN_IF_ERROR(flush_output());
    error(problem->message);
    return exit_code(problem->code);
  }
  return ExitCode::kOk;
}

}  // namespace

CommandBody declare_inspect(Flags& table) {
  auto flags = std::make_shared<InspectFlags>();
  table.add_word("path", flags->path, "in place of -m").type("PATH|NAME").not_empty();
  add_model_flag(table, flags->engine);
  table.apart("path", {"--model"});
  add_kernel_flags(table, flags->engine);
  table.add_switch("-a,--all", flags->all, "every tensor and whole lists; layers that are alike are folded otherwise");
  table.add_switch("--json", flags->json, "print one JSON object");
  table.set_examples(kInspectExamples);
  return [flags] { return lists_kernels(flags->engine) ? list_kernels(flags->json) : inspect(*flags); };
}

}  // namespace rowmax::cli
