// Sets of code points and their UTF-8, against encoding every code point.
#include "engine/grammar/code_points.h"

#include <gtest/gtest.h>

namespace rowmax::engine::grammar {
namespace {

// RFC 3629's table.
std::string encoded(std::uint32_t c) {
  std::string out;
  const auto add = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    add(c);
  } else if (c < 0x800) {
    add(0xC0 | c >> 6), add(0x80 | (c & 63));
  } else if (c < 0x10000) {
    add(0xE0 | c >> 12), add(0x80 | (c >> 6 & 63)), add(0x80 | (c & 63));
  } else {
    add(0xF0 | c >> 18), add(0x80 | (c >> 12 & 63)), add(0x80 | (c >> 6 & 63)), add(0x80 | (c & 63));
  }
  return out;
}

int count_matches(const std::vector<ByteSequence>& sequences, const std::string& bytes) {
  int count = 0;
  for (const ByteSequence& sequence : sequences) {
    bool fits = static_cast<std::size_t>(sequence.size) == bytes.size();
    for (std::size_t k = 0; fits && k < bytes.size(); ++k) {
      const auto byte = static_cast<std::uint8_t>(bytes[k]);
      fits = sequence.low[k] <= byte && byte <= sequence.high[k];
    }
    count += fits;
  }
  return count;
}

TEST(CodePoints, SequencesHaveEveryCodePointOfTheSetOnce) {
  const CodePointSet sets[] = {all_code_points(), normalised({{0x7F, 0x80}, {0x7FF, 0x802}, {0xFFFE, 0x10001}}),
                               normalised({{0x41, 0x5A}, {0xE9, 0xE9}, {0x3042, 0x4E07}, {0x1F600, 0x1F64F}}),
                               normalised({{0xD000, 0xE000}}), complement({{'"', '"'}, {'\\', '\\'}})};
  for (const CodePointSet& set : sets) {
    const auto sequences = utf8_sequences(set);
    for (std::uint32_t c = 0; c <= kLastCodePoint; c += c < 0x11000 ? 1 : 7) {
      ASSERT_EQ(count_matches(sequences, encoded(c)), contains(set, c) ? 1 : 0) << std::hex << c;
    }
    EXPECT_EQ(count_matches(sequences, "\xC0\x80"), 0);
    EXPECT_EQ(count_matches(sequences, "\xF4\x90\x80\x80"), 0);
  }
}

TEST(CodePoints, SetsAreWhatTheirDefinitionsSay) {
  const CodePointSet a = normalised({{30, 40}, {10, 20}, {41, 50}, {15, 25}, {0xD700, 0xE005}, {0x110000, 0x120000}});
  EXPECT_EQ(a, (CodePointSet{{10, 25}, {30, 50}, {0xD700, 0xD7FF}, {0xE000, 0xE005}}));
  const CodePointSet b = complement(a);
  for (std::uint32_t c = 0; c <= 0x10FFFF; c += c < 0xE100 ? 1 : 999) {
    const bool surrogate = c >= 0xD800 && c <= 0xDFFF;
    ASSERT_EQ(contains(b, c), !surrogate && !contains(a, c)) << c;
  }
  EXPECT_TRUE(intersection(a, b).empty());
  EXPECT_EQ(intersection(a, {{20, 35}, {45, 60}}), (CodePointSet{{20, 25}, {30, 35}, {45, 50}}));
}

TEST(CodePoints, DecodingUndoesEncodingAndRefusesTheRest) {
  for (std::uint32_t c = 0; c <= kLastCodePoint; c += 3) {
    const std::string bytes = encoded(c);
    const DecodedCodePoint decoded = decode_utf8(bytes, 0);
    const bool surrogate = c >= 0xD800 && c <= 0xDFFF;
    ASSERT_EQ(decoded.size, surrogate ? 0 : bytes.size()) << std::hex << c;
    if (surrogate) continue;
    ASSERT_EQ(decoded.value, c);
    std::string written;
    append_utf8(written, c);
    ASSERT_EQ(written, bytes);
  }
  for (const char* bytes :
       {"", "\x80", "\xC3", "\xC0\x80", "\xE0\x80\x80", "\xF4\x90\x80\x80", "\xF8\x88\x80\x80", "\xC3("}) {
    EXPECT_EQ(decode_utf8(bytes, 0).size, 0u) << bytes;
  }
}

}  // namespace
}  // namespace rowmax::engine::grammar
