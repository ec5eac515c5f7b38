// For tests: logits stored beside a model in tests/golden (see its README).
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "rowmax/engine/session.h"

namespace rowmax::engine {

struct Golden {
  std::vector<TokenId> tokens;
  std::vector<std::uint32_t> rows;
  std::vector<float> logits;  // [rows][n_vocab]
  std::uint32_t n_vocab = 0;
};

// No rows where there is no such file.
inline Golden read_golden(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  Golden golden;
  std::uint32_t header[4];
  if (bytes.size() < 24 || std::memcmp(bytes.data(), "RMGOLD1", 8) != 0) return golden;
  std::memcpy(header, bytes.data() + 8, sizeof header);
  golden.tokens.resize(header[0]);
  golden.rows.resize(header[1]);
  golden.n_vocab = header[2];
  golden.logits.resize(static_cast<std::size_t>(header[1]) * header[2]);
  const char* at = bytes.data() + 24;
  const auto take = [&](auto& out) {
    std::memcpy(out.data(), at, out.size() * sizeof(out[0]));
    at += out.size() * sizeof(out[0]);
  };
  take(golden.tokens);
  take(golden.rows);
  take(golden.logits);
  return golden;
}

}  // namespace rowmax::engine
