#include "apps/server/pattern.h"

#include <gtest/gtest.h>

#include <regex>
#include <string>

namespace rowmax::server {
namespace {

std::string matches(std::string_view pattern, std::string_view text) {
  const auto parsed = Pattern::parse(pattern);
  if (!parsed.ok()) return parsed.error().message;
  std::string all;
  std::uint64_t steps = 100'000'000;
  const auto found = parsed->find_all(text, steps);
  if (!found) return "more steps";
  for (const auto& match : *found) all += "<" + std::string(text.substr(match.begin, match.end - match.begin)) + ">";
  return all;
}

TEST(Pattern, FindsTheLeftmostAndLongest) {
  EXPECT_EQ(matches("a|ab|abc", "xabcab"), "<abc><ab>");
  EXPECT_EQ(matches("cch=[0-9a-f]+", "a cch=a1; cch=b2f, cch=x"), "<cch=a1><cch=b2f>");
  EXPECT_EQ(matches("a*b", "aaab b caab"), "<aaab><b><aab>");
  EXPECT_EQ(matches("(ab|a)(c|bcd)", "abcd"), "<abcd>");
  EXPECT_EQ(matches("x{2,3}", "xxxxxx x"), "<xxx><xxx>");
  EXPECT_EQ(matches("x{2}", "xxxxx"), "<xx><xx>");
  EXPECT_EQ(matches("x{2,}", "xxxxx x"), "<xxxxx>");
  EXPECT_EQ(matches(R"(\d{4}-\d\d-\d\d)", "on 2024-05-06."), "<2024-05-06>");
  EXPECT_EQ(matches(R"(\bin\b)", "in inn bin in"), "<in><in>");
  EXPECT_EQ(matches("[^a]", "abaca"), "<b><c>");
  EXPECT_EQ(matches("[]a]+", "x]a]"), "<]a]>");
  EXPECT_EQ(matches("[a-]+", "x-a-"), "<-a->");
  EXPECT_EQ(matches(".+", "one\ntwo"), "<one><two>");
  EXPECT_EQ(matches("ab+", "aab abbb"), "<ab><abbb>");
}

TEST(Pattern, CharactersOfUtf8AndOtherBytes) {
  EXPECT_EQ(matches("[\xC3\xA4-\xC3\xBC]+", "gr\xC3\xA4\xC3\xBCn"), "<\xC3\xA4\xC3\xBC>");
  EXPECT_EQ(matches(".", "\xC3\xA4"), "<\xC3\xA4>");
  EXPECT_EQ(matches("a.b",
                    "a\xFF"
                    "b"),
            "<a\xFF"
            "b>");
  EXPECT_EQ(matches("\\D+",
                    "1\xC3\xA4\xFF"
                    "2"),
            "<\xC3\xA4\xFF>");
}

// Against the standard library's regular expressions (leftmost-longest with POSIX's grammar), on random texts.
TEST(Pattern, IsAsPosixHasIt) {
  const char* patterns[] = {"a|b|ab", "(a|ab)(c|bcd)*", "a+b*a", "[ab]{2,3}c", "(aa|aab|b)+c?", "a(b|c)?a", "(ab*){2}"};
  std::uint64_t state = 1;
  int n_found = 0;
  for (int turn = 0; turn < 400; ++turn) {
    std::string text;
    for (int i = 0; i < 24; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      text += static_cast<char>('a' + (state >> 33) % 4);
    }
    for (const char* pattern : patterns) {
      const std::regex other(pattern, std::regex::extended);
      std::string want;
      for (std::sregex_iterator each(text.begin(), text.end(), other), end; each != end; ++each) {
        want += "<" + each->str() + ">";
        ++n_found;
      }
      ASSERT_EQ(matches(pattern, text), want) << pattern << " on " << text;
    }
  }
  EXPECT_GT(n_found, 1000);
}

TEST(Pattern, ErrorsNameThePlace) {
  for (const auto& [pattern, says] : {std::pair{"a(b", "character 4: expected ), found the end"},
                                      {"a)", "character 2: expected an end, found \")\""},
                                      {"*a", "character 1: expected something to repeat"},
                                      {"[a", "character 3: expected ]"},
                                      {"[b-a]", "expected a range that goes up"},
                                      {"a{2,1}", "a range that goes up"},
                                      {"a{1001}", "from 0 to 1000"},
                                      {"\\q", "character 2: expected one of"},
                                      {"\\", "behind \\"},
                                      {"^a", "\\^ for this one"},
                                      {"a*", "an empty text"},
                                      {"", "an empty text"},
                                      {"\\b", "an empty text"},
                                      {"(a{1000}){1000}", "too large"},
                                      {"((((){1000}){1000}){1000}){1000}a", "more than 262144 parts"},
                                      {"(((){1000}){1000}){9,}a", "more than 262144 parts"},
                                      {"(?a)", "expected :"}}) {
    const auto parsed = Pattern::parse(pattern);
    ASSERT_FALSE(parsed.ok()) << pattern;
    EXPECT_NE(parsed.error().message.find(says), std::string::npos) << pattern << ": " << parsed.error().message;
  }
  EXPECT_FALSE(Pattern::parse(std::string(150, '(') + "a" + std::string(150, ')')).ok());
  EXPECT_FALSE(Pattern::parse(std::string(5000, 'a')).ok());
}

// The steps that it takes; nullopt: more than `most`.
std::optional<std::uint64_t> steps_of(std::string_view pattern, std::string_view text, std::uint64_t most) {
  const auto parsed = Pattern::parse(pattern);
  EXPECT_TRUE(parsed.ok());
  std::uint64_t left = most;
  if (!parsed.ok() || !parsed->find_all(text, left)) return std::nullopt;
  return most - left;
}

// What takes exponential or quadratic time elsewhere.
TEST(Pattern, ManyWaysAreFollowedAtOnce) {
  const auto steps = steps_of("(a|a|aa)+b", std::string(20000, 'a'), 20000 * 100);
  ASSERT_TRUE(steps.has_value());
  EXPECT_EQ(matches("(a|a|aa)+b", std::string(20000, 'a')), "");
  std::string each;
  for (int i = 0; i < 4000; ++i) each += "<a>";
  EXPECT_EQ(matches("a|a[^b]*b", std::string(4000, 'a')), each);
  EXPECT_EQ(matches("a.*b", "a" + std::string(2000, 'x') + "b"), "");  // longer than a match may be
}

// What looks far behind each short match takes many steps: they are counted, and no more are taken than were given.
TEST(Pattern, TakesNoMoreStepsThanItIsGiven) {
  const std::string text(200'000, 'a');
  EXPECT_EQ(steps_of("a|a.*Z", text, 64 * text.size() + 10'000'000), std::nullopt);
  std::string many = "a|a(.";
  for (int i = 0; i < 299; ++i) many += i % 2 == 0 ? "|[ab]" : "|\\w";
  EXPECT_EQ(steps_of(many + ")*Z", std::string(2000, 'a'), 10'000'000), std::nullopt);
  // Ranges of a class cost, too.
  std::string wide = "[";
  for (char c = '!'; c < '['; ++c) wide += c;
  EXPECT_GE(steps_of(wide + "]b", text, 1 << 30).value(), steps_of("[!-Z]b", text, 1 << 30).value() + 7 * text.size());
  // One step less than it takes is too few.
  const std::uint64_t needed = steps_of("a[ab]+c", "xxabababcxaaa", 1000).value();
  EXPECT_GT(needed, 13u);
  EXPECT_EQ(steps_of("a[ab]+c", "xxabababcxaaa", needed), needed);
  EXPECT_EQ(steps_of("a[ab]+c", "xxabababcxaaa", needed - 1), std::nullopt);
}

// A part of nothing adds no states, however often it is repeated.
TEST(Pattern, IsBuiltOfBoundedlyManyParts) {
  const auto pattern = Pattern::parse("(((){100}){100}){10}a");
  ASSERT_TRUE(pattern.ok());
  EXPECT_GT(pattern->n_parts(), 100'000u);
  EXPECT_LE(pattern->n_parts(), 262'144u);
}

}  // namespace
}  // namespace rowmax::server
