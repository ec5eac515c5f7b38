#include "engine/runtime/text_stream.h"

#include <gtest/gtest.h>

namespace rowmax::engine {
namespace {

struct Collected {
  std::string text, stop;
  std::vector<std::string> pieces;
  TextStream::State state = TextStream::State::kOpen;
};

Collected collect(const std::vector<std::string>& stops, const std::vector<std::string>& input) {
  Collected out;
  const TextSink sink = [&](std::string_view piece) {
    out.pieces.emplace_back(piece);
    return true;
  };
  TextStream stream(stops, sink);
  for (const std::string& bytes : input) {
    out.state = stream.push(bytes);
    if (out.state != TextStream::State::kOpen) break;
  }
  stream.finish();
  out.text = stream.take_text();
  out.stop = stream.stop_string();
  std::string joined;
  for (const std::string& piece : out.pieces) joined += piece;
  EXPECT_EQ(joined, out.text);
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
  EXPECT_EQ(c.state, TextStream::State::kStopped);
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

TEST(TextStream, CancelStops) {
  int calls = 0;
  const TextSink sink = [&](std::string_view) { return ++calls < 2; };
  const std::vector<std::string> none;
  TextStream stream(none, sink);
  EXPECT_EQ(stream.push("a"), TextStream::State::kOpen);
  EXPECT_EQ(stream.push("b"), TextStream::State::kCancelled);
  EXPECT_FALSE(stream.finish());
}

}  // namespace
}  // namespace rowmax::engine
