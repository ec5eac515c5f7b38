#include "apps/store/amounts.h"

#include <cmath>
#include <cstdio>

namespace rowmax::store {

std::string human_bytes(double bytes) {
  const char* const units[] = {"B", "kB", "MB", "GB", "TB"};
  int unit = 0;
  while (std::abs(bytes) >= 999.5 && unit < 4) {
    bytes /= 1000;
    ++unit;
  }
  return short_number(bytes) + " " + units[unit];
}

std::string short_number(double value) {
  const double size = std::abs(value);
  const int decimals = size >= 99.95 || value == std::floor(value) ? 0 : size >= 9.995 ? 1 : 2;
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

}  // namespace rowmax::store
