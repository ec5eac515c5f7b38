#include "apps/cli/line_editor.h"

#ifdef ROWMAX_WITH_EDITLINE
#include <editline/readline.h>
#endif
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>

#include "apps/cli/edited_terminal.h"
#include "apps/cli/interrupt.h"
#include "apps/cli/terminal.h"
#include "apps/cli/terminal_input.h"

namespace rowmax::cli {
namespace {

constexpr std::string_view kBlockMark = "\"\"\"";
constexpr int kHistoryLines = 1000;

LineEditor::Outcome read_plain(std::string& line) {
  line.clear();
  for (;;) {
    errno = 0;
    const int c = std::fgetc(stdin);
    if (c == '\n') {
      if (line.ends_with('\r')) line.pop_back();  // a file of another system
      return LineEditor::Outcome::kLine;
    }
    if (c == EOF) {
      std::clearerr(stdin);
      if (interrupted()) return LineEditor::Outcome::kInterrupted;
      if (errno == EINTR) continue;
      return line.empty() ? LineEditor::Outcome::kEnd : LineEditor::Outcome::kLine;
    }
    line += static_cast<char>(c);
  }
}

#ifdef ROWMAX_WITH_EDITLINE
// libedit has one editor a process, and asks a function without arguments.
TerminalInput& terminal_input() {
  static TerminalInput input(STDIN_FILENO, EditedTerminal::wake_descriptor());
  return input;
}

bool stop_reading() {
  const EditedTerminal::News news = EditedTerminal::news();
  if (news == EditedTerminal::News::kRedraw) rl_forced_update_display();
  if (news == EditedTerminal::News::kResized) rl_resize_terminal();
  return interrupted();
}

int next_character(std::FILE*) {
  EditedTerminal::remember_raw();
  return terminal_input().next(stop_reading);
}

LineEditor::Outcome read_edited(const std::string& prompt, std::string& line) {
  const EditedTerminal terminal(EditedTerminal::Paste::kMarked);
  const std::unique_ptr<char, void (*)(void*)> text(readline(prompt.c_str()), std::free);
  const bool folded = terminal_input().take_folded();
  if (terminal_input().take_cancelled() || interrupted()) return LineEditor::Outcome::kInterrupted;
  if (text == nullptr) return LineEditor::Outcome::kEnd;
  line = folded ? TerminalInput::unfold(text.get()) : text.get();
  return LineEditor::Outcome::kLine;
}
#endif

}  // namespace

LineEditor::LineEditor(std::string history_file)
    : history_file_(std::move(history_file)), editing_(is_terminal(STDIN_FILENO) && is_terminal(STDOUT_FILENO)) {
#ifdef ROWMAX_WITH_EDITLINE
  if (!editing_) return;
  use_utf8();
  rl_getc_function = next_character;
  // libedit's own handlers know nothing of pastes, override what is ignored, and send each signal on to the whole group.
  rl_catch_signals = 0;
  {
    const EditedTerminal terminal(EditedTerminal::Paste::kAsTyped);  // libedit changes settings here already
    rl_initialize();
  }
  using_history();
  stifle_history(kHistoryLines);
  if (!history_file_.empty()) read_history(history_file_.c_str());
#endif
}

LineEditor::~LineEditor() {
#ifdef ROWMAX_WITH_EDITLINE
  if (!editing_ || history_file_.empty()) return;
  const mode_t previous = umask(077);
  write_history(history_file_.c_str());
  umask(previous);
#endif
}

LineEditor::Outcome LineEditor::read(const std::string& prompt, std::string& line) {
  clear_interrupt();
#ifdef ROWMAX_WITH_EDITLINE
  if (editing_) return read_edited(prompt, line);
#endif
  if (is_terminal(STDIN_FILENO)) {
    std::fputs(prompt.c_str(), stderr);
    std::fflush(stderr);
  }
  const Outcome outcome = read_plain(line);
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (at_start_ && line.starts_with(kByteOrderMark)) line.erase(0, kByteOrderMark.size());
  at_start_ = false;
  return outcome;
}

void LineEditor::remember([[maybe_unused]] const std::string& input) {
#ifdef ROWMAX_WITH_EDITLINE
  // The history file holds one line an entry.
  if (editing_ && input.find('\n') == std::string::npos) add_history(input.c_str());
#endif
}

LineEditor::Outcome read_input(LineEditor& editor, std::string& input) {
  input.clear();
  std::string line;
  bool in_block = false;
  for (const char* prompt = "> ";; prompt = ". ") {
    const LineEditor::Outcome outcome = editor.read(prompt, line);
    if (outcome == LineEditor::Outcome::kInterrupted) return outcome;
    if (outcome == LineEditor::Outcome::kEnd) return input.empty() ? outcome : LineEditor::Outcome::kLine;
    std::string_view rest = line;
    if (!in_block && input.empty() && rest.starts_with(kBlockMark)) {
      in_block = true;
      rest.remove_prefix(kBlockMark.size());
      if (rest.empty()) continue;
    }
    if (in_block && rest.ends_with(kBlockMark)) {
      input += rest.substr(0, rest.size() - kBlockMark.size());
      break;
    }
    const bool goes_on = !in_block && rest.ends_with('\\');
    if (goes_on) rest.remove_suffix(1);
    input += rest;
    if (!in_block && !goes_on) break;
    input += '\n';
  }
  if (in_block && input.ends_with('\n')) input.pop_back();
  if (!input.empty()) editor.remember(input);
  return LineEditor::Outcome::kLine;
}

std::string default_history_file() {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  std::string folder;
  if (state != nullptr && *state == '/') {
    folder = std::string(state) + "/rowmax";
  } else if (home != nullptr && *home == '/') {
    folder = std::string(home) + "/.local/state/rowmax";
  } else {
    return "";
  }
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  return code ? "" : folder + "/chat_history";
}

}  // namespace rowmax::cli
