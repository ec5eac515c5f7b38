#include "apps/cli/interrupt.h"

#include <cerrno>
#include <csignal>

#include "apps/cli/edited_terminal.h"
#include "rowmax/engine/output_file.h"

namespace rowmax::cli {
namespace {

volatile std::sig_atomic_t interrupt_flag = 0;
volatile std::sig_atomic_t ending_signal = 0;  // SIGTERM or SIGHUP

void on_interrupt(int signal) {
  if (signal != SIGINT) ending_signal = signal;
  if (interrupt_flag != 0) {
    restore_terminal();
    engine::remove_unfinished_outputs();
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  interrupt_flag = 1;
  const int error = errno;
  wake_editor();
  errno = error;
}

// What was ignored (nohup, a shell's `&`) stays so.
void catch_signal(int signal, struct sigaction& before) {
  sigaction(signal, nullptr, &before);
  if (before.sa_handler == SIG_IGN) return;
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // no SA_RESTART: a read of the keyboard must come back
  sigaction(signal, &action, nullptr);
}

// Ends the process by the same signal, which its parent sees (SA_RESETHAND: the second one is the default's).
void on_end(int signal) {
  restore_terminal();
  engine::remove_unfinished_outputs();
  std::raise(signal);
}

// What ends a process and can be caught.
constexpr int kEnds[] = {SIGTERM, SIGHUP,  SIGQUIT, SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2,   SIGXCPU,
                         SIGXFSZ, SIGABRT, SIGBUS,  SIGSEGV, SIGFPE,  SIGILL,  SIGVTALRM, SIGPROF};

}  // namespace

void catch_interrupts() {
  struct sigaction inherited = {};
  catch_signal(SIGINT, inherited);
  struct sigaction end = {};
  end.sa_handler = on_end;
  sigemptyset(&end.sa_mask);
  end.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int signal : kEnds) {
    // What is ignored (nohup) or handled already (a sanitizer) stays so.
    struct sigaction before = {};
    if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_DFL) sigaction(signal, &end, nullptr);
  }
}

bool interrupted() noexcept { return interrupt_flag != 0; }
void clear_interrupt() noexcept { interrupt_flag = 0; }

DelayedEnd::DelayedEnd() {
  catch_signal(SIGTERM, term_);
  catch_signal(SIGHUP, hup_);
}

DelayedEnd::~DelayedEnd() {
  sigaction(SIGTERM, &term_, nullptr);
  sigaction(SIGHUP, &hup_, nullptr);
  if (ending_signal != 0) std::raise(ending_signal);
}

}  // namespace rowmax::cli
