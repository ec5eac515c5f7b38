// One row a check. A check is a file in doctor/checks: a function of the patient that gives one result and no Error but
// kCancelled and kOutOfMemory (what it cannot look at is inconclusive, with the reason).
#pragma once

#include <span>

#include "doctor/patient.h"
#include "rowmax/doctor/doctor.h"

namespace rowmax::doctor {

struct Check {
  CheckInfo info;
  Result<CheckResult> (*run)(Patient& patient);
};
// In the order in which they run.
std::span<const Check> checks() noexcept;

// doctor/checks
Result<CheckResult> check_closure(Patient& patient);           // 2
Result<CheckResult> check_bytes(Patient& patient);             // 3
Result<CheckResult> check_tokenizer(Patient& patient);         // 9
Result<CheckResult> check_conventions(Patient& patient);       // 1
Result<CheckResult> check_masks(Patient& patient);             // 7
Result<CheckResult> check_prefill_decode(Patient& patient);    // 8
Result<CheckResult> check_attention_rows(Patient& patient);    // 11
Result<CheckResult> check_kernels(Patient& patient);           // 4
Result<CheckResult> check_rope(Patient& patient);              // 10
Result<CheckResult> check_head_map(Patient& patient);          // 12
Result<CheckResult> check_norms(Patient& patient);             // 13
Result<CheckResult> check_head(Patient& patient);              // 14
Result<CheckResult> check_sampler(Patient& patient);           // 15
Result<CheckResult> check_first_divergence(Patient& patient);  // 5
Result<CheckResult> check_non_finite(Patient& patient);        // 6

}  // namespace rowmax::doctor
