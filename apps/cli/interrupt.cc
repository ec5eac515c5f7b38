#include "apps/cli/interrupt.h"

#include <csignal>

namespace rowmax::cli {
namespace {

volatile std::sig_atomic_t interrupt_flag = 0;

void on_interrupt(int signal) {
  if (interrupt_flag != 0) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  interrupt_flag = 1;
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

}  // namespace rowmax::cli
