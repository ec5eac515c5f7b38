// Counters of a server, in the text form that Prometheus reads.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "apps/server/answering.h"
#include "rowmax/engine/scheduler.h"

namespace rowmax::server {

// Any thread may use it.
class Metrics {
 public:
  void count_http(int status, double milliseconds, bool complete);
  void count_answer(const AnswerTotals& totals, bool succeeded);
  std::string text(const engine::SchedulerStatistics& statistics, std::string_view fingerprint, bool draining) const;

 private:
  static constexpr std::array<double, 12> kBounds = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};
  struct Histogram {
    std::array<std::int64_t, kBounds.size()> counts = {};
    std::int64_t count = 0;
    double sum = 0;
    void add(double seconds);
    void print(std::string& out, std::string_view name, std::string_view help) const;
  };

  mutable std::mutex mutex_;
  std::map<int, std::int64_t> answers_;  // by status
  std::int64_t abandoned_ = 0;           // by their clients, before the answer was complete
  std::int64_t generations_ = 0, failed_generations_ = 0;
  Histogram http_seconds_, first_token_, queued_;
};

}  // namespace rowmax::server
