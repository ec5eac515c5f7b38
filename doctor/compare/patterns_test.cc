// Each pattern, made by hand from its definition, is recognised as itself; a difference that is none stays unnamed.
#include "doctor/compare/patterns.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/half.h"

namespace rowmax::doctor {
namespace {

constexpr std::int64_t kRows = 5, kHeads = 4, kDim = 8, kWidth = kHeads * kDim;

// Numbers without a pattern of their own.
StageValues some_values(std::uint64_t seed = 1) {
  StageValues out;
  out.width = kWidth;
  for (std::int64_t r = 0; r < kRows; ++r) {
    out.positions.push_back(r);
    for (std::int64_t i = 0; i < kWidth; ++i) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      out.values.push_back(static_cast<float>(static_cast<double>(seed >> 33) / (1u << 30) - 1.0));
    }
  }
  return out;
}

// theirs(r, i) from ours.
std::string pattern_of(const std::function<float(const StageValues&, std::int64_t, std::int64_t)>& theirs) {
  const StageValues ours = some_values();
  StageValues other = ours;
  for (std::int64_t r = 0; r < kRows; ++r) {
    for (std::int64_t i = 0; i < kWidth; ++i)
      other.values[static_cast<std::size_t>(r * kWidth + i)] = theirs(ours, r, i);
  }
  return find_pattern(ours, other, kHeads, 1e-4).text;
}
float at(const StageValues& values, std::int64_t r, std::int64_t i) {
  return values.values[static_cast<std::size_t>(r * kWidth + i)];
}

TEST(Patterns, AreRecognised) {
  struct Case {
    const char* says;
    std::function<float(const StageValues&, std::int64_t, std::int64_t)> theirs;
  };
  const Case cases[] = {
      {"scaled: theirs = ours * 0.125", [](auto& o, auto r, auto i) { return 0.125f * at(o, r, i); }},
      {"the sign: theirs = -ours", [](auto& o, auto r, auto i) { return -at(o, r, i); }},
      {"all zero", [](auto&, auto, auto) { return 0.0f; }},
      {"a bias", [](auto& o, auto r, auto i) { return at(o, r, i) + 0.1f * static_cast<float>(i % 7) - 0.2f; }},
      {"ours of the token before", [](auto& o, auto r, auto i) { return r == 0 ? 3.0f : at(o, r - 1, i); }},
      {"ours of the next token", [](auto& o, auto r, auto i) { return r + 1 == kRows ? 3.0f : at(o, r + 1, i); }},
      {"bf16", [](auto& o, auto r, auto i) { return base::bf16_to_f32(base::f32_to_bf16(at(o, r, i))); }},
      {"f16", [](auto& o, auto r, auto i) { return base::f16_to_f32(base::f32_to_f16(at(o, r, i))); }},
      {"halves swapped, in every head",
       [](auto& o, auto r, auto i) { return at(o, r, i / kDim * kDim + (i + kDim / 2) % kDim); }},
      {"halves interleaved",
       [](auto& o, auto r, auto i) { return at(o, r, i / kDim * kDim + i % 2 * (kDim / 2) + i % kDim / 2); }},
      {"adjacent pairs taken apart",
       [](auto& o, auto r, auto i) {
         const std::int64_t k = i % kDim;
         return at(o, r, i / kDim * kDim + k % (kDim / 2) * 2 + k / (kDim / 2));
       }},
      {"neighbours swapped", [](auto& o, auto r, auto i) { return at(o, r, i ^ 1); }},
      {"heads, reversed", [](auto& o, auto r, auto i) { return at(o, r, (kHeads - 1 - i / kDim) * kDim + i % kDim); }},
      {"transposed: [head, dimension]",
       [](auto& o, auto r, auto i) { return at(o, r, i % kHeads * kDim + i / kHeads); }},
      {"[tokens, width] as [width, tokens]",
       [](auto& o, auto r, auto i) {
         const std::int64_t flat = r * kWidth + i;  // of [width, tokens]
         return at(o, flat % kRows, flat / kRows);
       }},
      {"another order", [](auto& o, auto r, auto i) { return at(o, r, i * 13 % kWidth); }},
      {"the sign of", [](auto& o, auto r, auto i) { return i % 3 == 0 ? -at(o, r, i) : at(o, r, i); }},
      {"each token by its own factor",
       [](auto& o, auto r, auto i) { return at(o, r, i) * (1.0f + 0.1f * static_cast<float>(r * r)); }},
      {"only heads 2 of 4 differ", [](auto& o, auto r, auto i) { return i / kDim == 2 ? 1.0f : at(o, r, i); }},
      {"no simple pattern", [](auto& o, auto r, auto i) { return std::sin(9.0f * at(o, r, i)); }},
  };
  for (const Case& each : cases) {
    const std::string found = pattern_of(each.theirs);
    EXPECT_NE(found.find(each.says), std::string::npos) << "expected " << each.says << ", found " << found;
  }
}

TEST(Patterns, TellTheFactor) {
  const StageValues ours = some_values();
  StageValues theirs = ours;
  for (float& value : theirs.values) value *= 8;
  EXPECT_NEAR(find_pattern(ours, theirs, kHeads, 1e-4).scale, 8, 1e-6);
  EXPECT_FALSE(find_pattern(ours, some_values(99), kHeads, 1e-4).found);
}

}  // namespace
}  // namespace rowmax::doctor
