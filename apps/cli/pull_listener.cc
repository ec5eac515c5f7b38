#include "apps/cli/pull_listener.h"

#include <unistd.h>

#include <chrono>
#include <memory>
#include <optional>

#include "apps/cli/interrupt.h"
#include "apps/cli/terminal.h"

namespace rowmax::cli {
namespace {

class Steps {
 public:
  void update(const store::Progress& progress) {
    if (progress.step != step_) begin(progress);
    bar_->update(static_cast<double>(progress.done));
    const auto now = std::chrono::steady_clock::now();
    const double total = static_cast<double>(progress.total);
    const int tenth = progress.total > 0 ? static_cast<int>(10.0 * static_cast<double>(progress.done) / total) : 0;
    if (is_terminal(STDERR_FILENO) || tenth == tenth_ || now - said_ < std::chrono::seconds(10)) return;
    tenth_ = tenth;
    said_ = now;
    note(step_ + ": " + human_bytes(static_cast<double>(progress.done)) + " of " + human_bytes(total));
  }

 private:
  void begin(const store::Progress& progress) {
    step_ = progress.step;
    // The old bar first: it wipes its line.
    bar_.reset();
    bar_.emplace(printable(step_), static_cast<double>(progress.total), true, static_cast<double>(progress.already));
    tenth_ = 0;
    said_ = std::chrono::steady_clock::now();
  }

  std::string step_;
  std::optional<ProgressBar> bar_;
  int tenth_ = 0;
  std::chrono::steady_clock::time_point said_;
};

}  // namespace

store::Listener terminal_listener(bool quiet) {
  store::Listener listener;
  listener.cancelled = [] { return interrupted(); };
  if (quiet) return listener;
  auto steps = std::make_shared<Steps>();
  listener.on_note = [](std::string_view text) { note(text); };
  listener.on_progress = [steps](const store::Progress& progress) { steps->update(progress); };
  return listener;
}

}  // namespace rowmax::cli
