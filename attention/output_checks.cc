#include "attention/output_checks.h"

#include <cmath>
#include <string>

#include "rowmax/try.h"

namespace rowmax::attention {
namespace {

const char* name_of(float x) noexcept {
  if (std::isnan(x)) return "NaN";
  if (std::isinf(x)) return x > 0 ? "+inf" : "-inf";
  return "finite";
}

Status check_distance_bias(const AttendArgs& args, const MaskPlan::Impl& plan) {
  if (args.alibi_slopes != nullptr) {
    for (std::int64_t h = 0; h < plan.n_head; ++h) {
      if (std::isfinite(args.alibi_slopes[h])) continue;
      return Error::invalid_argument("alibi_slopes: head " + std::to_string(h) + " is " +
                                     name_of(args.alibi_slopes[h]));
    }
  }
  const RelativeBias& relative = args.relative_bias;
  if (relative.table == nullptr) return {};
  constexpr std::int64_t kFarthest = std::int64_t{1} << 61;  // beyond every distance
  if (relative.min_distance > relative.max_distance || relative.min_distance < -kFarthest ||
      relative.max_distance > kFarthest) {
    return Error::invalid_argument("relative_bias: min_distance " + std::to_string(relative.min_distance) +
                                   ", max_distance " + std::to_string(relative.max_distance));
  }
  return {};
}

Status check_partial(const AttendArgs& args) {
  const PartialView& partial = args.partial;
  if (partial.o == nullptr) return {};
  if (partial.m == nullptr || partial.l == nullptr || partial.status == nullptr) {
    return Error::invalid_argument("partial: m, l or status is missing");
  }
  const char* finished = args.weights.data != nullptr          ? "weights"
                         : args.lse != nullptr                 ? "lse"
                         : args.sinks != nullptr               ? "sinks"
                         : args.empty_rows != EmptyRows::kZero ? "empty_rows"
                                                               : nullptr;
  if (finished != nullptr) {
    return Error::invalid_argument(std::string("partial: rows are not finished, so no ") + finished);
  }
  return {};
}

// EmptyRows::kUniform reads all valid keys: none may be missing.
Status check_valid_keys(const AttendArgs& args, const PlanSequence& s) {
  const KvSequence& kv = args.sequences[static_cast<std::size_t>(s.source)];
  if (s.n_q == 0 || s.kv_begin >= s.kv_end) return {};
  const std::string name = "empty_rows kUniform: sequence " + std::to_string(s.source);
  if (args.kv.ring_keys > 0 && s.kv_begin < s.n_kv - args.kv.ring_keys) {
    return Error::invalid_argument(name + ": key " + std::to_string(s.kv_begin) +
                                   " is valid but no longer in the ring");
  }
  if (kv.pages == nullptr || args.kv.page_size <= 0) return {};
  for (std::int64_t page = s.kv_begin / args.kv.page_size; page <= (s.kv_end - 1) / args.kv.page_size; ++page) {
    const std::int64_t entry = args.kv.ring_keys > 0 ? page % (args.kv.ring_keys / args.kv.page_size) : page;
    if (kv.pages[entry] >= 0) continue;
    return Error::invalid_argument(name + ": page " + std::to_string(page) + " holds valid keys but its number is " +
                                   std::to_string(kv.pages[entry]));
  }
  return {};
}

}  // namespace

Status check_sinks(const float* sinks, std::int64_t n, const char* of_what) {
  for (std::int64_t i = 0; sinks != nullptr && i < n; ++i) {
    if (sinks[i] < INFINITY) continue;
    return Error::invalid_argument(std::string("sinks: ") + of_what + " " + std::to_string(i) + " is " +
                                   name_of(sinks[i]));
  }
  return {};
}

Status check_outputs(const AttendArgs& args, const MaskPlan::Impl& plan) {
  ROWMAX_RETURN_IF_ERROR(check_sinks(args.sinks, plan.n_head, "head"));
  ROWMAX_RETURN_IF_ERROR(check_distance_bias(args, plan));
  ROWMAX_RETURN_IF_ERROR(check_partial(args));
  for (std::int64_t k = 0; args.empty_rows == EmptyRows::kUniform && k < plan.n_sequences; ++k) {
    ROWMAX_RETURN_IF_ERROR(check_valid_keys(args, plan.sequences[k]));
  }
  return {};
}

Error weight_fault_error(const WeightFault& fault) {
  return Error::numeric_fault("attend: weight is NaN at sequence " + std::to_string(fault.sequence) + ", head " +
                              std::to_string(fault.head) + ", query " + std::to_string(fault.query) + ", key " +
                              std::to_string(fault.key) + " (score " + name_of(fault.score) + ")");
}

}  // namespace rowmax::attention
