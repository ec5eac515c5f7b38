// Decimal numbers between two bounds, digit by digit.
#pragma once

#include <optional>
#include <string>

#include "engine/grammar/syntax.h"

namespace rowmax::engine::grammar {

struct DecimalBound {
  bool negative = false;
  std::string whole = "0";  // digits without leading zeros
  std::string fraction;     // digits without trailing zeros
  bool inclusive = true;
};

// value, exactly as its shortest decimal form says. Nothing for one of more than 40 digits, or none (NaN, infinity).
std::optional<DecimalBound> decimal_bound(double value, bool inclusive);
DecimalBound decimal_bound(std::int64_t value);

// -1, 0, 1: a below b, equal, above; by value alone.
int compare(const DecimalBound& a, const DecimalBound& b);

// Numbers without exponent from low to high, whole ones alone or with any fraction. Never "-0".
NodeId number_range(Syntax& syntax, const std::optional<DecimalBound>& low, const std::optional<DecimalBound>& high,
                    bool fractions);

}  // namespace rowmax::engine::grammar
