// Double-precision elementary functions that give the same bits on every machine: plain IEEE operations in a fixed
// order, no libm. For set-up work (RoPE tables, log-sum-exp, sampling), not for inner loops.
//
// Errors measured by base/math/f64_test.cc against libm's (correctly rounded to < 1 ulp) results.
#pragma once

namespace rowmax::base {

double exp_f64(double x) noexcept;  // at most 2 ulp; 0 below -745.2, +inf above 709.8
double log_f64(double x) noexcept;  // at most 2 ulp; log(0) = -inf, NaN for x < 0
// sin and cos of x for |x| <= 2^30 at most 2e-16 + 2e-16 |x| 2^-33 absolute; NaN beyond and for non-finite x.
void sincos_f64(double x, double* sin, double* cos) noexcept;
// At most 4e-15 absolute; NaN for NaN.
double erf_f64(double x) noexcept;
// base^exponent for base > 0 as exp(exponent * log(base)), relative error about 2e-16 (2 + |exponent log base|).
double pow_f64(double base, double exponent) noexcept;

}  // namespace rowmax::base
