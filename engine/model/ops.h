// What the blocks of a model compute with: operations on all rows of a batch at once. Rows live in named buffers that
// only an implementation of Ops looks into, so that blocks say what is computed and never where it lies. A Backend chooses
// the implementation; the CPU's is CpuOps.
//
// Every row's arithmetic is its own: the same bits come out whatever else is in the batch.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

#include "engine/model/batch.h"
#include "engine/model/spec.h"
#include "engine/model/weights.h"
#include "engine/ops/matmul/kernel_tables.h"
#include "rowmax/backend.h"
#include "rowmax/engine/trace.h"

namespace rowmax::engine {

// A buffer for a row of each token of the batch. Blocks share them: what one leaves there, the next may overwrite,
// except kStream, the residual stream.
enum class Slot : std::uint8_t {
  kStream,
  kNormed,
  kOutput,  // of a block, before it is added to the stream
  kQ,
  kK,
  kV,
  kMixed,  // outputs of heads
  kGate,
  kUp,
  kAlpha,
  kBeta,
  kRouter,
  kExperts,      // several rows for each token
  kLayerInputs,  // what tokens bring for all layers
  kCount,
};

struct Rows {
  Slot slot;
  std::int64_t width;
};

// How wide each buffer must be; every block says so for its layer.
class BufferPlan {
 public:
  void need(Rows rows) noexcept {
    std::int64_t& width = widths_[static_cast<std::size_t>(rows.slot)];
    width = width < rows.width ? rows.width : width;
  }
  std::int64_t width(Slot slot) const noexcept { return widths_[static_cast<std::size_t>(slot)]; }
  std::int64_t row_floats() const noexcept { return std::accumulate(widths_.begin(), widths_.end(), std::int64_t{0}); }
  // Of the inputs of products.
  void need_product(std::int64_t cols) noexcept { widest_ = widest_ < cols ? cols : widest_; }
  std::int64_t widest_product() const noexcept { return widest_; }
  // Of the inputs of products of which each head has its own.
  void need_head_products(std::int64_t n_head, std::int64_t cols) noexcept {
    n_head_ = n_head_ < n_head ? n_head : n_head_;
    widest_head_ = widest_head_ < cols ? cols : widest_head_;
  }
  std::int64_t head_products() const noexcept { return n_head_; }  // of a row
  std::int64_t widest_head_product() const noexcept { return widest_head_; }

 private:
  std::array<std::int64_t, static_cast<std::size_t>(Slot::kCount)> widths_{};
  std::int64_t widest_ = 0, n_head_ = 0, widest_head_ = 0;
};

// A part of each of n_head runs of a row, all as long: `width` numbers from `first` on.
struct HeadParts {
  Rows rows;
  std::int64_t first, width;
};

// One product of the rows given: y has as many columns as the matrix rows.
struct LinearTerm {
  const Linear* linear;
  Rows y;
};

struct OpsOptions {
  std::int64_t max_rows = 0, max_context = 0;
  int max_sequences = 1;
  Activations activations = Activations::kInt8;
  const panel::KernelTable* kernels = nullptr;  // of products: a supported row of kernel_tables()
};

// Numbers that a call reads besides rows are named by the model's objects (a vector of weights, a Linear), which live as long
// as the Ops. What the cache and a sequence's state point to is memory that the Ops computes in.
class Ops {
 public:
  virtual ~Ops() = default;

  // Positions, masks and RoPE angles of the batch whose rows the calls below are about. batch and cache must outlive
  // them. kOutOfMemory, or an error of the attention library.
  virtual Status begin(const ForwardBatch& batch, const KvLayers& cache) = 0;

  // Takes out of the batch, and of the buffers given, the rows that nobody will ask for: of each sequence those before its first
  // row whose logits or state are wanted. The calls below are then about the others; all other buffers hold nothing of use.
  // With an observer, who wants to see them, all stay. Returns how many rows there are, 0 among them: then nothing more
  // can be called before begin(). Errors: as begin().
  virtual Result<std::int64_t> drop_unwanted(std::span<const Rows> rows) = 0;

  // stream = scale * the tokens' rows of the embedding.
  virtual void embed(float scale, Rows stream) = 0;
  // The same of the embeddings for the layers.
  virtual void embed_layers(float scale, Rows rows) = 0;
  // y = the model's norm of x (NormKind) on runs of weight.size() numbers; y may be x.
  virtual void norm(Rows x, const std::vector<float>& weight, Rows y) = 0;
  // x's first weight.size() numbers alone, in place.
  virtual void norm_first(Rows x, const std::vector<float>& weight) = 0;
  // RMSNorm of the layer's v on runs of n numbers, without weights.
  virtual void norm_plain(std::size_t layer, Rows x, std::int64_t n) = 0;
  virtual void copy(Rows from, Rows to) = 0;
  // stream += factor * norm(y), or y without a weight; y is used up.
  virtual void add(Rows stream, Rows y, const std::vector<float>& post_norm, float factor) = 0;
  // to = the columns of `from` that begin at `first`.
  virtual void take_columns(Rows from, std::int64_t first, Rows to) = 0;
  // y += bias, y *= factor[0]; nothing where they are empty.
  virtual void add_bias(Rows y, const std::vector<float>& bias) = 0;
  virtual void scale(Rows y, const std::vector<float>& factor) = 0;
  virtual void scale(Rows y, float factor) = 0;
  // Products of one input, at most four.
  virtual void project(std::span<const LinearTerm> terms, Rows x) = 0;
  // to's part of head h = heads[h] * from's, as many heads as there are matrices; from's is used up.
  virtual void project_heads(std::span<const Linear> heads, HeadParts from, HeadParts to) = 0;
  virtual void copy_heads(std::int64_t n_head, HeadParts from, HeadParts to) = 0;
  // gate = activation(gate) * up, both limited and up moved first where the spec says so; up is used up.
  virtual void gate(const FfnSpec& spec, Rows gate, Rows up) = 0;

