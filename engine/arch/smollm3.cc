// SmolLM3: Llama with layers that turn neither q nor k (NoPE): every fourth, or those that attention.rope_pattern has
// false for.
#include <string>

#include "engine/arch/architecture.h"

namespace rowmax::engine {

void read_smollm3(KeyReader& keys, ModelSpec& spec) {
  constexpr const char* kKey = "attention.rope_pattern";
  read_common(keys, spec, RopePairing::kAdjacent);
  if (keys.failed()) return;
  const auto listed = keys.ints(kKey, spec.layers.size());
  if (listed && listed->size() != spec.layers.size()) {
    return keys.fail(ErrorCode::kCorrupt, "key '" + keys.full_key(kKey) + "': expected " +
                                              std::to_string(spec.layers.size()) + " values (block_count), found " +
                                              std::to_string(listed->size()));
  }
  for (const std::int64_t turns : listed.value_or(std::vector<std::int64_t>())) {
    if (turns == 0 || turns == 1) continue;
    return keys.fail(ErrorCode::kCorrupt,
                     "key '" + keys.full_key(kKey) + "': expected true or false, found " + std::to_string(turns));
  }
  std::string nope;
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const bool turns = listed ? (*listed)[i] != 0 : i % 4 != 3;
    if (turns) continue;
    spec.layers[i].attention.rope = -1;
    nope += (nope.empty() ? "" : ",") + std::to_string(i);
  }
  keys.fact("nope_layers", nope.empty() ? "none" : nope,
            listed ? "key " + keys.full_key(kKey) : "architecture smollm3: every 4th");
}

}  // namespace rowmax::engine
