// Lines from the keyboard, with editing and history where libedit was there at build time and standard input is a
// terminal; plain lines otherwise.
#pragma once

#include <optional>
#include <string>

namespace rowmax::cli {

class LineEditor {
 public:
  // history_file: where earlier inputs come from and go to (readable by the user alone); empty: nowhere.
  explicit LineEditor(std::string history_file);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  enum class Outcome { kLine, kEnd, kInterrupted };
  // A line without its end (LF or CRLF), the first one of a pipe without a UTF-8 byte order mark. kEnd at the end of input (Ctrl-D), kInterrupted after Ctrl-C.
  Outcome read(const std::string& prompt, std::string& line);
  void remember(const std::string& input);

 private:
  std::string history_file_;
  bool editing_;
  bool at_start_ = true;
};

// One input of a chat, which may be several lines: a trailing backslash goes on, """ opens and closes a block.
LineEditor::Outcome read_input(LineEditor& editor, std::string& input);
// ${XDG_STATE_HOME:-~/.local/state}/rowmax/chat_history, its folder made; empty where there is no such place.
std::string default_history_file();

}  // namespace rowmax::cli
