// The rowmax command: parses flags, calls one command body, turns its error into an exit code.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <map>
#include <new>
#include <string>

#include "apps/cli/command.h"
#include "apps/cli/command_line.h"
#include "apps/cli/interrupt.h"
#include "apps/cli/json_output.h"
#include "apps/cli/terminal.h"
#include "rowmax/cpu.h"
#include "rowmax/engine/gguf.h"

namespace rowmax::cli {
namespace {

constexpr const char* kFooter = R"(
Every flag --some-flag can also be set as the variable ROWMAX_SOME_FLAG; the flag wins. The variable of a flag that may be
given several times has one value a line.
Colour only on a terminal and without NO_COLOR. Results go to standard output, everything else to standard error.

Exit codes: 0 done, 1 a bug in rowmax, 2 wrong usage, 3 broken file, 4 unsupported, 5 limit exceeded,
6 not-a-number in the model's output, 7 input/output or network, 8 not found, 9 out of memory,
10 found to be faulty or to differ, 11 inconclusive, 130 interrupted.

Start here:
  rowmax run                       tells a story, offline
  rowmax pull smollm2              fetches a small model that answers and talks
  rowmax run -m smollm2 "Why is the sky blue?"
  rowmax chat
)";

int print_version() {
  std::printf("rowmax %s\n", ROWMAX_VERSION);
  const auto isa = default_isa();
  if (!isa.ok()) {
    error(isa.error().message);
    return static_cast<int>(exit_code(isa.error().code));
  }
  std::string supported;
  for (const Isa each : supported_isas()) supported += " " + std::string(isa_name(each));
  std::printf("instruction set %s (this machine:%s)\n%s\n", std::string(isa_name(*isa)).c_str(), supported.c_str(),
              shown(cpu_name(), STDOUT_FILENO).c_str());
  return flush_output().ok() ? 0 : static_cast<int>(ExitCode::kIo);
}

int execute(const CommandBody& body) {
  Result<ExitCode> result = body();
  if (result.ok()) {
    const Status flushed = flush_output();
    if (flushed.ok()) return static_cast<int>(*result);
    result = flushed.error();
  }
  error(result.error().message);
  return static_cast<int>(exit_code(result.error().code));
}

int run_main(int argc, char** argv) {
  CommandLine line("Runs GGUF language models on the CPU; the same bits on every machine, at any number of threads.",
                   kFooter);
  std::map<std::string, CommandBody> bodies;
  for (const Command& command : all_commands()) {
    bodies[command.name] = command.declare(line.add_command(command.name, command.summary));
  }
  const auto parsed = line.parse({argv + 1, argv + std::max(argc, 1)});
  if (!parsed.ok()) {
    error(parsed.error().message);
    return static_cast<int>(ExitCode::kUsage);
  }
  if (!parsed->help.empty()) {
    std::fputs(parsed->help.c_str(), stdout);
    return flush_output().ok() ? 0 : static_cast<int>(ExitCode::kIo);
  }
  if (parsed->version) return print_version();
  if (parsed->command.empty()) {
    std::fputs(line.help().c_str(), stderr);
    return static_cast<int>(ExitCode::kUsage);
  }
  catch_interrupts();
  if (const Status guarded = engine::guard_mapped_files(); !guarded.ok()) note(guarded.error().message);
  return execute(bodies[parsed->command]);
}

}  // namespace
}  // namespace rowmax::cli

int main(int argc, char** argv) {
  try {
    return rowmax::cli::run_main(argc, argv);
  } catch (const std::bad_alloc&) {
    rowmax::cli::error("out of memory");
    return static_cast<int>(rowmax::cli::ExitCode::kOutOfMemory);
  } catch (const std::exception& problem) {
    rowmax::cli::error(std::string("internal error: ") + problem.what());
    return static_cast<int>(rowmax::cli::ExitCode::kInternal);
  }
}
