// Reading the stored vectors for the tests of this folder.
#pragma once

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "engine/tokenizer/test_vocabulary.h"

namespace rowmax::engine {

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
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
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
