// A fact of a LayerSpec in turn, on random models: the blocks and the logits are as defined, and not as without the fact.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>

#include "engine/model/test_random_model.h"

namespace rowmax::engine {

// The bounds of the exact path; a fact that is computed in another way is off by more than 1e-2 (expect_changed_logits).
constexpr double kTolerance = 1e-4, kBlockTolerance = 2e-5, kMargin = 2e-6;

struct Fact {
  const char* name;
  void (*change)(LayerSpec& layer, std::size_t index);
  friend void PrintTo(const Fact& fact, std::ostream* out) { *out << fact.name; }
};
inline std::string fact_name(const testing::TestParamInfo<Fact>& info) { return info.param.name; }

inline ModelSpec spec_with(const Fact& fact) {
  ModelSpec spec = plain_spec(3);
  for (std::size_t i = 0; i < spec.layers.size(); ++i) fact.change(spec.layers[i], i);
  return spec;
}
// Its own numbers for each fact, wherever its table has it.
inline std::uint64_t seed_of(const Fact& fact) {
  std::uint64_t seed = 0;
  for (const char letter : std::string_view(fact.name)) seed = seed * 31 + static_cast<unsigned char>(letter);
  return seed;
}

inline void expect_as_defined(const Fact& fact) {
  const ModelSpec spec = spec_with(fact);
  Outcome outcome;
  // Where two experts are as good as equal, another model.
  for (std::uint64_t i = 0; i < 8 && outcome.margin <= kMargin; ++i) {
    Dice dice(seed_of(fact) + i);
    const RandomModel model(spec, dice);
    outcome = compare(model, dice);
  }
  ASSERT_GT(outcome.margin, kMargin);
  EXPECT_LE(outcome.worst, kTolerance);
  EXPECT_LE(outcome.worst_block, kBlockTolerance);
}

// A fact that changed nothing would pass above without being tested.
inline void expect_changed_logits(const Fact& fact) {
  const ModelSpec spec = plain_spec(3), changed = spec_with(fact);
  Dice dice(seed_of(fact));
  const RandomModel model(changed, dice);
  // The plain model with what the weights of both have in common.
  Dice other(7);
  const RandomModel plain(spec, other);
  reference::Weights weights = plain.raw;
  weights.embedding = model.raw.embedding;
  weights.output = model.raw.output;
  weights.output_norm = model.raw.output_norm;
  for (std::size_t layer = 0; layer < spec.layers.size(); ++layer) {
    for (const auto& [id, values] : model.raw.layers[layer]) {
      const auto own = weights.layers[layer].find(id);
      if (own != weights.layers[layer].end() && own->second.size() == values.size()) own->second = values;
    }
  }
  reference::Model one(spec, weights), two(changed, model.raw);
  double most = 0;
  for (TokenId token = 0; token < 20; ++token) {
    const reference::Vector a = one.next(token), b = two.next(token);
    for (std::size_t k = 0; k < a.size(); ++k) most = std::max(most, std::abs(a[k] - b[k]));
  }
  EXPECT_GT(most, 1e-2);
}

}  // namespace rowmax::engine
