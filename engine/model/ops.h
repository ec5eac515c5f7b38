// What the blocks of a model compute with: operations on all rows of a batch at once. Rows live in named buffers that
// only Ops looks into, so that blocks say what is computed and never where it lies.
//
// Every row's arithmetic is its own: the same bits come out whatever else is in the batch.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "engine/model/batch.h"
#include "engine/model/recurrent_layout.h"
#include "engine/model/rope_table.h"
#include "engine/model/spec.h"
#include "engine/model/weights.h"
#include "engine/ops/matmul/kernel_tables.h"
#include "engine/ops/rows/row_kernels.h"
#include "rowmax/attention.h"
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
  kExperts,  // several rows for each token
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
  // Of the inputs of products.
  void need_product(std::int64_t cols) noexcept { widest_ = widest_ < cols ? cols : widest_; }
  std::int64_t widest_product() const noexcept { return widest_; }

 private:
  std::array<std::int64_t, static_cast<std::size_t>(Slot::kCount)> widths_{};
  std::int64_t widest_ = 0;
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

class Ops {
 public:
  // spec, weights and the backend's executor must outlive it. kOutOfMemory.
  static Result<Ops> create(const ModelSpec& spec, const ModelWeights& weights, const BufferPlan& plan,
                            const OpsOptions& options, const Backend& backend);

  // Positions, masks and RoPE angles of the batch whose rows the calls below are about. batch and cache must outlive
  // them. kOutOfMemory, or an error of the attention library.
  Status begin(const ForwardBatch& batch, const KvLayers& cache);

  // stream = scale * the tokens' rows of the embedding.
  void embed(float scale, Rows stream);
  // y = RMSNorm(x) on runs of weight.size() numbers; y may be x.
  void norm(Rows x, const std::vector<float>& weight, Rows y);
  // RMSNorm on runs of n numbers, without weights.
  void norm_plain(Rows x, std::int64_t n);
  void copy(Rows from, Rows to);
  // stream += RMSNorm(y), or y without a weight; y is used up.
  void add(Rows stream, Rows y, const std::vector<float>& post_norm);
  // y += bias, y *= factor[0]; nothing where they are empty.
  void add_bias(Rows y, const std::vector<float>& bias);
  void scale(Rows y, const std::vector<float>& factor);
  // Products of one input, at most four.
  void project(std::span<const LinearTerm> terms, Rows x);
  // gate = activation(gate) * up
  void gate(FfnActivation activation, Rows gate, Rows up);

  // attention: `both` holds n_head pairs of a head and its gate, which go to q and gate.
  void split_gate(Rows both, std::int64_t head_dim, Rows q, Rows gate);
  // Norm and RoPE of q or k as the spec has them; norm: of a head or of all of them, unused without qk_norm.
  void finish_heads(const AttentionSpec& spec, Rows heads, const std::vector<float>& norm);
  void temper(const TemperatureSpec& spec, Rows q);
  // Into the sequences' pages, rounded to their type.
  void store_kv(std::size_t layer, std::int64_t head_dim, Rows k, Rows v);
  // sinks: empty, or one number a head.
  Status attend(std::size_t layer, const AttentionSpec& spec, const std::vector<float>& sinks, Rows q, Rows out);
  // x = sigmoid(gate) * x; gate is used up.
  void gate_sigmoid(Rows gate, Rows x);

  // delta net: the causal convolution of the layer's inputs and SiLU, in place; then q, k and v apart, q and k of
  // length one (q by 1 / sqrt(key_dim) more).
  void convolve(std::size_t layer, const DeltaNetSpec& spec, const std::vector<float>& weight, Rows qkv);
  // out = the delta rule; alpha and beta are used up.
  void delta_rule(std::size_t layer, const DeltaNetSpec& spec, const LayerWeights& weights, Rows qkv, Rows alpha,
                  Rows beta, Rows out);
  // out = RMSNorm(out) * silu(gate), head by head, in the order of the output product; gate is used up.
  void norm_gate(const DeltaNetSpec& spec, const std::vector<float>& weight, Rows gate, Rows out);

  // experts: out = the sum over the row's experts, ascending, of probability * FFN(x). router: their logits, used up.
  void run_experts(std::size_t layer, const FfnSpec& spec, const LayerWeights& weights, Rows router, Rows x, Rows out);
  // out += sigmoid(gate) * y; gate: one number a row.
  void add_gated(Rows out, Rows y, Rows gate);

