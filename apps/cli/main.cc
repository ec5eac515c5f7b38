// The rowmax command: parses flags, calls one command body, turns its error into an exit code.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <string>

#include "apps/cli/command.h"
#include "apps/cli/interrupt.h"
#include "apps/cli/json_output.h"
#include "apps/cli/terminal.h"
#include "rowmax/cpu.h"
#include "rowmax/engine/gguf.h"

namespace rowmax::cli {
namespace {

constexpr Command kCommands[] = {
    {"run", "Write text from a prompt", declare_run},
    {"chat", "Talk with a model", declare_chat},
    {"pull", "Fetch a model and check it", declare_pull},
    {"inspect", "Show what is in a model file and what rowmax makes of it", declare_inspect},
    {"tokenize", "Turn text into token ids", declare_tokenize},
    {"score", "Perplexity of a text", declare_score},
    {"convert", "Make a GGUF file from a Hugging Face folder", declare_convert},
    {"quantize", "Write a GGUF file's matrices in other types", declare_quantize},
    {"bench", "Measure prompt and generation speed", declare_bench},
};

constexpr const char* kFooter = R"(
Every flag --some-flag can also be set as the variable ROWMAX_SOME_FLAG; the flag wins.
Colour only on a terminal and without NO_COLOR. Results go to standard output, everything else to standard error.

Exit codes: 0 done, 1 a bug in rowmax, 2 wrong usage, 3 broken file, 4 unsupported, 5 limit exceeded,
6 not-a-number in the model's output, 7 input/output or network, 8 not found, 9 out of memory, 130 interrupted.

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
              printable(cpu_name()).c_str());
  return flush_output().ok() ? 0 : static_cast<int>(ExitCode::kIo);
}

int usage_error(const CLI::App& app, const CLI::ParseError& problem) {
  std::string command = "rowmax";
  for (const CLI::App* chosen : app.get_subcommands()) command += " " + chosen->get_name();
  error(std::string(problem.what()) + "; see " + command + " --help");
  return static_cast<int>(ExitCode::kUsage);
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
  CLI::App app("Runs GGUF language models on the CPU; the same bits on every machine, at any number of threads.",
               "rowmax");
  bool version = false;
  CommandBody chosen;
  app.add_flag("-V,--version", version, "Print the version, and the instruction set in use, and exit");
  app.footer(kFooter);
  app.require_subcommand(0, 1);
  for (const Command& command : kCommands) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    CommandBody body = command.declare(*sub);
    // With this kind of callback CLI11 reads the variables of the chosen command alone.
    sub->parse_complete_callback([&chosen, body] { chosen = body; });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& problem) {
    return usage_error(app, problem);
  }
  if (version) return print_version();
  if (!chosen) {
    std::fputs(app.help().c_str(), stderr);
    return static_cast<int>(ExitCode::kUsage);
  }
  catch_interrupts();
  if (const Status guarded = engine::guard_mapped_files(); !guarded.ok()) note(guarded.error().message);
  return execute(chosen);
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
