#include "apps/cli/terminal_input.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

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
  EXPECT_EQ(characters({"\x1b[200~a\tb\x04\x1b[201~"}), U"a\x16\tb\x16\x04");
  EXPECT_EQ(characters({"\x1b[200~no end"}), U"no end");
}

std::atomic<bool> stopped{false};
bool is_stopped() { return stopped; }

// What comes out until -1, and whether that was a cancelled paste.
std::pair<std::u32string, bool> until_end(TerminalInput& input) {
  std::u32string out;
  for (int c = input.next(is_stopped); c >= 0; c = input.next(is_stopped)) out += static_cast<char32_t>(c);
  return {out, input.take_cancelled()};
}

TEST(TerminalInput, ACtrlCInAPasteCancelsAllOfIt) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  TerminalInput input(ends[0]);
  const auto put = [&](std::string_view text) {
    ASSERT_EQ(write(ends[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  };
  const std::pair<std::u32string, bool> cancelled_after_ab = {U"ab", true};
  put("ab\x1b[200~one\rtw\x03o\rthree\x1b[201~");
  EXPECT_EQ(until_end(input), cancelled_after_ab);
  EXPECT_FALSE(input.take_folded());
  // Its rest comes late, in pieces that cut the end mark.
  std::thread late([&] {
    put("ab\x1b[200~one\x03");
    for (const char* piece : {"rm\r", "more\x1b[2", "01", "~"}) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      put(piece);
    }
  });
  EXPECT_EQ(until_end(input), cancelled_after_ab);
  late.join();
  // Its end mark never comes, or when nobody waits for it any more: it is no key.
  put("ab\x1b[200~one\x03two\r");
  EXPECT_EQ(until_end(input), cancelled_after_ab);
  put("\x1b[201~c\r");
  close(ends[1]);
  EXPECT_EQ(until_end(input), (std::pair<std::u32string, bool>{U"c\r", false}));
  close(ends[0]);
}

TEST(TerminalInput, AStopWhileAPasteIsReadCancelsIt) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const int wake = eventfd(0, EFD_NONBLOCK);
  TerminalInput input(ends[0], wake);
  ASSERT_EQ(write(ends[1], "ab\x1b[200~one\r", 12), 12);
  std::thread stop([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    stopped = true;
    const std::uint64_t one = 1;
    EXPECT_EQ(write(wake, &one, sizeof one), static_cast<ssize_t>(sizeof one));
  });
  EXPECT_EQ(until_end(input), (std::pair<std::u32string, bool>{U"ab", true}));
  stop.join();
  stopped = false;
  ASSERT_EQ(write(ends[1], "x\r", 2), 2);
  close(ends[1]);
  EXPECT_EQ(until_end(input), (std::pair<std::u32string, bool>{U"x\r", false}));
  close(ends[0]);
  close(wake);
}

}  // namespace
}  // namespace rowmax::cli
