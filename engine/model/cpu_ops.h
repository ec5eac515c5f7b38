// Ops on the CPU: buffers in memory of the host, rows shared out among the executor's threads.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "engine/model/ops.h"
#include "engine/model/recurrent_layout.h"
#include "engine/model/rope_table.h"
#include "engine/ops/rows/row_kernels.h"
#include "rowmax/attention.h"

namespace rowmax::engine {

class CpuOps final : public Ops {
 public:
  // As make_ops().
  static Result<std::unique_ptr<Ops>> create(const ModelSpec& spec, const ModelWeights& weights, const BufferPlan& plan,
                                             const OpsOptions& options, const Backend& backend);

  Status begin(const ForwardBatch& batch, const KvLayers& cache) override;
  Result<std::int64_t> drop_unwanted(std::span<const Rows> rows) override;
  void embed(float scale, Rows stream) override;
  void embed_layers(float scale, Rows rows) override;
  void norm(Rows x, const std::vector<float>& weight, Rows y) override;
  void norm_first(Rows x, const std::vector<float>& weight) override;
  void norm_plain(std::size_t layer, Rows x, std::int64_t n) override;
  void copy(Rows from, Rows to) override;
  void add(Rows stream, Rows y, const std::vector<float>& post_norm, float factor) override;
  void add_bias(Rows y, const std::vector<float>& bias) override;
  void scale(Rows y, const std::vector<float>& factor) override;
  void scale(Rows y, float factor) override;
  void take_columns(Rows from, std::int64_t first, Rows to) override;
  void project(std::span<const LinearTerm> terms, Rows x) override;
  void project_heads(std::span<const Linear> heads, HeadParts from, HeadParts to) override;
  void copy_heads(std::int64_t n_head, HeadParts from, HeadParts to) override;
  void gate(const FfnSpec& spec, Rows gate, Rows up) override;
  void split_gate(Rows both, std::int64_t run, Rows q, Rows gate) override;
  void finish_heads(const AttentionSpec& spec, Rows heads, const std::vector<float>& norm) override;
  void temper(const TemperatureSpec& spec, Rows q) override;
  void order_heads(const AttentionSpec& spec, Rows heads) override;
  void store_kv(std::size_t layer, const AttentionSpec& spec, Rows k, Rows v) override;
  Status attend(std::size_t layer, const AttentionSpec& spec, const std::vector<float>& sinks, Rows q,
                Rows out) override;
  void gate_sigmoid(Rows gate, Rows x) override;
  void convolve(std::size_t layer, const DeltaNetSpec& spec, const std::vector<float>& weight, Rows qkv) override;
  void delta_rule(std::size_t layer, const DeltaNetSpec& spec, const LayerWeights& weights, Rows qkv, Rows alpha,
                  Rows beta, Rows out) override;
  void norm_gate(const DeltaNetSpec& spec, const std::vector<float>& weight, Rows gate, Rows out) override;
  void short_convolve(std::size_t layer, const ShortConvSpec& spec, const std::vector<float>& weight, Rows bcx,
                      Rows out) override;
  void run_experts(std::size_t layer, const FfnSpec& spec, const LayerWeights& weights, Rows router, Rows x,
                   Rows out) override;
  void add_gated(Rows out, Rows y, Rows gate) override;
  void final_states(float* states) override;
  Status head(float scale, float softcap, float* logits) override;

 private:
  explicit CpuOps(const Backend& backend) noexcept : backend_(backend) {}
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
  std::map<std::size_t, std::vector<float>> conv_weights_;  // of layers whose file has them in another order
  std::vector<float> ones_;                                 // weights of norms that have none
  std::vector<std::int32_t> page_of_row_;                   // [n_group][n_row]
  std::array<base::Buffer, static_cast<std::size_t>(Slot::kCount)> buffers_;
  base::Buffer turned_, matmul_workspace_, attend_workspace_;
  const ForwardBatch* batch_ = nullptr;
  const KvLayers* cache_ = nullptr;
  std::int64_t n_row_ = 0;
  // What drop_unwanted() left of the batch that begin() was given.
  struct {
    std::vector<TokenId> tokens;
    std::vector<ForwardSequence> sequences;
    std::vector<std::int32_t> logit_rows, state_rows;
    ForwardBatch batch;
  } rest_;
  std::vector<TraceRow> trace_rows_;
  std::vector<float> trace_scratch_;

