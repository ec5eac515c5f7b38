// Numbers in words of people.
#pragma once

#include <string>

namespace rowmax::store {

// "98.4 MB"; decimal units.
std::string human_bytes(double bytes);
// "1.23", "123", ...: three significant digits and no exponent.
std::string short_number(double value);

}  // namespace rowmax::store
