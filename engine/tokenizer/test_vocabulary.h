// Small vocabularies for the tests and the fuzz target of this folder.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
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
  TokenizerSource gemma4() const {
    TokenizerSource out = spm();
    out.model = "gemma4";
    out.merges.emplace(merges.begin(), merges.end());
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

}  // namespace rowmax::engine
