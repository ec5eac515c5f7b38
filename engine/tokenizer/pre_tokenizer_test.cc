#include "engine/tokenizer/pre_tokenizer.h"

#include <gtest/gtest.h>

#include <set>

#include "engine/tokenizer/test_support.h"
#include "engine/tokenizer/unicode.h"

namespace rowmax::engine {
namespace {

std::string lengths(const PreTokenizer& pre, std::string_view text) {
  std::string out;
  split_words(pre.passes, text,
              [&](std::string_view word) { out.append(out.empty() ? "" : " ").append(std::to_string(word.size())); });
  return out;
}

// Oracle: the models' own expressions in the Python package regex (tools/make_tokenizer_vectors.py).
TEST(PreTokenizer, SplitsLikeTheExpressions) {
  const std::vector<std::string> lines = read_lines("splits.txt");
  ASSERT_GT(lines.size(), 400u);
  const std::vector<std::string> names = split_fields(lines[0], ';');
  ASSERT_EQ(names.size(), 12u);
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const std::vector<std::string> fields = split_fields(lines[i], ';');
    ASSERT_EQ(fields.size(), names.size() + 1);
    for (std::size_t k = 0; k < names.size(); ++k) {
      const PreTokenizer* pre = find_pre_tokenizer(names[k]);
      ASSERT_NE(pre, nullptr) << names[k];
      EXPECT_EQ(lengths(*pre, from_hex(fields[0])), fields[k + 1]) << names[k] << " '" << from_hex(fields[0]) << "'";
    }
  }
}

TEST(PreTokenizer, EveryExpressionIsUnderTest) {
  std::set<const NextPiece*> tested;
  const std::vector<std::string> lines = read_lines("splits.txt");
  ASSERT_FALSE(lines.empty());
  for (const std::string& name : split_fields(lines[0], ';')) tested.insert(find_pre_tokenizer(name)->passes.data());
  for (const PreTokenizer& pre : pre_tokenizers()) EXPECT_EQ(tested.count(pre.passes.data()), 1u) << pre.name;
}

TEST(PreTokenizer, NamesAreUniqueAndUnknownOnesAreNot) {
  std::set<std::string_view> names;
  for (const PreTokenizer& pre : pre_tokenizers()) EXPECT_TRUE(names.insert(pre.name).second) << pre.name;
  EXPECT_EQ(find_pre_tokenizer("no-such"), nullptr);
  EXPECT_EQ(find_pre_tokenizer(""), nullptr);
}

TEST(Unicode, DecodesOnlyWellFormedSequences) {
  const auto decode = [](std::string_view text) { return char_at(text.data(), text.data() + text.size()); };
  EXPECT_EQ(decode("\xC3\xA9").code, 0xE9u);
  EXPECT_EQ(decode("\xE2\x96\x81").code, 0x2581u);
  EXPECT_EQ(decode("\xF0\x9F\x98\x81").code, 0x1F601u);
  EXPECT_EQ(decode("\xF4\x8F\xBF\xBF").code, 0x10FFFFu);
  // Overlong forms, a surrogate, above U+10FFFF, a lone continuation, truncations.
  for (const char* bad :
       {"\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80", "\x80", "\xE2\x96", "\xF0\x9F\x98", "\xC3", "\xC3(", "\xFF"}) {
    EXPECT_EQ(decode(bad).code, 0xFFFDu);
    EXPECT_EQ(decode(bad).size, 1);
  }
}

TEST(Unicode, Classes) {
  EXPECT_EQ(char_class_wide(0xE9), kLetter | kLower);
  EXPECT_EQ(char_class_wide(0x01C5), kLetter | kUpper);  // titlecase
  EXPECT_EQ(char_class_wide(0x4E2D), kLetter);
  EXPECT_EQ(char_class_wide(0xBD), kNumber);
  EXPECT_EQ(char_class_wide(0x301), kMark);
  EXPECT_EQ(char_class_wide(0x2014), kPunctuation);
  EXPECT_EQ(char_class_wide(0x1F601), kSymbol);
  EXPECT_EQ(char_class_wide(0x3000), kSpace);
  EXPECT_EQ(char_class_wide(0x85), kSpace);
  EXPECT_EQ(char_class_wide(0x200B), 0);
  EXPECT_EQ(char_class_wide(0x2FFFF), 0);
  EXPECT_EQ(char_class_wide(0x110000), 0);
  // The table for ASCII and the generated one agree.
  for (unsigned c = 0; c < 128; ++c) EXPECT_EQ(kAsciiClasses.bits[c], char_class_wide(c)) << c;
}

}  // namespace
}  // namespace rowmax::engine
