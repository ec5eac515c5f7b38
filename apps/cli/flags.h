// The flags of a command, as a table: each with the variable that stands in for it. Knows nothing of the library that
// parses them (command_line.cc), which is slow to compile.
#pragma once

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace rowmax::cli {

// "-c,--ctx,--ctx-size" -> "ROWMAX_CTX": the first long name decides.
std::string environment_name(std::string_view flag_names);

// Where a value goes: a switch, a number, a text, or several texts.
using FlagTarget =
    std::variant<bool*, int*, std::int64_t*, std::uint64_t*, float*, double*, std::string*, std::vector<std::string>*>;

// One row. The setters return the row itself, so that they can be chained behind Flags::add.
struct Flag {
  std::string names;  // "-c,--ctx,--ctx-size"; "path" for a word without a flag in front
  FlagTarget target;
  std::string help;
  std::string variable;                                        // "ROWMAX_CTX"; empty: none
  std::string type_name;                                       // in the help
  std::string default_text;                                    // in the help
  std::vector<std::string> choices;                            // the only values; empty: any
  std::optional<std::pair<std::int64_t, std::int64_t>> range;  // of a number, both ends included
  bool positional = false;
  bool required = false;
  bool may_be_empty = true;  // a text
  bool told_apart = false;   // the variable is not read here: its reader must know that it is no flag
  bool* named = nullptr;     // is told whether the command line names the flag

  Flag& type(std::string name);
  Flag& shows(std::string default_value);
  Flag& within(std::int64_t low, std::int64_t high);
  Flag& one_of(std::initializer_list<const char*> values);
  Flag& must_be_given();
  Flag& not_empty();
  Flag& tells(bool& whether_named);

  std::string name() const;  // the first long one, which gives the variable; of a word its own
  bool is_switch() const { return std::holds_alternative<bool*>(target); }
  bool is_list() const { return std::holds_alternative<std::vector<std::string>*>(target); }
  // Puts `text` into the target (a list is appended to; of a switch "1" and "true", "0" and "false"). Returns what is
  // wrong with it, the target left alone; empty where nothing is.
  std::string read(const std::string& text) const;
  // What is wrong with `text`, without the name of the flag; empty where nothing is.
  std::string complaint(const std::string& text) const;
  // The target's value now, as text that read() takes; a list's parts end in a line end each.
  std::string value() const;
};

// When a flag on the command line would have no effect, which is refused. A variable is a standing wish and may have none:
// beside a flag that it would keep from having an effect it is not read.
// Of a switch that is turned off ("--json=0") nothing is asked.
struct FlagRule {
  std::string flag;
  bool needs = false;  // it has an effect only with one of the others, from wherever; else with none of them
  std::vector<std::string> others;  // "--server", or with a value that is meant: "--server-api=llama"
};

// The table of one command. What the targets point to must live until the command line is parsed.
class Flags {
 public:
  // A flag with a value; given twice, the later one wins, unless it is a list, whose variable has a value a line. Its
  // help shows the default: the value that a number has now.
  Flag& add(std::string names, int& value, std::string help);
  Flag& add(std::string names, std::int64_t& value, std::string help);
  Flag& add(std::string names, std::uint64_t& value, std::string help);
  Flag& add(std::string names, float& value, std::string help);
  Flag& add(std::string names, double& value, std::string help);
  Flag& add(std::string names, std::string& value, std::string help);
  Flag& add(std::string names, std::vector<std::string>& value, std::string help);
  // A flag without one.
  Flag& add_switch(std::string names, bool& value, std::string help);
  // A flag whose variable is shown in the help and left to whoever asks for it.
  Flag& add_told_apart(std::string names, std::string& value, std::string help);
  // A word without a flag in front, or all that are left. No variable.
  Flag& add_word(std::string name, std::string& value, std::string help);
  Flag& add_words(std::string name, std::vector<std::string>& value, std::string help);

  // The flag is refused beside any of the others / without all of them.
  void apart(std::string flag, std::vector<std::string> others);
  void only_with(std::string flag, std::vector<std::string> others);
  const std::vector<FlagRule>& rules() const { return rules_; }
  // Ways to say one thing, each by one flag or several, of which one is meant: that on the command line (an empty text is
  // none); where there is none, the first that has a variable. Variables of the others are not read. What a rule keeps
  // apart from the chosen variable is refused on the command line, and the variable is named: there is no other way.
  void choose_one(std::vector<std::vector<std::string>> ways);
  const std::vector<std::vector<std::vector<std::string>>>& choices() const { return choices_; }
  // nullptr: there is none of this name.
  const Flag* find(std::string_view name) const;

  void set_examples(std::string text) { examples_ = std::move(text); }
  const std::string& examples() const { return examples_; }
  const std::deque<Flag>& table() const { return table_; }

 private:
  Flag& append(std::string names, FlagTarget target, std::string help, const char* type_name);

  std::deque<Flag> table_;  // references to rows stay valid
  std::vector<FlagRule> rules_;
  std::vector<std::vector<std::vector<std::string>>> choices_;
  std::string examples_;
};

}  // namespace rowmax::cli
