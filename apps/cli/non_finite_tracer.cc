#include "apps/cli/non_finite_tracer.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <iterator>
#include <span>

namespace rowmax::cli {
namespace {

using engine::Stage;

constexpr std::uint32_t bit(Stage stage) { return std::uint32_t{1} << static_cast<unsigned>(stage); }
constexpr std::uint32_t bits(std::initializer_list<Stage> stages) {
  std::uint32_t all = 0;
  for (const Stage stage : stages) all |= bit(stage);
  return all;
}
static_assert(static_cast<int>(Stage::kCount) <= 32);

// What a stage is computed from: the stream in front of the layer, what the sequence remembers, stages of the layer.
struct Source {
  Stage stage;
  std::string_view operation;
  bool stream, memory;
  std::uint32_t stages;
};
constexpr bool kStream = true, kMemory = true, kNo = false;
using enum Stage;
constexpr Source kSources[] = {
    {kEmbedding, "lookup", kNo, kNo, 0},
    {kAttnNorm, "rms_norm", kStream, kNo, 0},
    {kQRaw, "product", kNo, kNo, bits({kAttnNorm})},
    {kQ, "bias_norm_rope", kNo, kNo, bits({kQRaw})},
    {kKRaw, "product", kNo, kNo, bits({kAttnNorm})},
    {kK, "bias_norm_rope", kNo, kNo, bits({kKRaw})},
    {kV, "product", kNo, kNo, bits({kAttnNorm, kQRaw, kKRaw})},
    {kScores, "softmax", kNo, kMemory, bits({kQ})},
    {kAttnOut, "weighted_sum", kNo, kMemory, bits({kScores, kQ, kQRaw, kAttnNorm})},
    {kMixerOut, "product", kNo, kNo, bits({kAttnOut})},
    {kFfnNorm, "rms_norm", kStream, kNo, bits({kMixerOut})},
    {kGate, "product", kNo, kNo, bits({kFfnNorm})},
    {kUp, "product", kNo, kNo, bits({kFfnNorm})},
    {kAct, "activation", kNo, kNo, bits({kGate, kUp})},
    {kRouter, "product_softmax", kNo, kNo, bits({kFfnNorm})},
    {kExperts, "choice", kNo, kNo, bits({kRouter})},
    {kSharedGate, "product", kNo, kNo, bits({kFfnNorm})},
    {kSharedUp, "product", kNo, kNo, bits({kFfnNorm})},
    {kSharedAct, "activation", kNo, kNo, bits({kSharedGate, kSharedUp})},
    {kState, "delta_rule", kNo, kMemory, bits({kQ, kK, kV, kAttnNorm})},
    {kBlockOut, "product", kNo, kNo, bits({kAct, kExperts, kSharedAct, kFfnNorm})},
    {kResidual, "add", kStream, kNo, bits({kMixerOut, kBlockOut})},
    {kOutputNorm, "rms_norm", kStream, kNo, 0},
    {kLogits, "product", kNo, kNo, bits({kOutputNorm})},
};
static_assert(std::size(kSources) == static_cast<std::size_t>(kCount));
constexpr bool in_order() {
  for (std::size_t i = 0; i < std::size(kSources); ++i) {
    if (kSources[i].stage != static_cast<Stage>(i)) return false;
  }
  return true;
}
static_assert(in_order());

// What a delta net's convolution makes of the products of this token and of those before it.
constexpr bool recurrent_input(Stage stage) { return stage == kQ || stage == kK || stage == kV; }

const Source& source_of(Stage stage) { return kSources[static_cast<std::size_t>(stage)]; }

}  // namespace

std::string_view NonFiniteTracer::operation(Stage stage) { return source_of(stage).operation; }

// The tokens that the row sees; those of every layer where this one reads the keys and values of another.
bool NonFiniteTracer::memory_is_bad(std::int64_t layer, const Row& row) const {
  const auto keys = keys_.find(row);
  const std::int64_t first = keys == keys_.end() ? 0 : row.second - keys->second.n_visible + 1;
  return std::ranges::any_of(memory_bad_, [&](const auto& entry) {
    const auto& [owner, positions] = entry;
    if (owner.first != row.first || (owner.second != layer && has_memory_.contains(layer))) return false;
    const auto at = positions.lower_bound(first);
    return at != positions.end() && *at <= row.second;
  });
}

NonFiniteTracer::Inputs NonFiniteTracer::inputs_of(Stage stage, std::int64_t layer, const Row& row) const {
  const Source& source = source_of(stage);
  if (stage == kEmbedding) return Inputs::kWeights;
  const auto stages = bad_.find(row);
  const bool bad = (source.stream && stream_bad_.contains(row)) ||
                   ((source.memory || (recurs_ && recurrent_input(stage))) && memory_is_bad(layer, row)) ||
                   (stages != bad_.end() && (stages->second & source.stages) != 0);
  return bad ? Inputs::kNonFinite : Inputs::kFinite;
}

void NonFiniteTracer::begin_layer(std::int64_t layer) {
  if (layer == layer_) return;
  layer_ = layer;
  previous_ = kCount;
  recurs_ = false;
  bad_.clear();
  keys_.clear();
}

void NonFiniteTracer::begin_batch(const engine::TraceView& view) {
  layer_ = kNoLayer;
  for (const engine::TraceRow& row : view.rows) {
    if (row.position != 0) continue;  // a sequence that begins anew remembers nothing
    std::erase_if(told_, [&](const auto& place) { return std::get<0>(place) == row.sequence; });
    std::erase_if(memory_bad_, [&](const auto& entry) { return entry.first.first == row.sequence; });
  }
}

// Only a delta net has the products of q and k both before it makes q of them.
void NonFiniteTracer::note_order(const engine::TraceView& view) {
  if (view.stage == kQ && previous_ == kKRaw) {
    recurs_ = true;
    for (const auto& [row, stages] : bad_) {
      if ((stages & bits({kQRaw, kKRaw})) != 0) memory_bad_[{row.first, view.layer}].insert(row.second);
    }
  }
  previous_ = view.stage;
}

void NonFiniteTracer::mark(const engine::TraceView& view, const Row& row, bool bad) {
  if (bad) bad_[row] |= bit(view.stage);
  if (view.stage == kEmbedding || view.stage == kResidual) {
    bad ? void(stream_bad_.insert(row)) : void(stream_bad_.erase(row));
  }
  if (view.stage != kK && view.stage != kV && !(recurs_ && view.stage == kQ)) return;
  has_memory_.insert(view.layer);
  std::set<std::int64_t>& positions = memory_bad_[{row.first, view.layer}];
  if (bad) positions.insert(row.second);
  // Computed again, in place of what was there.
  if (!bad && view.stage == kK && !recurs_) positions.erase(row.second);
}

void NonFiniteTracer::see(const engine::TraceView& view, const std::function<void(const Origin&)>& found) {
  if (view.stage == kEmbedding) begin_batch(view);
  begin_layer(view.layer);
  note_order(view);
  for (std::size_t i = 0; i < view.rows.size(); ++i) {
    const std::span<const float> values(view.data + static_cast<std::int64_t>(i) * view.row_stride,
                                        static_cast<std::size_t>(view.n_group * view.width));
    const auto is_bad = [](float value) { return !std::isfinite(value); };
    const auto first = std::ranges::find_if(values, is_bad);
    const Row row{view.rows[i].sequence, view.rows[i].position};
    mark(view, row, first != values.end());
    if (first == values.end()) continue;
    const Inputs inputs = inputs_of(view.stage, view.layer, row);
    if (inputs == Inputs::kNonFinite) continue;
    if (!told_.insert({row.first, view.layer, view.stage}).second) continue;
    const std::int64_t at = first - values.begin();
    Origin origin{.stage = view.stage,
                  .layer = view.layer,
                  .token = view.rows[i],
                  .row = static_cast<std::int64_t>(i),
                  .head = view.n_group > 1 ? at / view.width : -1,
                  .column = at % view.width,
                  .value = *first,
                  .n_non_finite = std::ranges::count_if(values, is_bad),
                  .inputs = inputs};
    if (const auto keys = keys_.find(row); keys != keys_.end()) {
      origin.n_visible = keys->second.n_visible;
      origin.n_kv = keys->second.n_kv;
    }
    found(origin);
  }
}

void NonFiniteTracer::see_row(std::int64_t layer, const ProbeRow& row) {
  begin_layer(layer);
  keys_[{static_cast<engine::SequenceId>(row.sequence), row.position}] = {row.n_visible, row.n_kv};
}

}  // namespace rowmax::cli
