#include "apps/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <set>
#include <sstream>

#include "apps/cli/nearest.h"

namespace rowmax::cli {
namespace {

CLI::Option* add_flag(CLI::App& app, const Flag& flag) {
  const std::string help = flag.told_apart || (flag.is_list() && !flag.variable.empty())
                               ? flag.help + " (Env:" + flag.variable + ")"
                               : flag.help;
  if (flag.is_switch()) return app.add_flag(flag.names, *std::get<bool*>(flag.target), help)->take_last();
  const auto fill = [&flag](const CLI::results_t& values) {
    if (flag.is_list()) std::get<std::vector<std::string>*>(flag.target)->clear();
    return std::all_of(values.begin(), values.end(), [&](const std::string& text) { return flag.read(text).empty(); });
  };
  CLI::Option* option = app.add_option(flag.names, fill, help);
  option->type_name(flag.type_name);
  if (!flag.default_text.empty()) option->default_str(flag.default_text);
  if (flag.is_list()) {
    option->expected(1, CLI::detail::expected_max_vector_size)->allow_extra_args(flag.positional);
  } else {
    option->take_last();
  }
  return option;
}

void declare(CLI::App& app, const Flags& flags) {
  for (const Flag& flag : flags.table()) {
    CLI::Option* option = add_flag(app, flag);
    // No name of its own: the help has the type's.
    option->check(CLI::Validator([&flag](std::string& text) { return flag.complaint(text); }, ""));
    if (flag.required) option->required();
  }
  app.footer(flags.examples());
}

// The help shows what the library believes to be its own to read. It is read here: the library would not tell it from a flag.
void show_variables(CLI::App& app, const Flags& flags) {
  for (const Flag& flag : flags.table()) {
    if (!flag.told_apart && !flag.is_list() && !flag.variable.empty()) {
      app.get_option(flag.name())->envname(flag.variable);
    }
  }
}

// The one that stands for the flag where the line does not name it; "": none.
std::string variable_of(const Flag& flag) {
  const char* variable = flag.variable.empty() ? nullptr : std::getenv(flag.variable.c_str());
  return variable == nullptr ? "" : variable;
}

// Whether the line has what a rule speaks of: "--name", or "--name=value".
bool in_line(const CLI::App& app, const Flags& flags, const std::string& what) {
  const std::size_t equals = what.find('=');
  const Flag& flag = *flags.find(what.substr(0, equals));
  if (app.count(flag.name()) == 0) return false;
  if (flag.is_switch()) return *std::get<bool*>(flag.target);
  return equals == std::string::npos ? !flag.value().empty() : flag.value() == what.substr(equals + 1);
}

// Whether a variable says it.
bool in_variable(const CLI::App& app, const Flags& flags, const std::string& what) {
  const std::size_t equals = what.find('=');
  const Flag& flag = *flags.find(what.substr(0, equals));
  const std::string variable = variable_of(flag);
  if ((app.count(flag.name()) > 0 && !flag.value().empty()) || variable.empty()) return false;
  if (flag.is_switch()) return variable == "1" || variable == "true";
  return equals == std::string::npos || variable == what.substr(equals + 1);
}

// What is said by variables, and what of it counts.
class Variables {
 public:
  Variables(const CLI::App& app, const Flags& flags) : app_(app), flags_(flags) {
    for (const auto& ways : flags.choices()) choose(ways);
    for (const FlagRule& rule : flags.rules()) {
      for (const std::string& other : rule.others) {
        if (!rule.needs) keep_apart(rule.flag, other), keep_apart(other, rule.flag);
      }
    }
  }

  void read() const {
    for (const Flag& flag : flags_.table()) {
      const std::string variable = variable_of(flag);
      if (flag.told_apart || variable.empty() || passed_over_.contains(&flag)) continue;
      if (app_.count(flag.name()) > 0 && !chosen_.contains(&flag)) continue;
      std::vector<std::string> values{variable};
      if (flag.is_list()) {
        std::get<std::vector<std::string>*>(flag.target)->clear();
        values.clear();
        std::istringstream lines(variable);
        for (std::string line; std::getline(lines, line);) {
          if (!line.empty()) values.push_back(line);
        }
      }
      for (const std::string& value : values) {
        if (const std::string problem = flag.complaint(value); !problem.empty()) {
          throw CLI::ValidationError(flag.name() + " (" + flag.variable + ")", problem);
        }
        flag.read(value);
      }
    }
  }

  // " (ROWMAX_FILE)" where that is what was chosen, else "".
  std::string chosen(const std::string& what) const {
    const Flag& flag = *flags_.find(what.substr(0, what.find('=')));
    return chosen_.contains(&flag) && in_variable(app_, flags_, what) ? " (" + flag.variable + ")" : "";
  }

