#include "doctor/compare/solve.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "base/math/f64.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

constexpr double kWorthALook = 0.9, kMostLeft = 0.5;
constexpr double kNoChange = 1e-6;  // of the baseline
constexpr double kRelative = 1e-7;  // of the value: f32 tells no more apart
constexpr double kRounding = 1e-7;  // of relative L2 between two computations of the same

std::string text_of(double value, int digits) {
  char text[40];
  std::snprintf(text, sizeof text, "%.*g", digits, value);
  return text;
}

class Solver {
 public:
  explicit Solver(const NumberSearch& search) : search_(search) {}

  Result<std::optional<std::string>> run() {
    const double low = base::log_f64(search_.low), high = base::log_f64(search_.high);
    const double step = (high - low) / (search_.n_grid - 1);
    if (search_.hint > 0) ROWMAX_RETURN_IF_ERROR(look(base::log_f64(search_.hint)));
    // Both ends and the middle: a number that has no say in this stage is told at once.
    for (const double at : {low, low + step * (search_.n_grid / 2), high}) ROWMAX_RETURN_IF_ERROR(look(at));
    if (!changes_) return std::optional<std::string>();
    for (int i = 1; i + 1 < search_.n_grid; ++i) ROWMAX_RETURN_IF_ERROR(look(low + step * i));
    if (!(best_left_ < kWorthALook * search_.baseline)) return std::optional<std::string>();
    ROWMAX_RETURN_IF_ERROR(narrow(best_ - step, best_ + step));
    if (!(best_left_ < kMostLeft * search_.baseline)) return std::optional<std::string>();
    return shortest();
  }

 private:
  Result<double> left_at(double log_value) const { return search_.left(text_of(base::exp_f64(log_value), 9)); }

  Status look(double log_value) {
    ROWMAX_TRY(left, left_at(log_value));
    changes_ |= std::abs(left - search_.baseline) > kNoChange * search_.baseline;
    if (left < best_left_) {
      best_left_ = left;
      best_ = log_value;
    }
    return {};
  }

  // Golden section: what is left falls on one side and rises on the other.
  Status narrow(double a, double b) {
    constexpr double kGolden = 0.6180339887498949;
    double c = b - kGolden * (b - a), d = a + kGolden * (b - a);
    ROWMAX_TRY(at_c, left_at(c));
    ROWMAX_TRY(at_d, left_at(d));
    double left_c = at_c, left_d = at_d;
    while (b - a > kRelative) {
      const bool lower = left_c < left_d;
      if (lower) {
        b = d;
        d = c;
        left_d = left_c;
        c = b - kGolden * (b - a);
      } else {
        a = c;
        c = d;
        left_c = left_d;
        d = a + kGolden * (b - a);
      }
      ROWMAX_TRY(left, left_at(lower ? c : d));
      (lower ? left_c : left_d) = left;
    }
    return look((a + b) / 2);
  }

  Result<std::optional<std::string>> shortest() const {
    const double value = base::exp_f64(best_);
    for (int digits = 1; digits < 9; ++digits) {
      const std::string text = text_of(value, digits);
      ROWMAX_TRY(left, search_.left(text));
      if (left <= 1.5 * best_left_ + kRounding) return std::optional(text);
    }
    return std::optional(text_of(value, 9));
  }

  const NumberSearch& search_;
  bool changes_ = false;
  double best_ = 0, best_left_ = std::numeric_limits<double>::infinity();
};

}  // namespace

Result<std::optional<std::string>> solve_number(const NumberSearch& search) { return Solver(search).run(); }

}  // namespace rowmax::doctor
