// Ctrl-C as a flag that loops look at. A second one, before the first was seen to, ends the program as usual.
// Signals that end the program remove its unfinished output files first, and leave the terminal as it was.
#pragma once

#include <signal.h>

namespace rowmax::cli {

// Signals that were ignored when the program began stay so.
void catch_interrupts();
bool interrupted() noexcept;
void clear_interrupt() noexcept;

// While it lives SIGTERM and SIGHUP set the same flag, so that what is temporary is taken away; then, where one of them
// came, its end is the program's, by that signal. A signal that was ignored stays so.
class DelayedEnd {
 public:
  DelayedEnd();
  ~DelayedEnd();
  DelayedEnd(const DelayedEnd&) = delete;
  DelayedEnd& operator=(const DelayedEnd&) = delete;

 private:
  struct sigaction term_ = {}, hup_ = {};
};

}  // namespace rowmax::cli
