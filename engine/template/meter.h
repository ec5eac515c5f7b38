// The budget of one rendering: steps (time), bytes alive (memory) and the size of any one string or list.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "rowmax/engine/chat_template.h"
#include "rowmax/result.h"
#include "rowmax/try.h"

namespace rowmax::engine::jinja {

class Meter {
 public:
  explicit Meter(const TemplateLimits& limits)
      : limits_(limits), steps_left_(limits.max_steps), max_alive_bytes_(4 * limits.max_output_bytes) {}

  const TemplateLimits& limits() const { return limits_; }

  Status charge(std::int64_t steps) {
    steps_left_ -= steps;
    if (steps_left_ >= 0) return {};
    return Error{ErrorCode::kLimit, "the chat template needs more than max_steps = " +
                                        std::to_string(limits_.max_steps) + " evaluation steps"};
  }
  // Work on n bytes of text: a step, and one more for each 128 bytes.
  Status charge_bytes(std::size_t n) {
    ROWMAX_RETURN_IF_ERROR(charge(1));
    return charge_more(n);
  }
  // The same for a step that was charged already: work that grows with a text, which is short nearly always.
  Status charge_more(std::size_t n_bytes) { return charge(static_cast<std::int64_t>(n_bytes >> 7)); }
  // Work on n elements: a step for each eight.
  Status charge_items(std::size_t n) { return charge(1 + static_cast<std::int64_t>(n >> 3)); }

  Status check_size(std::size_t n_bytes) const {
    if (n_bytes <= static_cast<std::size_t>(limits_.max_output_bytes)) return {};
    return Error{ErrorCode::kLimit, "the chat template builds a value larger than max_output_bytes = " +
                                        std::to_string(limits_.max_output_bytes)};
  }
  Status check_alive() const {
    if (alive_bytes_ <= max_alive_bytes_) return {};
    return Error{ErrorCode::kLimit, "the chat template holds values of more than " + std::to_string(max_alive_bytes_) +
                                        " bytes (4 x max_output_bytes)"};
  }
  void took(std::size_t n) { alive_bytes_ += static_cast<std::int64_t>(n); }
  void gave_back(std::size_t n) { alive_bytes_ -= static_cast<std::int64_t>(n); }

 private:
  TemplateLimits limits_;
  std::int64_t steps_left_;
  std::int64_t alive_bytes_ = 0;
  std::int64_t max_alive_bytes_;
};

// Counts bytes with a meter (or with none: constants of the syntax tree) for as long as it lives.
class Metered {
 public:
  Metered(Meter* meter, std::size_t bytes) : meter_(meter), bytes_(bytes) {
    if (meter_ != nullptr) meter_->took(bytes_);
  }
  ~Metered() {
    if (meter_ != nullptr) meter_->gave_back(bytes_);
  }
  Metered(const Metered&) = delete;
  Metered& operator=(const Metered&) = delete;

 private:
  Meter* meter_;
  std::size_t bytes_;
};

}  // namespace rowmax::engine::jinja
