#include "apps/cli/terminal_input.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <thread>

namespace rowmax::cli {
namespace {

bool never() { return false; }

// The characters that come out of the pieces, each of which is written a moment after the one before.
std::u32string characters(std::initializer_list<std::string> pieces, bool* folded = nullptr) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  std::thread writer([&] {
    for (const std::string& piece : pieces) {
      EXPECT_EQ(write(ends[1], piece.data(), piece.size()), static_cast<ssize_t>(piece.size()));
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    close(ends[1]);
  });
  TerminalInput input(ends[0]);
  std::u32string out;
  for (int c = input.next(never); c >= 0; c = input.next(never)) out += static_cast<char32_t>(c);
  writer.join();
  close(ends[0]);
  if (folded != nullptr) *folded = input.take_folded();
  return out;
}

TEST(TerminalInput, CharactersOfEveryLength) {
  EXPECT_EQ(characters({"aü你😀\r"}), U"aü你😀\r");
  EXPECT_EQ(characters({"\xF0\x9F", "\x98\x80"}), U"😀");  // one character in two reads
  EXPECT_EQ(characters({""}), U"");
}

TEST(TerminalInput, WhatIsNoUtf8IsReplaced) {
  EXPECT_EQ(characters({"a\xFFz"}), U"a\xFFFDz");
  EXPECT_EQ(characters({"\xC0\x80"}), U"\xFFFD\xFFFD");            // overlong
  EXPECT_EQ(characters({"\xED\xA0\x80"}), U"\xFFFD\xFFFD\xFFFD");  // a surrogate
  EXPECT_EQ(characters({"\xE4\xBD"}), U"\xFFFD\xFFFD");            // cut off by the end
}

TEST(TerminalInput, KeysStayKeys) {
  EXPECT_EQ(characters({"\x1b[A"}), U"\x1b[A");
  EXPECT_EQ(characters({"\x1b"}), U"\x1b");
  EXPECT_EQ(characters({"\x1b[20", "x"}), U"\x1b[20x");
}

TEST(TerminalInput, APastedTextIsOneLine) {
  bool folded = false;
  EXPECT_EQ(characters({"> \x1b[200~one\rtwo\r\nthree\n\x1b[201~!\r"}, &folded), U"> one\x2424two\x2424three!\r");
  EXPECT_TRUE(folded);
  EXPECT_EQ(characters({"\x1b[20", "0~o", "ne\x1b[2", "01~"}, &folded), U"one");
  EXPECT_FALSE(folded);
  EXPECT_EQ(TerminalInput::unfold("one␤two"), "one\ntwo");
  // Its control characters are text.
  EXPECT_EQ(characters({"\x1b[200~a\tb\x03\x1b[201~"}), U"a\x16\tb\x16\x03");
  EXPECT_EQ(characters({"\x1b[200~no end"}), U"no end");
}

}  // namespace
}  // namespace rowmax::cli