 private:
  template <class Says>
  static std::ptrdiff_t first_way(const std::vector<std::vector<std::string>>& ways, Says says) {
    return std::ranges::find_if(ways, [&](const auto& way) { return std::ranges::any_of(way, says); }) - ways.begin();
  }

  void choose(const std::vector<std::vector<std::string>>& ways) {
    const auto by_line = first_way(ways, [&](const std::string& name) { return in_line(app_, flags_, name); });
    const auto by_variable = first_way(ways, [&](const std::string& name) { return in_variable(app_, flags_, name); });
    const bool from_line = by_line != std::ssize(ways);
    for (std::ptrdiff_t i = 0; i < std::ssize(ways); ++i) {
      for (const std::string& name : ways[static_cast<std::size_t>(i)]) {
        if (i != (from_line ? by_line : by_variable)) passed_over_.insert(flags_.find(name));
        if (i == by_variable && !from_line) chosen_.insert(flags_.find(name));
      }
    }
  }

  // Beside `said`, on the line or chosen, a variable of `other` has no effect.
  void keep_apart(const std::string& said, const std::string& other) {
    if (!in_variable(app_, flags_, other) || !chosen(other).empty()) return;
    if (in_line(app_, flags_, said) || !chosen(said).empty()) {
      passed_over_.insert(flags_.find(other.substr(0, other.find('='))));
    }
  }

  const CLI::App& app_;
  const Flags& flags_;
  std::set<const Flag*> passed_over_, chosen_;
};

void check_rules(const CLI::App& app, const Flags& flags, const Variables& variables) {
  for (const FlagRule& rule : flags.rules()) {
    const auto refuse = [&](const std::string& flag, const std::string& other) {
      const std::string chosen = variables.chosen(other);
      if (in_line(app, flags, flag) && (in_line(app, flags, other) || !chosen.empty())) {
        throw CLI::ValidationError(flag, "has no effect beside " + other + chosen);
      }
    };
    for (const std::string& other : rule.others) {
      if (!rule.needs) refuse(rule.flag, other), refuse(other, rule.flag);
    }
  }
  for (const FlagRule& rule : flags.rules()) {
    const auto there = [&](const std::string& other) {
      return in_line(app, flags, other) || in_variable(app, flags, other);
    };
    if (!rule.needs || !in_line(app, flags, rule.flag) || std::ranges::any_of(rule.others, there)) continue;
    std::string all;
    for (const std::string& other : rule.others) {
      const Flag& flag = *flags.find(other.substr(0, other.find('=')));
      all += (all.empty() ? "" : " or ") + other + (flag.is_switch() ? "" : " " + flag.type_name);
    }
    throw CLI::ValidationError(rule.flag, "has an effect only with " + all);
  }
}

std::vector<std::string> names_of(const Flag& flag) {
  std::vector<std::string> names;
  std::istringstream all(flag.names);
  for (std::string name; std::getline(all, name, ',');) names.push_back(name);
  return names;
}

bool has_flag(const CommandEntry& command, const std::string& name) {
  return std::ranges::any_of(command.flags.table(), [&](const Flag& flag) {
    const auto names = names_of(flag);
    return !flag.positional && std::ranges::find(names, name) != names.end();
  });
}

// Of what a command does not take: which commands do, and what it may have been meant for, else what this one takes.
std::string unexpected(const CommandEntry& command, const std::string& word, const std::deque<CommandEntry>& commands) {
  if (!word.starts_with('-')) return command.name + " has no place for one more word, found \"" + word + "\"";
  const std::string name = word.substr(0, word.find('='));
  std::vector<std::string> taken;
  std::string with_it, takes;
  for (const Flag& flag : command.flags.table()) {
    takes += (takes.empty() ? "" : ", ") + (flag.positional ? flag.type_name : names_of(flag).front());
    if (!flag.positional) std::ranges::copy(names_of(flag), std::back_inserter(taken));
  }
  for (const CommandEntry& other : commands) {
    if (has_flag(other, name)) with_it += (with_it.empty() ? "" : ", ") + other.name;
  }
  const std::string meant = did_you_mean(name, std::vector<std::string_view>(taken.begin(), taken.end()));
  return command.name + " has no flag " + name + meant + (with_it.empty() ? "" : "; it is one of " + with_it) +
         (meant.empty() ? "; " + command.name + " takes " + takes : "");
}

// The library's objects for one parse.
struct Parser {
  CLI::App app;
  bool version = false;
  std::string chosen;

