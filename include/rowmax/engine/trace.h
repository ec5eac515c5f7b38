// A look into the forward pass: an observer is shown what every stage of every layer computed, for each token of a
// batch. What is computed does not change; without an observer nothing is paid.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "rowmax/engine/types.h"

namespace rowmax {
struct ProbeRow;  // probe.h
}

namespace rowmax::engine {

// The stages, about in the order in which they come up. Their names are those of stage_name().
enum class Stage : std::uint8_t {
  kEmbedding,  // [n_embd], scaled
  kAttnNorm,   // [n_embd], what the mixer (attention or delta net) sees
  kQRaw,       // [n_head, head_dim] of the product, before bias, norm and RoPE; delta nets: before the convolution
  kQ,          // the same as it is used
  kKRaw,
  kK,         // [n_kv_head, head_dim]
  kV,         // as it is used
  kScores,    // [n_head, n_kv]: softmax weights of the keys up to the sequence's last token of the batch; 0: hidden
  kAttnOut,   // heads' outputs as the output product sees them, after gate and norm
  kMixerOut,  // [n_embd] behind the output product, before a norm that follows
  kFfnNorm,   // [n_embd], what the FFN sees
  kGate,
  kUp,          // [n_ff] of the products; experts: [n_used, n_ff], experts ascending
  kAct,         // activation(gate) * up, as the down product sees it
  kRouter,      // [n_expert], the experts' probabilities
  kExperts,     // [n_used, 2]: number and weight of each chosen expert, ascending
  kState,       // [n_value_head, key_dim, value_dim] of a delta net, behind the sequence's last token of the batch
  kBlockOut,    // [n_embd], what the FFN gives, before a norm that follows
  kResidual,    // [n_embd], the stream behind the layer
  kOutputNorm,  // [n_embd], of the rows whose logits are asked for
  kLogits,      // [n_vocab], theirs
  kCount,
};
std::string_view stage_name(Stage stage) noexcept;  // "embedding", "attn_norm", "q_raw", ...
std::optional<Stage> find_stage(std::string_view name) noexcept;

struct TraceRow {
  SequenceId sequence = 0;
  std::int64_t position = 0;  // of the token in its sequence
};

// Valid during the call. Row i starts at data + i * row_stride.
struct TraceView {
  Stage stage = Stage::kCount;
  std::int64_t layer = -1;  // -1: none (embedding, output_norm, logits)
  std::span<const TraceRow> rows;
  const float* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t n_group = 1, width = 0;  // a row is [n_group, width]: heads, experts or one
};

class TraceObserver {
 public:
  virtual ~TraceObserver() = default;
  // Whether see() is to be called for the stage: some cost a copy (scores, state), so only what is looked at is made.
  virtual bool wants(Stage stage, std::int64_t layer) = 0;
  // Called from the thread that called Session::forward. Batches are shown one after the other, as they are cut.
  virtual void see(const TraceView& view) = 0;

  // A closer look at attention (rowmax/probe.h): whether any row of the layer is to be visited a second time, and of
  // which token and head. Every visit costs what the row cost; where no layer is probed nothing is paid.
  virtual bool probes(std::int64_t /*layer*/) { return false; }
  virtual bool probes_row(std::int64_t /*layer*/, const TraceRow& /*token*/, std::int64_t /*head*/) noexcept {
    return true;
  }
  // Called before see() of the layer's kScores, rows ascending by sequence of the batch, token, head. row.sequence is
  // the session's id, row.position the token's; row.query and row.row count within the batch.
  virtual void see_row(std::int64_t /*layer*/, const ProbeRow& /*row*/) noexcept {}
};

}  // namespace rowmax::engine
