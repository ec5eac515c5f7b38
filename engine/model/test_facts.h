// A fact of a LayerSpec in turn, on random models: the blocks and the logits are as defined, and not as without the fact.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <ostream>
#include <string>

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

void expect_as_defined(const Fact& fact);
// A fact that changed nothing would pass above without being tested.
void expect_changed_logits(const Fact& fact);

}  // namespace rowmax::engine