  Parser(const std::string& summary, const std::string& footer, const std::deque<CommandEntry>& commands)
      : app(summary, "rowmax") {
    app.add_flag("-V,--version", version, "Print the version, and the instruction set in use, and exit");
    app.footer(footer);
    app.require_subcommand(0, 1);
    for (const CommandEntry& command : commands) {
      CLI::App* sub = app.add_subcommand(command.name, command.summary);
      declare(*sub, command.flags);
      sub->parse_complete_callback([this, sub, &command, &commands] {
        // Before rules are asked: what follows an unknown flag may have been taken for something else.
        if (const auto extras = sub->remaining(); !extras.empty()) {
          throw CLI::ParseError(unexpected(command, extras[0], commands), CLI::ExitCodes::ExtrasError);
        }
        for (const Flag& flag : command.flags.table()) {
          if (flag.named != nullptr) *flag.named = sub->count(flag.name()) > 0;
        }
        const Variables variables(*sub, command.flags);
        variables.read();
        check_rules(*sub, command.flags, variables);
        chosen = command.name;
      });
    }
  }
};

Error usage_error(const CLI::App& app, const std::string& problem) {
  std::string command = "rowmax";
  for (const CLI::App* chosen : app.get_subcommands()) command += " " + chosen->get_name();
  return {ErrorCode::kInvalidArgument, problem + "; see " + command + " --help"};
}

std::string help_text(CLI::App& app, const CLI::Error& request, const std::deque<CommandEntry>& commands) {
  for (const CommandEntry& command : commands) show_variables(*app.get_subcommand(command.name), command.flags);
  std::ostringstream out;
  app.exit(request, out, out);
  return out.str();
}

}  // namespace

CommandLine::CommandLine(std::string summary, std::string footer)
    : summary_(std::move(summary)), footer_(std::move(footer)) {}

Flags& CommandLine::add_command(std::string name, std::string summary) {
  return commands_.emplace_back(CommandEntry{std::move(name), std::move(summary), {}}).flags;
}

// "--prompt=" is an empty value; the library takes the next word for it. Of a switch it stays what it is: an error.
static void split_empty_values(const std::deque<CommandEntry>& commands, std::vector<std::string>& words) {
  if (words.empty()) return;
  const auto command =
      std::find_if(commands.begin(), commands.end(), [&](const CommandEntry& entry) { return entry.name == words[0]; });
  if (command == commands.end()) return;
  const auto takes_value = [&](const std::string& name) {
    const auto& table = command->flags.table();
    return std::any_of(table.begin(), table.end(), [&](const Flag& flag) {
      return !flag.is_switch() && ("," + flag.names + ",").find("," + name + ",") != std::string::npos;
    });
  };
  for (std::size_t i = 1; i < words.size() && words[i] != "--"; ++i) {
    if (!words[i].starts_with("--") || !words[i].ends_with('=')) continue;
    const std::string name = words[i].substr(0, words[i].size() - 1);
    if (name.find('=') != std::string::npos || !takes_value(name)) continue;
    words[i] = name;
    words.insert(words.begin() + static_cast<std::ptrdiff_t>(++i), "");
  }
}

Result<ParsedLine> CommandLine::parse(std::vector<std::string> words) const {
  const bool asks_help = !words.empty() && words[0] == "help";
  if (asks_help) {
    words.erase(words.begin());
    words.resize(std::min<std::size_t>(words.size(), 1));
    if (!words.empty() && words[0] == "help") words.clear();  // the overview is what says of it
    words.push_back("--help");
  }
  if (!words.empty() && !words[0].starts_with('-')) {
    std::vector<std::string_view> names;
    for (const CommandEntry& command : commands_) names.push_back(command.name);
    if (std::find(names.begin(), names.end(), words[0]) == names.end()) {
      return Error{ErrorCode::kInvalidArgument,
                   "no command " + words[0] + did_you_mean(words[0], names) + "; see rowmax --help"};
    }
  }
  split_empty_values(commands_, words);
  Parser parser(summary_, footer_, commands_);
  try {
    std::reverse(words.begin(), words.end());  // as the library takes them
    parser.app.parse(std::move(words));
  } catch (const CLI::CallForHelp& request) {
    return ParsedLine{"", help_text(parser.app, request, commands_), false};
  } catch (const CLI::CallForAllHelp& request) {
    return ParsedLine{"", help_text(parser.app, request, commands_), false};
  } catch (const CLI::ParseError& problem) {
    return usage_error(parser.app, problem.what());
  }
  return ParsedLine{parser.chosen, "", parser.version};
}

std::string CommandLine::help() const { return Parser(summary_, footer_, commands_).app.help(); }

}  // namespace rowmax::cli
