#include "engine/serving/page_file.h"

#include <gtest/gtest.h>

#include <vector>

namespace rowmax::engine::page_file_test {
namespace {

struct Written {
  base::Sha256::Digest numbers = {1, 2, 3};
  PageName name;
  std::vector<TokenId> tokens;
  std::vector<std::byte> file = std::vector<std::byte>(PageFile::bytes(100), std::byte{7});

  Written() {
    for (TokenId i = 0; i < kPrefixPageTokens; ++i) tokens.push_back(i * 31);
    name.key = next_key(first_key(numbers), tokens);
    name.parts = 5;
    PageFile::write_head(file, numbers, name, tokens);
    PageFile::write_sum(file);
  }
  const char* fault() const { return PageFile::fault(file, numbers, name, tokens); }
};

TEST(PageFile, EachBitCounts) {
  Written written;
  ASSERT_EQ(written.fault(), nullptr) << written.fault();
  for (std::size_t bit = 0; bit < written.file.size() * 8; ++bit) {
    written.file[bit / 8] ^= std::byte{1} << bit % 8;
    EXPECT_NE(written.fault(), nullptr) << bit;
    written.file[bit / 8] ^= std::byte{1} << bit % 8;
  }
  EXPECT_EQ(written.fault(), nullptr);
}

// Even where somebody made its sum anew, a head that is not the expected one is none.
TEST(PageFile, EachBitOfTheHeadCountsByItself) {
  Written written;
  for (std::size_t bit = 0; bit < PageFile::kHeadBytes * 8; ++bit) {
    written.file[bit / 8] ^= std::byte{1} << bit % 8;
    PageFile::write_sum(written.file);
    ASSERT_NE(written.fault(), nullptr) << bit;
    EXPECT_STREQ(written.fault(), "it is another page") << bit;
    written.file[bit / 8] ^= std::byte{1} << bit % 8;
  }
}

TEST(PageFile, ShorterOnesAreNone) {
  Written written;
  for (std::size_t n = 0; n < written.file.size(); ++n) {
    EXPECT_NE(PageFile::fault(std::span(written.file).first(n), written.numbers, written.name, written.tokens),
              nullptr);
  }
}

TEST(PageFile, KeysAreThoseOfAllTokensBefore) {
  const Written written;
  std::vector<TokenId> other = written.tokens;
  ++other.back();
  const PageKey first = first_key(written.numbers), next = next_key(first, written.tokens);
  EXPECT_NE(next, next_key(first, other));
  EXPECT_NE(next_key(next, written.tokens), next);
  EXPECT_NE(next_key(next_key(first, other), written.tokens), next_key(next, written.tokens));
}

TEST(PageName, IsItsText) {
  const PageName name = Written().name;
  const std::string text = name.text();
  const auto parsed = PageName::parse(text);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->text(), text);
  EXPECT_TRUE(text.starts_with(name.stem()));
  for (std::size_t n = 0; n < text.size(); ++n) EXPECT_FALSE(PageName::parse(std::string_view(text).substr(0, n))) << n;
  EXPECT_FALSE(PageName::parse(text + "x"));
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string bad = text;
    bad[i] = 'Z';
    EXPECT_FALSE(PageName::parse(bad)) << bad;
  }
}

}  // namespace
}  // namespace rowmax::engine::page_file_test
