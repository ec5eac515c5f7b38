#include <algorithm>
#include <iterator>

#include "rowmax/engine/trace.h"

namespace rowmax::engine {
namespace {

constexpr std::string_view kNames[] = {"embedding",  "attn_norm", "q_raw",     "q",         "k_raw",       "k",
                                       "v",          "scores",    "attn_out",  "mixer_out", "ffn_norm",    "gate",
                                       "up",         "act",       "router",    "experts",   "shared.gate", "shared.up",
                                       "shared.act", "state",     "block_out", "residual",  "output_norm", "logits"};
static_assert(std::size(kNames) == static_cast<std::size_t>(Stage::kCount));

}  // namespace

std::string_view stage_name(Stage stage) noexcept {
  return stage < Stage::kCount ? kNames[static_cast<std::size_t>(stage)] : std::string_view("?");
}

bool can_be_replaced(Stage stage) noexcept {
  constexpr Stage kOnlyShown[] = {Stage::kScores, Stage::kRouter, Stage::kExperts, Stage::kState, Stage::kLogits};
  return std::ranges::find(kOnlyShown, stage) == std::end(kOnlyShown);
}

std::optional<Stage> find_stage(std::string_view name) noexcept {
  const auto* found = std::ranges::find(kNames, name);
  if (found == std::end(kNames)) return std::nullopt;
  return static_cast<Stage>(found - kNames);
}

}  // namespace rowmax::engine