  // attention: `both` holds pairs of a run of `run` numbers of q and one of its gate, which go to q and gate.
  virtual void split_gate(Rows both, std::int64_t run, Rows q, Rows gate) = 0;
  // Norm and RoPE of q or k as the spec has them; norm: of a head or of all of them, unused without qk_norm.
  virtual void finish_heads(const AttentionSpec& spec, Rows heads, const std::vector<float>& norm) = 0;
  // K/V heads in the order that the spec has (kv_shift, kv_reversed).
  virtual void order_heads(const AttentionSpec& spec, Rows heads) = 0;
  virtual void temper(const TemperatureSpec& spec, Rows q) = 0;
  // Into the sequences' pages, rounded to their type. v is not looked at where values lie in the keys.
  virtual void store_kv(std::size_t layer, const AttentionSpec& spec, Rows k, Rows v) = 0;
  // sinks: empty, or one number a head.
  virtual Status attend(std::size_t layer, const AttentionSpec& spec, const std::vector<float>& sinks, Rows q,
                        Rows out) = 0;
  // x = sigmoid(gate) * x; gate is used up.
  virtual void gate_sigmoid(Rows gate, Rows x) = 0;

  // delta net: the causal convolution of the layer's inputs and SiLU (or none), in place; then q, k and v apart, q and k
  // of length one (q by 1 / sqrt(key_dim) more).
  virtual void convolve(std::size_t layer, const DeltaNetSpec& spec, const std::vector<float>& weight, Rows qkv) = 0;
  // out = the delta rule; alpha and beta are used up.
  virtual void delta_rule(std::size_t layer, const DeltaNetSpec& spec, const LayerWeights& weights, Rows qkv,
                          Rows alpha, Rows beta, Rows out) = 0;
  // out = RMSNorm(out) * silu(gate), or sigmoid(gate), head by head, in the order of the output product; gate is used up.
  virtual void norm_gate(const DeltaNetSpec& spec, const std::vector<float>& weight, Rows gate, Rows out) = 0;

  // short convolution: bcx holds runs b, c and x (ShortConvSpec); out = c * conv(b * x). bcx is used up.
  virtual void short_convolve(std::size_t layer, const ShortConvSpec& spec, const std::vector<float>& weight, Rows bcx,
                              Rows out) = 0;

  // experts: out = the sum over the row's experts, ascending, of probability * FFN(x). router: their logits, used up.
  virtual void run_experts(std::size_t layer, const FfnSpec& spec, const LayerWeights& weights, Rows router, Rows x,
                           Rows out) = 0;
  // out += sigmoid(gate) * y; gate: one number a row.
  virtual void add_gated(Rows out, Rows y, Rows gate) = 0;

  // Shows rows to the observer, where there is one: all of a row, as n_group runs of `width` numbers from `first` on.
  void tap(Stage stage, std::size_t layer, Rows rows) {
    if (observer_ != nullptr) show(stage, static_cast<std::int64_t>(layer), rows, 0, 1, rows.width);
  }
  void tap(Stage stage, std::size_t layer, Rows rows, std::int64_t first, std::int64_t n_group, std::int64_t width) {
    if (observer_ != nullptr) show(stage, static_cast<std::int64_t>(layer), rows, first, n_group, width);
  }
  void set_observer(TraceObserver* observer) noexcept { observer_ = observer; }

  // The final norm's output of the rows that the batch asks for: [state_rows.size(), n_embd], copied to memory of the host.
  virtual void final_states(float* states) = 0;
  // Logits of the rows that the batch asks for: [logit_rows.size(), n_vocab], copied to memory of the host.
  virtual Status head(float scale, float softcap, float* logits) = 0;

 protected:
  bool wanted(Stage stage, std::size_t layer) const {
    return observer_ != nullptr && observer_->wants(stage, static_cast<std::int64_t>(layer));
  }
  TraceObserver* observer_ = nullptr;

 private:
  // Shows the observer a copy in memory of the host, where it wants the stage.
  virtual void show(Stage stage, std::int64_t layer, Rows rows, std::int64_t first, std::int64_t n_group,
                    std::int64_t width) = 0;
};

// The Ops of a backend. spec, weights and the backend's executor must outlive it. kOutOfMemory.
Result<std::unique_ptr<Ops>> make_ops(const ModelSpec& spec, const ModelWeights& weights, const BufferPlan& plan,
                                      const OpsOptions& options, const Backend& backend);

}  // namespace rowmax::engine
