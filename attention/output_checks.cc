#include "attention/output_checks.h"

#include <cmath>
#include <string>

#include "base/try.h"

namespace rowmax::attention {
namespace {

Error invalid(std::string message) { return Error{ErrorCode::kInvalidArgument, std::move(message)}; }

const char* name_of(float x) noexcept {
  if (std::isnan(x)) return "NaN";
  if (std::isinf(x)) return x > 0 ? "+inf" : "-inf";
  return "finite";
}

Status check_distance_bias(const AttendArgs& args, const MaskPlan::Impl& plan) {
  if (args.alibi_slopes != nullptr) {
    for (std::int64_t h = 0; h < plan.n_head; ++h) {
      if (std::isfinite(args.alibi_slopes[h])) continue;
      return invalid("alibi_slopes: head " + std::to_string(h) + " is " + name_of(args.alibi_slopes[h]));
    }
  }
  const RelativeBias& relative = args.relative_bias;
  if (relative.table == nullptr) return {};
  constexpr std::int64_t kFarthest = std::int64_t{1} << 61;  // beyond every distance
  if (relative.min_distance > relative.max_distance || relative.min_distance < -kFarthest ||
      relative.max_distance > kFarthest) {
    return invalid("relative_bias: min_distance " + std::to_string(relative.min_distance) + ", max_distance " +
                   std::to_string(relative.max_distance));
  }
  return {};
}

}  // namespace

Status check_sinks(const float* sinks, std::int64_t n, const char* of_what) {
  for (std::int64_t i = 0; sinks != nullptr && i < n; ++i) {
    if (sinks[i] < INFINITY) continue;
    return invalid(std::string("sinks: ") + of_what + " " + std::to_string(i) + " is " + name_of(sinks[i]));
  }
  return {};
}

Status check_outputs(const AttendArgs& args, const MaskPlan::Impl& plan) {
  ROWMAX_RETURN_IF_ERROR(check_sinks(args.sinks, plan.n_head, "head"));
  return check_distance_bias(args, plan);
}

Error weight_fault_error(const WeightFault& fault) {
  return Error{ErrorCode::kNumericFault, "attend: weight is NaN at sequence " + std::to_string(fault.sequence) +
                                             ", head " + std::to_string(fault.head) + ", query " +
                                             std::to_string(fault.query) + ", key " + std::to_string(fault.key) +
                                             " (score " + name_of(fault.score) + ")"};
}

}  // namespace rowmax::attention
