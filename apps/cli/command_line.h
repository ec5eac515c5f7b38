// The command line as a whole: which command, its flags, its help.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "apps/cli/flags.h"
#include "rowmax/result.h"

namespace rowmax::cli {

struct CommandEntry {
  std::string name, summary;
  Flags flags;
};

struct ParsedLine {
  std::string command;  // empty: none was named
  std::string help;     // what to print, and do nothing else; empty: no help was asked for
  bool version = false;
};

class CommandLine {
 public:
  CommandLine(std::string summary, std::string footer);
  // Its flags are to be added before parse(). The reference stays valid.
  Flags& add_command(std::string name, std::string summary);
  // Of the words behind the program's name. Fills the targets of the chosen command's flags, from its variables where
  // the line does not name them. kInvalidArgument, with the command whose --help shows how it is meant.
  Result<ParsedLine> parse(std::vector<std::string> words) const;
  // The overview of all commands.
  std::string help() const;

 private:
  std::string summary_, footer_;
  std::deque<CommandEntry> commands_;
};

}  // namespace rowmax::cli
