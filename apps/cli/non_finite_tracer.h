// Finds where numbers that are not finite come from: the first operation of a layer whose output has one although its
// inputs had none.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "rowmax/engine/trace.h"
#include "rowmax/probe.h"

namespace rowmax::cli {

class NonFiniteTracer {
 public:
  enum class Inputs : std::uint8_t {
    kWeights,    // there are none but a row of the embedding
    kFinite,     // so it came up here
    kNonFinite,  // it came up before
  };
  struct Origin {
    engine::Stage stage = engine::Stage::kCount;
    std::int64_t layer = -1;
    engine::TraceRow token;
    std::int64_t row = 0;     // of the batch of this forward pass
    std::int64_t head = -1;   // -1: the stage has none
    std::int64_t column = 0;  // within the head; of scores the key
    float value = 0;
    std::int64_t n_non_finite = 0;  // in the token's row of the stage
    Inputs inputs = Inputs::kFinite;
    // Keys that the token sees, of those that there are; -1: not known here.
    std::int64_t n_visible = -1, n_kv = -1;
  };
  static std::string_view operation(engine::Stage stage);  // "rms_norm", "product", ...

  // Every stage, in the order in which the forward pass shows them. found is called for each origin, once a sequence,
  // layer and stage; a sequence begins anew at position 0.
  void see(const engine::TraceView& view, const std::function<void(const Origin&)>& found);
  void see_row(std::int64_t layer, const ProbeRow& row);

 private:
  using Row = std::pair<engine::SequenceId, std::int64_t>;
  struct Keys {
    std::int64_t n_visible = -1, n_kv = -1;
  };

  Inputs inputs_of(engine::Stage stage, std::int64_t layer, const Row& row) const;
  bool memory_is_bad(std::int64_t layer, const Row& row) const;
  void mark(const engine::TraceView& view, const Row& row, bool bad);
  void begin_batch(const engine::TraceView& view);
  void begin_layer(std::int64_t layer);
  void note_order(const engine::TraceView& view);

  static constexpr std::int64_t kNoLayer = -2;
  std::int64_t layer_ = kNoLayer;  // the one in hand
  engine::Stage previous_ = engine::Stage::kCount;
  bool recurs_ = false;                // it is a delta net
  std::map<Row, std::uint32_t> bad_;   // its stages that are not finite, a bit each
  std::map<Row, Keys> keys_;           // what its rows see
  std::set<Row> stream_bad_;           // the residual stream in front of it
  std::set<std::int64_t> has_memory_;  // layers with keys and values, or a state, of their own
  // Positions whose keys, values or inputs of the recurrence are not finite.
  std::map<std::pair<engine::SequenceId, std::int64_t>, std::set<std::int64_t>> memory_bad_;
  std::set<std::tuple<engine::SequenceId, std::int64_t, engine::Stage>> told_;
};

}  // namespace rowmax::cli
