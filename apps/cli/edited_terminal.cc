#include "apps/cli/edited_terminal.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace rowmax::cli {
namespace {

constexpr std::string_view kMarkPastes = "\x1b[?2004h";
constexpr std::string_view kMarkNoPastes = "\x1b[?2004l";

// A worker's thread may take a signal too, hence atomics. The settings are written only while no handler reads them:
// before `edited` is set.
struct termios before, raw;
std::atomic<bool> edited{false};  // the terminal is not as it was before
std::atomic<bool> marks_pastes{false}, raw_known{false}, continued{false}, resized{false};
std::atomic<int> wake{-1};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

void put(std::string_view sequence) noexcept {
  while (!sequence.empty()) {
    const ::ssize_t n = ::write(STDOUT_FILENO, sequence.data(), sequence.size());
    if (n < 0 && errno != EINTR) return;
    if (n > 0) sequence.remove_prefix(static_cast<std::size_t>(n));
  }
}

// Changing the settings of a terminal that is another's now would stop the process, and be wrong.
bool in_foreground() noexcept { return ::tcgetpgrp(STDIN_FILENO) == ::getpgrp(); }

// The terminal is its owner's again while the process is stopped.
void on_stop(int signal) {
  const int error = errno;
  restore_terminal();
  struct sigaction stop = {}, mine = {};
  stop.sa_handler = SIG_DFL;
  sigaction(signal, &stop, &mine);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal);
  ::raise(signal);
  sigprocmask(SIG_UNBLOCK, &one, nullptr);  // stops here
  sigprocmask(SIG_BLOCK, &one, nullptr);
  sigaction(signal, &mine, nullptr);
  continued = true;  // where nobody could continue it (an orphaned process group) it did not stop
  wake_editor();
  errno = error;
}

void on_continue(int) {
  const int error = errno;
  continued = true;
  wake_editor();
  errno = error;
}

void on_resize(int) {
  const int error = errno;
  resized = true;
  wake_editor();
  errno = error;
}

struct Handler {
  int signal;
  void (*function)(int);
  struct sigaction previous = {};
};
Handler handlers[] = {{SIGTSTP, on_stop}, {SIGCONT, on_continue}, {SIGWINCH, on_resize}};

void wait_for_foreground() noexcept {
  constexpr int kContinuedMs = 100;  // another thread may take SIGCONT
  while (!in_foreground()) {
    continued = false;
    ::raise(SIGTTIN);
    pollfd signalled = {wake, POLLIN, 0};
    if (!continued) ::poll(&signalled, 1, kContinuedMs);
    if (!continued) return;  // nobody could continue it, so it did not stop; reading will say what is wrong
  }
}

void edit() noexcept {
  edited = true;
  if (marks_pastes) put(kMarkPastes);
}

}  // namespace

void wake_editor() noexcept {
  const std::uint64_t one = 1;
  // Fails only where it is readable already.
  if (wake >= 0 && ::write(wake, &one, sizeof one) < 0) return;
}

void restore_terminal() noexcept {
  if (!edited || !in_foreground()) return;
  if (marks_pastes) put(kMarkNoPastes);
  // In the foreground a moment ago: were it not any more, SIGTTOU would stop a process that is to end.
  sigset_t one, mask;
  sigemptyset(&one);
  sigaddset(&one, SIGTTOU);
  sigprocmask(SIG_BLOCK, &one, &mask);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &before);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  edited = false;
}

EditedTerminal::EditedTerminal(Paste paste) {
  std::fflush(stdout);  // what comes next goes past its buffer
  if (wake < 0) wake = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  struct sigaction action = {};
  sigfillset(&action.sa_mask);
  action.sa_flags = SA_RESTART;  // whoever waits for keys is woken by the descriptor
  for (Handler& each : handlers) {
    sigaction(each.signal, nullptr, &each.previous);
    if (each.previous.sa_handler == SIG_IGN) continue;
    action.sa_handler = each.function;
    sigaction(each.signal, &action, nullptr);
  }
  wait_for_foreground();
  const char* term = std::getenv("TERM");
  marks_pastes = paste == Paste::kMarked && term != nullptr && std::string_view(term) != "dumb";
  raw_known = false;
  continued = false;
  resized = false;
  if (::tcgetattr(STDIN_FILENO, &before) == 0) edit();
}

EditedTerminal::~EditedTerminal() {
  std::fflush(stdout);
  restore_terminal();
  edited = false;
  for (const Handler& each : handlers) sigaction(each.signal, &each.previous, nullptr);
}

void EditedTerminal::remember_raw() noexcept {
  if (!raw_known && edited && ::tcgetattr(STDIN_FILENO, &raw) == 0) raw_known = true;
}

EditedTerminal::News EditedTerminal::news() noexcept {
  if (continued) {
    if (!in_foreground()) return News::kNone;  // reading stops the process, and then there is news again
    continued = false;
    // Stopped by what no handler sees, it left the terminal as it is while a line is edited: `before` stays.
    if (!edited) ::tcgetattr(STDIN_FILENO, &before);
    if (raw_known) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    edit();
    return News::kRedraw;
  }
  return resized.exchange(false) ? News::kResized : News::kNone;
}

int EditedTerminal::wake_descriptor() noexcept { return wake; }

}  // namespace rowmax::cli
