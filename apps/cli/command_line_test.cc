#include "apps/cli/command_line.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>

#include "apps/cli/command.h"

namespace rowmax::cli {
namespace {

class Variable {
 public:
  Variable(const std::string& name, const std::string& value) : name_(name) { setenv(name.c_str(), value.c_str(), 1); }
  ~Variable() { unsetenv(name_.c_str()); }

 private:
  std::string name_;
};

// A value that the flag takes and does not have now: another one for another `index`.
std::string sample(const Flag& flag, int index) {
  if (flag.is_switch()) return "1";
  if (!flag.choices.empty()) return flag.choices[static_cast<std::size_t>(index) % flag.choices.size()];
  if (flag.range) return std::to_string(flag.range->first + 5 + index);
  if (flag.complaint("text").empty()) return "text" + std::to_string(index);
  return std::to_string(5 + index);
}

std::vector<std::string> needed_words(const Flags& flags) {
  std::vector<std::string> words;
  for (const Flag& flag : flags.table()) {
    if (flag.required) words.push_back("word");
  }
  return words;
}

// A command line's words for what a rule speaks of.
std::vector<std::string> words_for(const Flags& flags, const std::string& what) {
  const Flag& flag = *flags.find(what.substr(0, what.find('=')));
  if (flag.positional) return {"word"};
  return {what.find('=') != std::string::npos || flag.is_switch() ? what : what + "=" + sample(flag, 0)};
}

// What a flag needs beside it.
std::vector<std::string> companions(const Flags& flags, const std::string& name) {
  std::vector<std::string> words;
  for (const FlagRule& rule : flags.rules()) {
    if (rule.needs && rule.flag == name) words = words_for(flags, rule.others[0]);
  }
  return words;
}

// Whether it is one of several ways to say one thing.
bool is_choice(const Flags& flags, const std::string& name) {
  return std::ranges::any_of(flags.choices(), [&](const auto& ways) {
    return std::ranges::any_of(ways, [&](const auto& way) { return std::ranges::find(way, name) != way.end(); });
  });
}

// What a command line of the command with these words is refused with; "" where it is taken.
std::string refusal(const Command& command, std::vector<std::string> words) {
  CommandLine line("", "");
  Flags& flags = line.add_command(command.name, "");
  const CommandBody body = command.declare(flags);
  const std::vector<std::string> needed = needed_words(flags);
  words.insert(words.begin(), needed.begin(), needed.end());
  words.insert(words.begin(), command.name);
  const auto parsed = line.parse(words);
  return parsed.ok() ? "" : parsed.error().message;
}

// The value of row `index` of a command after its flags are declared afresh and `words` are parsed.
std::string value_after(const Command& command, std::size_t index, std::vector<std::string> words) {
  CommandLine line("", "");
  Flags& flags = line.add_command(command.name, "");
  const CommandBody body = command.declare(flags);  // holds the targets
  const std::vector<std::string> needed = needed_words(flags);
  if (!words.empty()) {
    const std::vector<std::string> more = companions(flags, flags.table()[index].name());
    words.insert(words.end(), more.begin(), more.end());
  }
  words.insert(words.begin(), needed.begin(), needed.end());
  words.insert(words.begin(), command.name);
  const auto parsed = line.parse(words);
  if (!parsed.ok()) return "error: " + parsed.error().message;
  EXPECT_EQ(parsed->command, command.name);
  return flags.table()[index].value();
}

std::string long_name(const Flag& flag) {
  const std::size_t begin = flag.names.find("--");
  return flag.names.substr(begin, flag.names.find(',', begin) - begin);
}

// Each flag of each command: what the variable says counts as the flag would, and the flag wins.
TEST(CommandLine, EveryFlagHasItsVariable) {
  int walked = 0, lists = 0;
  for (const Command& command : all_commands()) {
    Flags flags;
    const CommandBody body = command.declare(flags);
    for (std::size_t i = 0; i < flags.table().size(); ++i) {
      const Flag& flag = flags.table()[i];
      if (flag.positional) continue;
      const std::string where = std::string(command.name) + " " + flag.names;
      const std::string name = long_name(flag);
      ASSERT_EQ(flag.variable, environment_name(name)) << where;
      const std::string first = sample(flag, 0), second = sample(flag, 1);
      const std::string set = flag.is_switch() ? name : name + "=" + first;
      const std::string as_flag = value_after(command, i, {set});
      EXPECT_EQ(as_flag, flag.is_list() ? first + "\n" : first) << where;
      ++walked;
      if (flag.told_apart) continue;
      const std::string own = value_after(command, i, {});
      const Variable variable(flag.variable, first);
      EXPECT_EQ(value_after(command, i, {}), as_flag) << where;
      if (flag.is_switch()) {
        EXPECT_EQ(own, "0") << where;
        EXPECT_EQ(value_after(command, i, {name + "=0"}), "0") << where;
        continue;
      }
      EXPECT_EQ(value_after(command, i, {name + "=" + second}), flag.is_list() ? second + "\n" : second) << where;
      const std::string twice = value_after(command, i, {name + "=" + first, name + "=" + second});
      EXPECT_EQ(twice, flag.is_list() ? first + "\n" + second + "\n" : second) << where;
      if (!flag.is_list()) continue;
      ++lists;
      const Variable lines(flag.variable, first + "\n\n" + second + "\n");
      EXPECT_EQ(value_after(command, i, {}), twice) << where;
      EXPECT_EQ(value_after(command, i, {name + "=" + first + "\n" + second}), twice) << where;  // one value, as it is
      EXPECT_EQ(value_after(command, i, {name + "=" + second}), second + "\n") << where;
    }
  }
  EXPECT_GT(walked, 100);
  EXPECT_GT(lists, 10);
}

TEST(CommandLine, WhatAFlagDoesNotTakeIsRefusedFromAVariableToo) {
  for (const Command& command : all_commands()) {
    Flags flags;
    const CommandBody body = command.declare(flags);
    for (std::size_t i = 0; i < flags.table().size(); ++i) {
      const Flag& flag = flags.table()[i];
      if (flag.positional || flag.told_apart || flag.complaint("no such value").empty()) continue;
      const Variable variable(flag.variable, "no such value");
      const std::string refused = value_after(command, i, {});
      EXPECT_TRUE(refused.starts_with("error: ")) << command.name << " " << flag.names;
      EXPECT_NE(refused.find(long_name(flag) + " (" + flag.variable + ")"), std::string::npos) << refused;
      EXPECT_NE(refused.find("found \"no such value\""), std::string::npos) << refused;
    }
  }
}

// Each rule of each command: a flag that would do nothing is refused where the line names it, with both names; a variable is a
// standing wish, which may do nothing and may be what a flag needs, and is named where nothing but it is there to work on.
TEST(CommandLine, AFlagThatWouldDoNothingIsRefused) {
  int walked = 0, by_variable = 0;
  for (const Command& command : all_commands()) {
    Flags flags;
    const CommandBody body = command.declare(flags);
    for (const FlagRule& rule : flags.rules()) {
      ASSERT_NE(flags.find(rule.flag), nullptr) << command.name << " " << rule.flag;
      const std::vector<std::string> own = words_for(flags, rule.flag);
      const auto beside = [&](const std::vector<std::string>& more) {
        std::vector<std::string> words = own;
        words.insert(words.end(), more.begin(), more.end());
        return refusal(command, words);
      };
      if (rule.needs) {
        EXPECT_NE(refusal(command, own).find(rule.flag + ": "), std::string::npos) << command.name;
      }
      for (const std::string& other : rule.others) {
        const std::string where = std::string(command.name) + " " + rule.flag + " " + other;
        const Flag* flag = flags.find(other.substr(0, other.find('=')));
        ASSERT_NE(flag, nullptr) << where;
        const std::string refused = beside(words_for(flags, other));
        ++walked;
        if (rule.needs) {
          EXPECT_EQ(refused, "") << where;
          EXPECT_NE(refusal(command, own).find(other), std::string::npos) << where;
        } else {
          EXPECT_NE(refused.find(rule.flag + ": "), std::string::npos) << where << refused;
          EXPECT_NE(refused.find(other), std::string::npos) << where;
        }
        if (flag->positional || other.find('=') != std::string::npos) continue;
        const Variable variable(flag->variable, sample(*flag, 0));
        const std::string alone = beside(rule.needs ? std::vector<std::string>() : companions(flags, rule.flag));
        if (rule.needs || !is_choice(flags, other) || is_choice(flags, rule.flag)) {
          EXPECT_EQ(alone, "") << where;
        } else {  // all that there is to compute with
          EXPECT_NE(alone.find(rule.flag + ": "), std::string::npos) << where << alone;
          EXPECT_NE(alone.find(other + " (" + flag->variable + ")"), std::string::npos) << where << alone;
          ++by_variable;
        }
      }
    }
  }
  EXPECT_GT(walked, 40);
  EXPECT_GT(by_variable, 4);
}

// Of each choice: the line wins over variables, an earlier way over a later one, and what is not meant is not read.
TEST(CommandLine, OfWaysToSayOneThingOneIsMeant) {
  int walked = 0;
  for (const Command& command : all_commands()) {
    Flags flags;
    const CommandBody body = command.declare(flags);
    const auto index_of = [&](const std::string& name) {
      return static_cast<std::size_t>(std::ranges::find(flags.table(), name, &Flag::name) - flags.table().begin());
    };
    for (const auto& ways : flags.choices()) {
      for (std::size_t i = 0; i < ways.size(); ++i) {
        for (std::size_t j = 0; j < ways.size(); ++j) {
          const Flag &one = flags.table()[index_of(ways[i][0])], &other = flags.table()[index_of(ways[j][0])];
          if (i == j || other.positional) continue;
          const std::string where = std::string(command.name) + " " + one.names + " " + other.names;
          const Variable variable(other.variable, sample(other, 0));
          const std::vector<std::string> line = words_for(flags, ways[i][0]);
          EXPECT_EQ(value_after(command, index_of(ways[j][0]), line), other.value()) << where;
          ++walked;
          if (one.positional) continue;
          const Variable both(one.variable, sample(one, 0));
          const std::string read = value_after(command, index_of(ways[j][0]), {});
          EXPECT_EQ(read == other.value(), i < j) << where << read;
        }
      }
    }
  }
  EXPECT_GT(walked, 30);
}

// A variable that a flag of the line makes useless is not read, and one that makes such a flag useless does not count.
TEST(CommandLine, VariablesGiveWayToTheLine) {
  CommandLine line("", "");
  std::string text, file;
  bool keep = false, fast = false;
  int number = 1;
  Flags& flags = line.add_command("a", "");
  flags.add("--text", text, "");
  flags.add("--file", file, "");
  flags.add_switch("--keep", keep, "");
  flags.add_switch("--fast", fast, "");
  flags.add("--number", number, "");
  flags.choose_one({{"--text"}, {"--file"}});
  flags.apart("--keep", {"--text"});
  flags.apart("--fast", {"--number"});
  const auto message = [&](std::vector<std::string> words) {
    text = file = "";
    keep = fast = false;
    number = 1;
    words.insert(words.begin(), "a");
    const auto parsed = line.parse(words);
    return parsed.ok() ? "" : parsed.error().message;
  };
  const Variable of_text("ROWMAX_TEXT", "t"), of_number("ROWMAX_NUMBER", "5");
  EXPECT_EQ(message({"--file=f", "--keep"}), "");
  EXPECT_TRUE(text.empty() && file == "f" && keep);
  EXPECT_NE(message({"--keep"}).find("--keep: has no effect beside --text (ROWMAX_TEXT)"), std::string::npos);
  EXPECT_EQ(message({"--fast"}), "");
  EXPECT_TRUE(fast && number == 1 && text == "t");
  const Variable of_fast("ROWMAX_FAST", "1"), of_keep("ROWMAX_KEEP", "1");
  EXPECT_EQ(message({"--number=3"}), "");
  EXPECT_TRUE(!fast && number == 3 && !keep && text == "t");
  EXPECT_EQ(message({"--text="}), "");
  EXPECT_EQ(text, "t");
  const Variable wrong("ROWMAX_NUMBER", "many");
  EXPECT_NE(message({}).find("--number (ROWMAX_NUMBER): expected a whole number"), std::string::npos) << message({});
}

TEST(CommandLine, VariablesOfOtherCommandsAreNotRead) {
  CommandLine line("", "");
  int number = 1;
  bool on = false;
  line.add_command("a", "").add("--number", number, "");
  line.add_command("b", "").add_switch("--on", on, "");
  const Variable variable("ROWMAX_NUMBER", "1,2");
  EXPECT_TRUE(line.parse({"b", "--on"}).ok());
  EXPECT_TRUE(on);
  EXPECT_FALSE(line.parse({"a"}).ok());
}

TEST(CommandLine, HelpIsACommandToo) {
  CommandLine line("What it is.", "The footer.");
  int number = 7;
  line.add_command("count", "counts").add("-n,--number", number, "how many").within(1, 9);
  line.add_command("fetch", "fetches");
  const auto overview = line.parse({"help"});
  ASSERT_TRUE(overview.ok());
  EXPECT_EQ(overview->help, line.parse({"--help"})->help);
  ASSERT_TRUE(line.parse({"help", "help"}).ok());
  EXPECT_EQ(line.parse({"help", "help"})->help, overview->help);
  EXPECT_NE(overview->help.find("The footer."), std::string::npos);
  const auto of_count = line.parse({"help", "count"});
  ASSERT_TRUE(of_count.ok());
  EXPECT_EQ(of_count->help, line.parse({"count", "--help"})->help);
  EXPECT_NE(of_count->help.find("INT in [1 - 9]=7"), std::string::npos) << of_count->help;
  EXPECT_NE(of_count->help.find("Env:ROWMAX_NUMBER"), std::string::npos) << of_count->help;
  for (const std::vector<std::string>& words : {std::vector<std::string>{"cuont"}, {"help", "cuont"}}) {
    const auto unknown = line.parse(words);
    ASSERT_FALSE(unknown.ok());
    EXPECT_NE(unknown.error().message.find("did you mean count?"), std::string::npos) << unknown.error().message;
  }
}

TEST(Flags, TheFirstLongNameGivesTheVariable) {
  EXPECT_EQ(environment_name("-c,--ctx,--ctx-size"), "ROWMAX_CTX");
  EXPECT_EQ(environment_name("--top-k"), "ROWMAX_TOP_K");
}

}  // namespace
}  // namespace rowmax::cli
