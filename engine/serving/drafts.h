// How many guesses are worth their rows: by how many of the last ones were right, never by time.
#pragma once

#include <algorithm>
#include <cstdint>

namespace rowmax::engine {

class DraftLength {
 public:
  // How many guesses the next step is to have, of at most so many.
  std::int64_t next(std::int64_t at_most) const noexcept { return pause_left_ > 0 ? 0 : std::min(at_most, length_); }

  // A step came to its end; `right` of its `offered` guesses were what was sampled.
  void settle(std::int64_t offered, std::int64_t right) noexcept {
    if (offered == 0) {
      pause_left_ -= pause_left_ > 0;
      return;
    }
    length_ = right == offered ? std::min(2 * length_, kMost) : std::max<std::int64_t>(right + 1, 1);
    offered_ += offered;
    right_ += right;
    if (offered_ < kEnough) return;
    if (kOneIn * right_ < offered_) {  // not again for a while, and longer each time
      pause_left_ = pause_;
      pause_ = std::min(2 * pause_, kLongestPause);
      offered_ = right_ = 0;
      length_ = 1;
    } else if (offered_ >= 2 * kEnough) {
      pause_ = kFirstPause;
      offered_ /= 2;
      right_ /= 2;
    }
  }

  static constexpr std::int64_t kMost = 64;                             // that a sequence has a share of the budget for
  static constexpr std::int64_t kEnough = 16;                           // guesses to judge by
  static constexpr std::int64_t kOneIn = 4;                             // must be right
  static constexpr std::int64_t kFirstPause = 16, kLongestPause = 256;  // steps

 private:
  std::int64_t length_ = 4;
  std::int64_t offered_ = 0, right_ = 0;
  std::int64_t pause_ = kFirstPause, pause_left_ = 0;
};

}  // namespace rowmax::engine
