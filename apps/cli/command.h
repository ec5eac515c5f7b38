// A subcommand: how its flags are declared, and what it does. One row a command in commands.cc.
#pragma once

#include <functional>
#include <span>

#include "apps/cli/exit_code.h"
#include "apps/cli/flags.h"
#include "rowmax/result.h"

namespace rowmax::cli {

// Prints its result itself; an Error is printed by main, which turns it into an exit code.
using CommandBody = std::function<Result<ExitCode>()>;

struct Command {
  const char* name;
  const char* summary;
  // Puts the flags into the table and returns the body, which reads them after parsing.
  CommandBody (*declare)(Flags& table);
};

// In the order of the help.
std::span<const Command> all_commands();

CommandBody declare_run(Flags& table);
CommandBody declare_chat(Flags& table);
CommandBody declare_inspect(Flags& table);
CommandBody declare_tokenize(Flags& table);
CommandBody declare_score(Flags& table);
CommandBody declare_serve(Flags& table);
CommandBody declare_audit(Flags& table);
CommandBody declare_embed(Flags& table);
CommandBody declare_bench(Flags& table);
CommandBody declare_pull(Flags& table);
CommandBody declare_compare(Flags& table);
CommandBody declare_dump(Flags& table);
CommandBody declare_trace(Flags& table);
CommandBody declare_doctor(Flags& table);
CommandBody declare_quantize(Flags& table);
CommandBody declare_convert(Flags& table);
CommandBody declare_receipt(Flags& table);
CommandBody declare_verify_receipt(Flags& table);

}  // namespace rowmax::cli
