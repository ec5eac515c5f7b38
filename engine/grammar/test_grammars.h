// What the tests of grammars share.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/engine/grammar.h"

namespace rowmax::engine::test {

inline std::vector<nlohmann::json> read_json_lines(const std::string& name) {
  std::ifstream file(std::string(ROWMAX_SOURCE_DIR) + "/engine/grammar/testdata/" + name);
  std::vector<nlohmann::json> rows;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with('#')) rows.push_back(nlohmann::json::parse(line));
  }
  return rows;
}

// splitmix64
inline std::uint64_t next_random(std::uint64_t& state) {
  std::uint64_t z = state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// Whether the text matches; an error is a failure of the test.
inline bool matches(const Result<Grammar>& grammar, std::string_view text) {
  if (!grammar.ok()) {
    ADD_FAILURE() << grammar.error().message;
    return false;
  }
  const auto found = grammar->matches(text);
  if (!found.ok()) ADD_FAILURE() << found.error().message;
  return found.ok() && *found;
}

inline void expect_error(const Result<Grammar>& grammar, ErrorCode code, std::string_view part) {
  ASSERT_FALSE(grammar.ok()) << part;
  EXPECT_EQ(grammar.error().code, code) << grammar.error().message;
  EXPECT_NE(grammar.error().message.find(part), std::string::npos) << grammar.error().message << "\n  lacks: " << part;
}

}  // namespace rowmax::engine::test
