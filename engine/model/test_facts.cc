#include "engine/model/test_facts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string_view>

namespace rowmax::engine {
namespace {

ModelSpec spec_with(const Fact& fact) {
  ModelSpec spec = plain_spec(3);
  for (std::size_t i = 0; i < spec.layers.size(); ++i) fact.change(spec.layers[i], i);
  return spec;
}
// Its own numbers for each fact, wherever its table has it.
std::uint64_t seed_of(const Fact& fact) {
  std::uint64_t seed = 0;
  for (const char letter : std::string_view(fact.name)) seed = seed * 31 + static_cast<unsigned char>(letter);
  return seed;
}

}  // namespace

void expect_as_defined(const Fact& fact) {
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

void expect_changed_logits(const Fact& fact) {
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
