// Numbers between bounds against comparing them as integers and hundredths.
#include <cmath>
#include <string>

#include "engine/grammar/test_grammars.h"

namespace rowmax::engine {
namespace {

std::string hundredths(int value) {
  const int magnitude = std::abs(value);
  std::string text = (value < 0 ? "-" : "") + std::to_string(magnitude / 100) + ".";
  return text + static_cast<char>('0' + magnitude / 10 % 10) + static_cast<char>('0' + magnitude % 10);
}

TEST(NumberRange, WholeNumbersAreThoseBetweenTheBounds) {
  std::uint64_t random = 1;
  for (int round = 0; round < 60; ++round) {
    const int a = static_cast<int>(test::next_random(random) % 2400) - 1200,
              b = static_cast<int>(test::next_random(random) % 1300);
    const int low = round % 3 == 0 ? a / 100 : a, high = low + (round % 2 == 0 ? b / 40 : b);
    const bool open_low = round % 5 == 1, open_high = round % 7 == 1;
    std::string schema = R"({"type": "integer")";
    if (!open_low)
      schema += std::string(", \"") + (round % 4 == 0 ? "exclusiveMinimum" : "minimum") + "\": " + std::to_string(low);
    if (!open_high)
      schema += std::string(", \"") + (round % 4 == 2 ? "exclusiveMaximum" : "maximum") + "\": " + std::to_string(high);
    const auto grammar = Grammar::from_json_schema(schema + "}");
    const int first = open_low ? -100'000 : low + (round % 4 == 0),
              last = open_high ? 100'000 : high - (round % 4 == 2);
    if (first > last) {
      EXPECT_FALSE(grammar.ok()) << schema;
      continue;
    }
    for (int value = -1400; value <= 2700; value += 1 + (value % 3 == 0)) {
      ASSERT_EQ(test::matches(grammar, std::to_string(value)), value >= first && value <= last) << schema << value;
    }
    for (const char* text : {"-0", "00", "01", "-", "", "+1", "1.0", "1e1"})
      EXPECT_FALSE(test::matches(grammar, text)) << text;
  }
}

TEST(NumberRange, FractionsAreThoseBetweenTheBounds) {
  std::uint64_t random = 2;
  for (int round = 0; round < 40; ++round) {
    const int low = static_cast<int>(test::next_random(random) % 600) - 300;
    const int high = low + static_cast<int>(test::next_random(random) % 250);
    const bool above = round % 3 == 0, below = round % 4 == 0;
    const std::string schema = std::string(R"({"type": "number", ")") + (above ? "exclusiveMinimum" : "minimum") +
                               "\": " + hundredths(low) + ", \"" + (below ? "exclusiveMaximum" : "maximum") +
                               "\": " + hundredths(high) + "}";
    const auto grammar = Grammar::from_json_schema(schema);
    if (low == high && (above || below)) {
      EXPECT_FALSE(grammar.ok());
      continue;
    }
    for (int value = -320; value <= 600; ++value) {
      if (value == 0) continue;  // written -0.00 by a loop, and as 0 below
      const bool inside = (above ? value > low : value >= low) && (below ? value < high : value <= high);
      const std::string text = hundredths(value);
      ASSERT_EQ(test::matches(grammar, text), inside) << schema << text;
      ASSERT_EQ(test::matches(grammar, text + "000"), inside) << schema << text;
      // A little further from zero.
      const bool more = value > 0 ? value >= low && value < high : value > low && value <= high;
      ASSERT_EQ(test::matches(grammar, text + "0001"), more) << schema << text;
    }
    const bool zero = (above ? 0 > low : 0 >= low) && (below ? 0 < high : 0 <= high);
    for (const char* text : {"0", "0.0", "0.000"}) EXPECT_EQ(test::matches(grammar, text), zero) << schema;
    EXPECT_FALSE(test::matches(grammar, "-0.0"));
    EXPECT_FALSE(test::matches(grammar, "1."));
  }
}

}  // namespace
}  // namespace rowmax::engine
