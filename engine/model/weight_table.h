// Every weight that a layer can have: one row each. What a file must hold, what is packed, what may be stored turned by
// the Hadamard contract and what converters are to write all follows from here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "engine/model/spec.h"

namespace rowmax::engine {

// The weights of a layer, in the order in which they are packed (and met, when a token is computed).
enum class W : std::uint8_t {
  kAttnNorm,
  kAttnQ,
  kAttnK,
  kAttnV,
  kAttnOutput,
  kAttnQBias,
  kAttnKBias,
  kAttnVBias,
  kAttnOutputBias,
  kAttnQScale,
  kAttnKScale,
  kAttnVScale,
  kAttnOutputScale,
  kAttnQNorm,
  kAttnKNorm,
  kAttnSubNorm,
  kAttnSinks,
  kAttnQNormIn,
  kAttnKNormIn,
  kAttnVNormIn,
  kAttnOutputNormIn,
  kLatentQA,
  kLatentQNorm,
  kLatentQB,
  kLatentKv,
  kLatentNorm,
  kLatentK,
  kLatentV,
  kDeltaQkv,
  kDeltaGate,
  kDeltaAlpha,
  kDeltaBeta,
  kDeltaConv,
  kDeltaDecay,
  kDeltaDecayBias,
  kDeltaNorm,
  kDeltaOutput,
  kShortConvIn,
  kShortConv,
  kShortConvOutput,
  kPostAttnNorm,
  kFfnNorm,
  kFfnGate,
  kFfnUp,
  kFfnDown,
  kFfnGateScale,
  kFfnUpScale,
  kFfnDownScale,
  kFfnSubNorm,
  kFfnGateNormIn,
  kFfnUpNormIn,
  kFfnDownNormIn,
  kRouterNorm,
  kRouter,
  kRouterBias,  // of the choice alone
  kRouterLogitBias,
  kExpertsNorm,
  kExpertGate,
  kExpertUp,
  kExpertDown,
  kExpertGateBias,
  kExpertUpBias,
  kExpertDownBias,
  kExpertFactors,
  kSharedRouter,
  kSharedGate,
  kSharedUp,
  kSharedDown,
  kPostDenseNorm,
  kPostExpertsNorm,
  kPostFfnNorm,
  kLayerInputGate,
  kLayerInputOutput,
  kLayerInputNorm,
  kLayerOutputScale,
  kCount,
};
inline constexpr std::size_t kWeightCount = static_cast<std::size_t>(W::kCount);

enum class WeightKind : std::uint8_t {
  kVector,      // f32 [cols], or [rows, cols]: one for each expert
  kMatrix,      // [rows, cols] in any format: y = W x
  kExperts,     // [n, rows, cols]: a matrix for each expert
  kHeads,       // [n, rows, cols]: a matrix for each head
  kTransposed,  // f32 [rows, cols], few columns: kept as [cols][rows]
};

enum class Presence : std::uint8_t { kNever, kOptional, kRequired };

inline constexpr bool is_matrix(WeightKind kind) noexcept {
  return kind == WeightKind::kMatrix || kind == WeightKind::kExperts || kind == WeightKind::kHeads;
}

// Facts that an architecture's reader states with their sources (ModelFact), by name with blanks between: what decides
// something of a weight. Those that a model does not have are of others.
using FactNames = std::string_view;

struct WeightShape {
  std::int64_t cols = 0;
  std::int64_t rows = 1;
  std::int64_t n = 1;                   // experts, heads
  std::array<FactNames, 3> facts = {};  // of cols, rows and n
};

// When a weight is there. facts: the first of them that the model has decides it; none: the architecture.
struct PresenceRule {
  Presence (*of)(const LayerSpec& layer);
  FactNames facts = {};
  Presence operator()(const LayerSpec& layer) const { return of(layer); }
};

// What converters may store a weight in.
enum class WeightStorage : std::uint8_t {
  kF32,
  kFloat,  // F32, F16 or BF16: small, and decides much
  kAny,
};

struct WeightInfo {
  W id;
  WeightKind kind;
  bool hadamard;          // whether converters may store it turned (engine/io/hadamard_keys.h)
  std::string_view name;  // in GGUF, behind "blk.<layer>."
  WeightShape (*shape)(const ModelShape& model, const LayerSpec& layer);
  PresenceRule presence;
  std::string_view other_name = {};  // some architectures' files call it so

  WeightStorage storage() const noexcept;
  std::string tensor(std::int64_t layer) const { return tensor(layer, name); }
  static std::string tensor(std::int64_t layer, std::string_view name) {
    return "blk." + std::to_string(layer) + "." + std::string(name);
  }
};

// Weights of a layer that may lie in one tensor, the rows of one behind those of the other; of experts, each one's.
struct FusedWeights {
  std::string_view name;                 // in GGUF, behind "blk.<layer>."
  std::span<const W> parts;              // in their order; a file that has the first by its own name has all by theirs
  FactNames facts;                       // of its rows
  bool (*read)(const LayerSpec& layer);  // whether files may have them so
  bool (*written)(const LayerSpec& layer);  // and whether those that converters write have
};
std::span<const FusedWeights> fused_weights() noexcept;
// The one that has it in files that converters write; nullptr: none.
const FusedWeights* fused_with(W id, const LayerSpec& layer) noexcept;
WeightShape fused_shape(const FusedWeights& fused, const ModelShape& model, const LayerSpec& layer);

// In the order of W.
std::span<const WeightInfo> weight_table() noexcept;
inline const WeightInfo& weight_info(W id) noexcept { return weight_table()[static_cast<std::size_t>(id)]; }
// The row of a tensor "blk.<layer>.<name>", of fused ones that of the first part; nullptr for any other.
const WeightInfo* find_layer_weight(std::string_view tensor) noexcept;

}  // namespace rowmax::engine
