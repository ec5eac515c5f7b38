// A subcommand: how its flags are declared, and what it does. One row a command in main.cc.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "apps/cli/exit_code.h"
#include "rowmax/result.h"

namespace rowmax::cli {

// Prints its result itself; an Error is printed by main, which turns it into an exit code.
using CommandBody = std::function<Result<ExitCode>()>;

struct Command {
  const char* name;
  const char* summary;
  // Declares the flags on `app` and returns the body, which reads them after parsing.
  CommandBody (*declare)(CLI::App& app);
};

CommandBody declare_run(CLI::App& app);
CommandBody declare_chat(CLI::App& app);
CommandBody declare_inspect(CLI::App& app);
CommandBody declare_tokenize(CLI::App& app);
CommandBody declare_score(CLI::App& app);
CommandBody declare_bench(CLI::App& app);
CommandBody declare_pull(CLI::App& app);
CommandBody declare_quantize(CLI::App& app);
CommandBody declare_convert(CLI::App& app);

}  // namespace rowmax::cli
