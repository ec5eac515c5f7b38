// A look into the forward pass: an observer is shown what every stage of every layer computed, for each token of a
// batch, and may put other numbers in its place. What is only looked at does not change; without an observer nothing is
// paid.
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
  kAttnNorm,   // [n_embd], what the mixer (attention, delta net or short convolution) sees
  kQRaw,  // [n_head, head_dim] of the product, before bias, norm and RoPE; delta nets: before the convolution; short
          // convolutions: [3, n_channel], b, c and x
  kQ,     // the same as it is used
  kKRaw,
  kK,         // [n_kv_head, head_dim]
  kV,         // as it is used
  kScores,    // [n_head, n_kv]: softmax weights of the keys up to the sequence's last token of the batch; 0: hidden
  kAttnOut,   // heads' outputs as the output product sees them, after gate and norm; [n_channel] of a short convolution
  kMixerOut,  // [n_embd] behind the output product, before a norm that follows
  kFfnNorm,   // [n_embd], what the FFN sees; experts beside a dense one see the stream through another norm
  kGate,
  kUp,          // [n_ff] of the products; experts: [n_used, n_ff], experts ascending
  kAct,         // activation(gate) * up, as the down product sees it
  kRouter,      // [n_expert], the experts' probabilities
  kExperts,     // [n_used, 2]: number and weight of each chosen expert, ascending
  kSharedGate,  // the same three of what every token has beside the chosen ones, an expert or a dense FFN: [n_shared]
  kSharedUp,
  kSharedAct,
  kState,  // [n_value_head, key_dim, value_dim] of a delta net, [conv_width - 1, n_channel] of a short convolution (its
           // last inputs, oldest first), behind the sequence's last token of the batch
  kBlockOut,    // [n_embd], what the FFN gives, before a norm that follows
  kResidual,    // [n_embd], the stream behind the layer
  kOutputNorm,  // [n_embd], of the rows whose logits are asked for
  kLogits,      // [n_vocab], theirs
  kCount,
};
std::string_view stage_name(Stage stage) noexcept;  // "embedding", "attn_norm", "q_raw", ... "shared.gate", ...
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

// An RMSNorm of any kind: y = x / sqrt(mean(x^2) + eps) * weight.
struct NormView {
  std::string_view name;    // its weight's tensor without "blk.N." and ".weight": "attn_norm"; "v_norm" has none
  std::int64_t layer = -1;  // -1: output_norm
  std::span<const TraceRow> rows;
  // Row i of x starts at x + i * x_stride, and is [n_group, width]: each group is normed by itself. y likewise: what came
  // out; of q and k behind RoPE, of a delta net's heads (ssm_norm) behind the gate and in the order of the next product.
  const float *x = nullptr, *y = nullptr;
  std::int64_t x_stride = 0, y_stride = 0;
  std::int64_t n_group = 1, width = 0;
  float eps = 0;
};

// The same rows to be written: the forward pass goes on with what stands there.
struct TraceEdit {
  Stage stage = Stage::kCount;
  std::int64_t layer = -1;
  std::span<const TraceRow> rows;
  float* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t n_group = 1, width = 0;
};
// What an observer may replace: every stage but scores, router, experts, state and logits. (Of a layer of experts gate,
// up and act are only shown; the shared expert's can be replaced.) Replaced keys and values are what later tokens see.
bool can_be_replaced(Stage stage) noexcept;

class TraceObserver {
 public:
  virtual ~TraceObserver() = default;
  // Whether see() is to be called for the stage: some cost a copy (scores, state), so only what is looked at is made.
  virtual bool wants(Stage stage, std::int64_t layer) = 0;
  // Whether replace() is to be called for the stage, behind its see(), which has shown what was computed.
  virtual bool replaces(Stage /*stage*/, std::int64_t /*layer*/) { return false; }
  virtual void replace(const TraceEdit& /*edit*/) {}
  // Called from the thread that called Session::forward. Batches are shown one after the other, as they are cut.
  virtual void see(const TraceView& view) = 0;

  // Whether see_norm() is to be called, for every norm of a model: it costs a copy of each input.
  virtual bool wants_norms() { return false; }
  virtual void see_norm(const NormView& /*view*/) {}

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
