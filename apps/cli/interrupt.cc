#include "apps/cli/interrupt.h"

#include <csignal>

namespace rowmax::cli {
namespace {

volatile std::sig_atomic_t interrupt_flag = 0;
volatile std::sig_atomic_t ending_signal = 0;  // SIGTERM or SIGHUP

void on_interrupt(int signal) {
  if (signal != SIGINT) ending_signal = signal;
  if (interrupt_flag != 0) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  interrupt_flag = 1;
}

void catch_signal(int signal, struct sigaction& before) {
  sigaction(signal, nullptr, &before);
  if (before.sa_handler == SIG_IGN) return;
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

}  // namespace

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // no SA_RESTART: a read of the keyboard must come back
  sigaction(SIGINT, &action, nullptr);
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
