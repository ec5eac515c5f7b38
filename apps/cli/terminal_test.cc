#include "apps/cli/terminal.h"

#include <gtest/gtest.h>

#include "apps/cli/statistics.h"
#include "apps/cli/timings.h"

namespace rowmax::cli {
namespace {

TEST(Terminal, TextOfOthersCannotSteerTheTerminal) {
  EXPECT_EQ(printable("plain\n\ttext"), "plain\n\ttext");
  EXPECT_EQ(printable("\x1b[2Jx\a\r\x7f"), "^[[2Jx^G^M^?");
  EXPECT_EQ(printable("\xC2\x9B"
                      "31m"),
            "\\x9B31m");  // the one-character form of ESC [
  EXPECT_EQ(printable("\xC2\xA0ä€😀"), "\xC2\xA0ä€😀");
  EXPECT_EQ(printable("a\xC2"), "a\\xC2");
  EXPECT_EQ(printable("\xFF\xED\xA0\x80z"), "\\xFF\\xED\\xA0\\x80z");  // no UTF-8; a surrogate
  EXPECT_EQ(printable("gpj\u202Efdp.exe \u2066x\u2069 \u200F \u061C \u2028"),
            "gpj\\u{202E}fdp.exe \\u{2066}x\\u{2069} \\u{200F} \\u{061C} \\u{2028}");
  EXPECT_EQ(printable("\U000E0041"), "\\u{E0041}");
  EXPECT_EQ(printable("👩\u200D🚀 \u2764\uFE0F שלום"), "👩\u200D🚀 \u2764\uFE0F שלום");
}

// Unicode's DerivedCoreProperties.txt, Default_Ignorable_Code_Point, and what lies beside its ranges.
TEST(Terminal, WhatIsInvisibleCanBeMadeVisible) {
  EXPECT_EQ(visible("a\u200Bb \u2060\u00AD 👩\u200D🚀 \u2764\uFE0F"),
            "a\\u{200B}b \\u{2060}\\u{00AD} 👩\\u{200D}🚀 \u2764\\u{FE0F}");
  EXPECT_EQ(visible("\u034F\u115F\u17B5\u180E\u206F\u3164\uFFA0\U0001D173\U000E0100"),
            "\\u{034F}\\u{115F}\\u{17B5}\\u{180E}\\u{206F}\\u{3164}\\u{FFA0}\\u{1D173}\\u{E0100}");
  EXPECT_EQ(visible("\u202E\x1b\xFF"), "\\u{202E}^[\\xFF");  // as printable()
  for (const char* seen :
       {"\u034E\u0350", "\u200A", "\u2070", "\u3163\u3165", "\uFDFF\uFE10", "\uFFFC\uFFFD", "\u05D0\u0627\u0915"})
    EXPECT_EQ(visible(seen), seen);
}

TEST(Terminal, NumbersAreShort) {
  EXPECT_EQ(short_number(0), "0");
  EXPECT_EQ(short_number(1.2345), "1.23");
  EXPECT_EQ(short_number(12.345), "12.3");
  EXPECT_EQ(short_number(1234.5), "1234");
  EXPECT_EQ(short_number(7), "7");
  EXPECT_EQ(human_bytes(999), "999 B");
  EXPECT_EQ(human_bytes(98'362'432), "98.4 MB");
  EXPECT_EQ(human_bytes(253'113'024), "253 MB");
}

TEST(Terminal, MedianAndSpread) {
  EXPECT_EQ(spread_of({3, 1, 2}).median, 2);
  EXPECT_EQ(spread_of({4, 1, 2, 3}).median, 2.5);
  EXPECT_EQ(spread_of({4, 1, 2, 3}).low, 1);
  EXPECT_EQ(spread_of({4, 1, 2, 3}).high, 4);
  EXPECT_EQ(spread_of({}).median, 0);
}

TEST(Terminal, TimingsLineSaysWhatCameFromTheCache) {
  engine::GenerateResult generation;
  generation.timings = {100, 40, 11, 500, 510, 100};
  generation.reason = engine::StopReason::kLength;
  EXPECT_EQ(timings_line(generation, 0),
            "prompt 100 tokens (40 from cache), 120 tok/s | first token 510 ms | 11 tokens, 100 tok/s | stop: length");
  generation.timings = {};
  EXPECT_EQ(timings_line(generation, 0), "prompt 0 tokens, 0 tok/s | first token 0 ms | 0 tokens | stop: length");
  generation.reason = engine::StopReason::kContext;
  EXPECT_TRUE(timings_line(generation, 3).ends_with("stop: context is full (-c sets its size)"));
  generation.budget_used_up = true;
  EXPECT_TRUE(
      timings_line(generation, 3).ends_with("stop: memory: no room for more keys and values (--kv-budget 3 MiB)"));
}

}  // namespace
}  // namespace rowmax::cli
