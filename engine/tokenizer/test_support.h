// Reading the stored vectors, and small vocabularies, for the tests of this folder.
#pragma once

#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/bpe.h"
#include "engine/tokenizer/source.h"

namespace rowmax::engine {

// Owns what a TokenizerSource looks at.
struct TestVocabulary {
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<std::int64_t> types;
  std::vector<std::string> merges;

  TokenId add(std::string text, std::int64_t type = 1, float score = 0) {
    tokens.push_back(std::move(text));
    types.push_back(type);
    scores.push_back(score);
    return static_cast<TokenId>(tokens.size() - 1);
  }
  TokenizerSource bpe(const std::string& pre) const {
    TokenizerSource out;
    out.name = "test.gguf";
    out.model = "gpt2";
    out.pre = pre;
    out.tokens.assign(tokens.begin(), tokens.end());
    out.token_types = types;
    out.merges.emplace(merges.begin(), merges.end());
    return out;
  }
  TokenizerSource spm() const {
    TokenizerSource out;
    out.name = "test.gguf";
    out.model = "llama";
    out.tokens.assign(tokens.begin(), tokens.end());
    out.token_types = types;
    out.scores = scores;
    return out;
  }
};

// The 256 bytes as tokens 0 to 255.
inline TestVocabulary byte_vocabulary() {
  TestVocabulary out;
  for (int byte = 0; byte < 256; ++byte) out.add(std::string(byte_text(static_cast<std::uint8_t>(byte))));
  return out;
}

// Llama's first tokens: <unk> <s> </s>, then the byte tokens.
inline TestVocabulary spm_vocabulary() {
  static constexpr char kHex[] = "0123456789ABCDEF";
  TestVocabulary out;
  out.add("<unk>", 2);
  out.add("<s>", 3);
  out.add("</s>", 3);
  for (int byte = 0; byte < 256; ++byte) out.add(std::string("<0x") + kHex[byte >> 4] + kHex[byte & 15] + ">", 6);
  return out;
}

inline std::vector<std::string> split_fields(const std::string& line, char separator) {
  std::vector<std::string> out(1);
  for (const char c : line) {
    if (c == separator) {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  return out;
}

inline std::string from_hex(const std::string& hex) {
  std::string out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return out;
}

inline std::vector<TokenId> to_ids(const std::string& text) {
  std::istringstream in(text);
  std::vector<TokenId> out;
  for (TokenId id; in >> id;) out.push_back(id);
  return out;
}

// The lines of a stored file without its comments (lines that begin with "# " before the data).
inline std::vector<std::string> read_lines(const std::string& name) {
  std::ifstream in(std::string(ROWMAX_SOURCE_DIR) + "/engine/tokenizer/testdata/" + name, std::ios::binary);
  std::vector<std::string> out;
  for (std::string line; std::getline(in, line);) {
    if (!out.empty() || line.substr(0, 2) != "# ") out.push_back(line);
  }
  return out;
}

}  // namespace rowmax::engine
