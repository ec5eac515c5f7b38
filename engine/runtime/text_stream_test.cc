#include "engine/runtime/text_stream.h"

#include <gtest/gtest.h>

namespace rowmax::engine::text_stream_test {
namespace {

struct Collected {
  std::string text, stop;
  std::vector<std::string> pieces;
  bool stopped = false;
};

Collected collect(const std::vector<std::string>& stops, const std::vector<std::string>& input) {
  Collected out;
  TextStream stream(stops);
  const auto take = [&] {
    const std::string piece = stream.take();
    out.text += piece;
    if (!piece.empty()) out.pieces.push_back(piece);
  };
  for (const std::string& bytes : input) {
    out.stopped = stream.push(bytes);
    take();
    if (out.stopped) break;
  }
  stream.finish();
  take();
  out.stop = stream.stop_string();
  return out;
}

TEST(TextStream, GivesWholeCharactersOnly) {
  const Collected c = collect({}, {"a\xC3", "\xA9", "\xF0\x9F", "\x98", "\x80z"});
  EXPECT_EQ(c.text, "a\xC3\xA9\xF0\x9F\x98\x80z");
  EXPECT_EQ(c.pieces, (std::vector<std::string>{"a", "\xC3\xA9", "\xF0\x9F\x98\x80z"}));
}

TEST(TextStream, InvalidBytesBecomeReplacementCharacters) {
  EXPECT_EQ(collect({}, {"a\xFF", "b\x80", "\xC3"}).text,
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(collect({}, {"\xED\xA0\x80"}).text, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // a surrogate
  EXPECT_EQ(collect({}, {"\xC0\xAF"}).text, "\xEF\xBF\xBD\xEF\xBF\xBD");                  // overlong
}

TEST(TextStream, StopsAcrossTokenBoundaries) {
  const Collected c = collect({"STOP", "\n\n"}, {"one S", "T", "x ST", "OP tail"});
  EXPECT_EQ(c.text, "one STx ");
  EXPECT_EQ(c.stop, "STOP");
  EXPECT_TRUE(c.stopped);
  for (const std::string& piece : c.pieces) EXPECT_EQ(piece.find("STO"), std::string::npos);
}

TEST(TextStream, TheEarliestStopWinsAndAPrefixAtTheEndIsText) {
  EXPECT_EQ(collect({"ab", "b"}, {"xab"}).text, "x");
  EXPECT_EQ(collect({"ab", "b"}, {"xcb"}).text, "xc");
  const Collected c = collect({"END"}, {"the EN"});
  EXPECT_EQ(c.text, "the EN");
  EXPECT_EQ(c.pieces, (std::vector<std::string>{"the ", "EN"}));
  EXPECT_EQ(collect({"aab"}, {"a", "a", "a", "b", "c"}).text, "a");
}

}  // namespace
}  // namespace rowmax::engine::text_stream_test