  // n numbers of a key or a value into a pool, from element `at` on.
  void store_head(const float* from, std::int64_t n, DType dtype, void* pool, std::int64_t at,
                  std::int64_t stride) const;
  void show(Stage stage, std::int64_t layer, Rows rows, std::int64_t first, std::int64_t n_group,
            std::int64_t width) override;
  void show_rows(Stage stage, std::int64_t layer, std::span<const TraceRow> rows, float* first, std::int64_t stride,
                 std::int64_t n_group, std::int64_t width);
  void show_scores(std::size_t layer, const AttentionSpec& spec, const std::vector<float>& sinks, Rows q, Rows out);
  void show_states(std::size_t layer, const DeltaNetSpec& spec);
  void show_states(std::size_t layer, const ShortConvSpec& spec);
  void show_experts(std::size_t layer, const FfnSpec& spec, Rows rows, Stage stage);
  void show_chosen(std::size_t layer, const FfnSpec& spec);
  // With an observer, of a norm: its input, before it is overwritten, and afterwards both.
  std::vector<float> norm_input_;
  void keep_norm_input(Rows x);
  // Of runs of weight.size() numbers, the first n_group of a row.
  void show_norm(const std::vector<float>& weight, Rows y, std::int64_t n_group);
  void show_norm(const std::vector<float>& weight, Rows y) {
    show_norm(weight, y, y.width / static_cast<std::int64_t>(weight.size()));
  }
  void show_norm(std::string_view name, std::int64_t layer, std::span<const TraceRow> rows, const float* y,
                 std::int64_t y_stride, std::int64_t n_group, std::int64_t width);

  // Of project_heads.
  std::vector<MatmulGroup> head_groups_;
  std::vector<MatmulTerm> head_terms_;
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
  const std::vector<float>& conv_weights(std::size_t layer, const DeltaNetSpec& spec, const std::vector<float>& stored);
  Status plan_attention(const OpsOptions& options);
  Status find_pages();
  Status attend_heads(std::size_t layer, const AttentionSpec& spec, const std::vector<float>& sinks, Rows q, Rows out,
                      const WeightsView& weights);
  Status plan_experts(const OpsOptions& options);
  void look_up(const WeightSource& table, float scale, Rows rows);
  void norm_row(const float* x, const std::vector<float>& weight, float* y);
  std::size_t matmul_bytes(const BufferPlan& plan) const noexcept;
  void (*gate_kernel(FfnActivation activation) const noexcept)(float*, const float*, std::int64_t);
  void gate_rows(const FfnSpec& spec, Rows gate, Rows up, std::int64_t n_row);
  void turn(const Hadamard& hadamard, const float* x, std::int64_t n, std::int64_t n_row);
  struct Product {
    const Linear* linear;
    float* y;
  };
  void scale_product(const Linear& linear, float* y, std::int64_t n_row);
  void multiply(std::span<const Product> products, const float* x, std::int64_t n_row);
  void route(const FfnSpec& spec, const LayerWeights& weights, Rows router);
  const float* choice_scores(const FfnSpec& spec, const float* bias, std::int64_t row, const float* p);
  struct ExpertTerm {
    std::span<const Linear> experts;
    Rows y;
  };
  void multiply_experts(std::span<const ExpertTerm> terms, Rows x, const FfnSpec& spec);
  void add_expert_bias(const FfnSpec& spec, const std::vector<float>& bias, Rows y);
};

}  // namespace rowmax::engine
