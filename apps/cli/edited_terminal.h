// The terminal while a line is edited: raw, and marking pasted text. However that ends, by a signal too, it is afterwards
// as it was before; while the process is stopped as well.
#pragma once

namespace rowmax::cli {

// One at a time, in the main thread, with standard input and output a terminal.
class EditedTerminal {
 public:
  enum class Paste { kMarked, kAsTyped };
  // Remembers the settings and asks the terminal to mark pasted text (not TERM=dumb, which knows no sequences). In the
  // background it stops, as a read would, until it is brought to the foreground: till then the terminal is another's.
  explicit EditedTerminal(Paste paste);
  ~EditedTerminal();
  EditedTerminal(const EditedTerminal&) = delete;
  EditedTerminal& operator=(const EditedTerminal&) = delete;

  // What signals asked for since the last call. kRedraw: the process was stopped, and the settings of when
  // remember_raw() was called are in force again.
  enum class News { kNone, kRedraw, kResized };
  static News news() noexcept;
  // Readable when there is news, and after wake_editor(), in whatever thread a signal was taken: to be polled beside the
  // keyboard and read empty. -1 before there was one.
  static int wake_descriptor() noexcept;
  // The settings are now those that the editor reads keys with.
  static void remember_raw() noexcept;
};

// For handlers of signals, async-signal-safe; they do nothing where no line is edited. After the first the process ends.
void restore_terminal() noexcept;
void wake_editor() noexcept;

}  // namespace rowmax::cli