  // Shows rows to the observer, where there is one: all of a row, as n_group runs of `width` numbers from `first` on.
  void tap(Stage stage, std::size_t layer, Rows rows) {
    if (observer_ != nullptr) show(stage, static_cast<std::int64_t>(layer), rows, 0, 1, rows.width);
  }
  void tap(Stage stage, std::size_t layer, Rows rows, std::int64_t first, std::int64_t n_group, std::int64_t width) {
    if (observer_ != nullptr) show(stage, static_cast<std::int64_t>(layer), rows, first, n_group, width);
  }
  void set_observer(TraceObserver* observer) noexcept { observer_ = observer; }

  // logits of the rows that the batch asks for: [logit_rows.size(), n_vocab], host memory.
  void head(float softcap, float* logits);

 private:
  explicit Ops(const Backend& backend) noexcept : backend_(backend) {}
  Backend backend_;
  const ModelSpec* spec_ = nullptr;
  const ModelWeights* weights_ = nullptr;
  const RowKernels* kernels_ = nullptr;
  Activations activations_ = Activations::kInt8;
  const panel::Kernels* products_ = nullptr;
  std::int64_t max_rows_ = 0;
  RecurrentLayout layout_{ModelSpec{}};
  std::vector<RopeTable> ropes_;
  struct Plan {
    std::int64_t n_head, n_kv_head, window;
    MaskPlan mask;
  };
  std::vector<Plan> plans_;  // one for each distinct mask
  std::vector<std::size_t> plan_of_layer_;
  std::vector<Sequence> mask_sequences_;
  std::vector<KvSequence> kv_sequences_;
  std::vector<std::int64_t> positions_;
  std::vector<float> ones_;                // weights of norms that have none
  std::vector<std::int32_t> page_of_row_;  // [n_group][n_row]
  std::array<base::Buffer, static_cast<std::size_t>(Slot::kCount)> buffers_;
  base::Buffer turned_, matmul_workspace_, attend_workspace_;
  const ForwardBatch* batch_ = nullptr;
  const KvLayers* cache_ = nullptr;
  std::int64_t n_row_ = 0;
  TraceObserver* observer_ = nullptr;
  std::vector<TraceRow> trace_rows_;
  std::vector<float> trace_scratch_;

  void show(Stage stage, std::int64_t layer, Rows rows, std::int64_t first, std::int64_t n_group, std::int64_t width);
  bool wanted(Stage stage, std::size_t layer) const {
    return observer_ != nullptr && observer_->wants(stage, static_cast<std::int64_t>(layer));
  }
  void show_scores(std::size_t layer, const AttentionSpec& spec, const AttendArgs& args);
  void show_states(std::size_t layer, const DeltaNetSpec& spec);
  void show_experts(std::size_t layer, const FfnSpec& spec, Rows rows, Stage stage);
  void show_chosen(std::size_t layer, const FfnSpec& spec);

  // Pairs of a row and one of its experts, [n_row][n_used].
  struct Routing {
    std::vector<std::int32_t> experts;  // ascending in a row
    std::vector<float> probabilities;
    std::vector<std::int64_t> places;  // among all pairs, sorted by expert
    std::vector<std::int64_t> ends;    // of each expert's pairs
    std::vector<MatmulGroup> groups;
    std::vector<MatmulTerm> terms;
    // Where experts are not chosen by their probability alone, by row.
    std::vector<float> scores, group_scores;
    std::vector<std::int32_t> chosen_groups;
  } routing_;
  std::int64_t n_used_ = 0, n_expert_ = 0, n_group_ = 1;  // the most of any layer

  static constexpr std::size_t kMaxProducts = 4;
  float* data(Rows rows, std::int64_t row = 0) noexcept {
    return buffers_[static_cast<std::size_t>(rows.slot)].as<float>() + row * rows.width;
  }
  Status plan_attention(const OpsOptions& options);
  Status find_pages();
  Status plan_experts(const OpsOptions& options);
  std::size_t matmul_bytes(std::int64_t widest) const noexcept;
  void (*gate_kernel(FfnActivation activation) const noexcept)(float*, const float*, std::int64_t);
  void turn(const Hadamard& hadamard, const float* x, std::int64_t n, std::int64_t n_row);
  struct Product {
    const Linear* linear;
    float* y;
  };
  void multiply(std::span<const Product> products, const float* x, std::int64_t n_row);
  void route(const FfnSpec& spec, const std::vector<float>& bias, Rows router);
  const float* choice_scores(const FfnSpec& spec, const float* bias, std::int64_t row, const float* p);
  struct ExpertTerm {
    std::span<const Linear> experts;
    Rows y;
  };
  void multiply_experts(std::span<const ExpertTerm> terms, Rows x, std::int64_t n_expert);
};

}  // namespace rowmax::engine
