// What one who fetches hears meanwhile, and how he stops it: this library itself prints nothing and catches no signal.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "rowmax/result.h"

namespace rowmax::store {

// One step of the work; a new step starts where `step` differs from the last one.
struct Progress {
  std::string step;                  // "fetching model.gguf"
  std::int64_t done = 0, total = 0;  // bytes
  std::int64_t already = 0;          // of `done`: here before the step began
};

// Called in the thread that fetches. Each may be empty.
struct Listener {
  std::function<void(std::string_view)> on_note;
  std::function<void(const Progress&)> on_progress;  // some times a second
  std::function<bool()> cancelled;                   // asked some times a second; true ends the work with kCancelled

  void note(std::string_view text) const {
    if (on_note) on_note(text);
  }
  void progress(const Progress& progress) const {
    if (on_progress) on_progress(progress);
  }
  bool stopped() const { return cancelled && cancelled(); }
};

inline Error interrupted_error() { return Error{ErrorCode::kCancelled, "interrupted"}; }

}  // namespace rowmax::store
