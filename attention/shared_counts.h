// What the workers of a call without workspace count together; the sums do not depend on who comes first.
#pragma once

#include <atomic>

#include "attention/kernels/call.h"

namespace rowmax::attention {

class SharedCounts {
 public:
  SharedCounts(std::int64_t n_row, std::int64_t n_head) noexcept
      : n_rows_(n_row * n_head), n_head_(n_head), first_fault_(n_rows_) {}

  void add(const BlockCounts& counts) noexcept {
    empty_ += counts.empty;
    non_finite_ += counts.non_finite;
    overflow_ += counts.overflow;
    if (counts.fault_row < 0) return;
    const std::int64_t fault = counts.fault_row * n_head_ + counts.fault_head;
    std::int64_t first = first_fault_.load();
    while (fault < first && !first_fault_.compare_exchange_weak(first, fault)) {
    }
  }

  AttendReport report() const noexcept {
    AttendReport report;
    report.n_rows = n_rows_;
    report.n_empty = empty_;
    report.n_non_finite = non_finite_;
    report.n_overflow = overflow_;
    if (first_fault_ < n_rows_) {
      report.fault_row = first_fault_ / n_head_;
      report.fault_head = first_fault_ % n_head_;
    }
    return report;
  }

 private:
  std::int64_t n_rows_;
  std::int64_t n_head_;
  std::atomic<std::int64_t> empty_ = 0;
  std::atomic<std::int64_t> non_finite_ = 0;
  std::atomic<std::int64_t> overflow_ = 0;
  std::atomic<std::int64_t> first_fault_;  // row * n_head + head; n_rows: none
};

}  // namespace rowmax::attention
