// Forms as Hugging Face `tokenizers` gives them (testdata/nfc.txt, tools/oracle/nfc_vectors.py).
#include "engine/tokenizer/nfc.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "engine/tokenizer/test_support.h"

namespace rowmax::engine {
namespace {

std::string utf8(std::uint32_t code) {
  if (code < 0x80) return {static_cast<char>(code)};
  std::string out;
  const int tails = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  const std::uint32_t head = tails == 1 ? 0xC0 : tails == 2 ? 0xE0 : 0xF0;
  out += static_cast<char>(head | code >> (6 * tails));
  for (int i = tails - 1; i >= 0; --i) out += static_cast<char>(0x80 | (code >> (6 * i) & 0x3F));
  return out;
}

std::uint64_t fnv1a(std::string_view data, std::uint64_t value) {
  for (const char c : data) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return value;
}

TEST(Nfc, AsTokenizersDoes) {
  int n_texts = 0, n_changed = 0, n_blocks = 0;
  for (const std::string& line : read_lines("nfc.txt")) {
    const std::vector<std::string> fields = split_fields(line, ';');
    if (fields[0] != "all") {
      EXPECT_EQ(to_nfc(from_hex(fields[0])), from_hex(fields[1])) << line;
      n_changed += fields[0] != fields[1];
      ++n_texts;
      continue;
    }
    const auto begin = static_cast<std::uint32_t>(std::stoul(fields[1], nullptr, 16));
    std::uint64_t hash = 0xCBF29CE484222325;
    for (std::uint32_t code = begin; code < begin + 0x1000; ++code) {
      for (const std::string& text : {utf8(code), "e" + utf8(code), utf8(code) + "\u0301"}) {
        hash = fnv1a(to_nfc(text), hash);
      }
    }
    char hex[20];
    std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(hash));
    EXPECT_EQ(hex, fields[2]) << "characters from " << fields[1];
    ++n_blocks;
  }
  EXPECT_EQ(n_texts, 300);
  EXPECT_EQ(n_changed, 149);
  EXPECT_EQ(n_blocks, 47);
}

// Nothing is lost where a text is no UTF-8, and nothing is joined over it.
TEST(Nfc, BytesThatAreNoText) {
  EXPECT_EQ(to_nfc("e\xFF\u0301"), "e\xFF\u0301");
  EXPECT_EQ(to_nfc("\xE9\u0301 e\u0301\xC3"), "\xE9\u0301 \u00E9\xC3");
  EXPECT_EQ(to_nfc(""), "");
}

}  // namespace
}  // namespace rowmax::engine
