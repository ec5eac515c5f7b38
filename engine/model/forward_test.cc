// The forward pass beside its definition in f64, on random models with all facts of all blocks in company. One at a time
// they are met beside the blocks (blocks/*/*_test.cc), and those that an edit can change by name in spec_edits_test.cc.
#include "engine/model/forward.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

#include "engine/model/test_facts.h"

namespace rowmax::engine::forward_test {
namespace {

TEST(Forward, PlainModelIsAsDefined) {
  expect_as_defined({"plain", [](LayerSpec&, std::size_t) {}});
}

const Fact kPostNorms{"post_norms", [](LayerSpec& l, std::size_t) { l.post_norms = true; }};
TEST(Forward, PostNormsAreAsDefined) {
  expect_as_defined(kPostNorms);
  expect_changed_logits(kPostNorms);
}

LayerSpec random_layer(Dice& dice, const ModelSpec& spec, std::size_t index) {
  LayerSpec layer = spec.layers[index];
  AttentionSpec& a = layer.attention;
  a.head_dim = 2 * dice.between(8, 20);
  a.n_kv_head = dice.between(1, 3);
  a.scale = dice.uniform(0.1f, 0.8f);
  a.window = dice.one_in(2) ? dice.between(1, 80) : 0;
  a.rope = static_cast<int>(dice.between(-1, 1));
  a.qk_norm = static_cast<QkNorm>(dice.between(0, 2));
  a.norm_after_rope = dice.one_in(3);
  if (dice.one_in(4)) a.temperature = {.scale = 0.3, .offset = 1, .length = 16};
  a.v_is_k = dice.one_in(4);
  a.v_norm = dice.one_in(4);
  a.sinks = dice.one_in(3);
  a.output_gate = dice.one_in(3);
  a.gate_flat = dice.one_in(3);
  a.sub_norm = dice.one_in(4);
  a.heads_interleaved = dice.one_in(4);
  a.kv_shift = dice.one_in(4) ? dice.between(0, a.n_kv_head - 1) : 0;
  a.kv_reversed = dice.one_in(4);
  a.kv_exchanged = !a.v_is_k && dice.one_in(4);
  a.biases = !dice.one_in(4);
  if (dice.one_in(3)) {
    for (std::size_t owner = 0; owner < index; ++owner) {
      const LayerSpec& from = spec.layers[owner];
      if (from.mixer != MixerKind::kAttention || !from.attention.has_kv()) continue;
      a.kv_layer = static_cast<int>(owner);
      a.n_kv_head = from.attention.n_kv_head;
      a.head_dim = from.attention.head_dim;
    }
  }
  a.n_head = a.n_kv_head * dice.between(1, 3);
  layer.post_norms = dice.one_in(3);
  layer.matrix_scales = dice.one_in(3);
  layer.product_norms = dice.one_in(4);
  layer.ffn.activation = static_cast<FfnActivation>(dice.between(0, 7));
  layer.ffn.up_gates = dice.one_in(4);
  layer.skip_mixer = dice.one_in(12);
  layer.skip_ffn = dice.one_in(12);
  layer.ffn.sub_norm = dice.one_in(4);
  if (dice.one_in(3)) {
    make_delta_net(layer);
    layer.delta.n_key_head = dice.between(1, 3);
    layer.delta.n_value_head = layer.delta.n_key_head * dice.between(1, 3);
    layer.delta.conv_width = dice.between(2, 5);
    layer.delta.grouped = dice.one_in(3);
    layer.delta.output_grouped = dice.one_in(3);
    layer.delta.conv_silu = !dice.one_in(4);
    if (dice.one_in(4)) layer.delta.conv_order = {2, 0, 1};
    layer.delta.gate_sigmoid = dice.one_in(4);
  }
  if (dice.one_in(2)) {
    make_experts(layer);
    layer.ffn.sub_norm = false;
    layer.ffn.n_group = dice.one_in(2) ? 4 : 1;
    layer.ffn.n_group_used = layer.ffn.n_group == 1 ? 1 : dice.between(2, 4);
    layer.ffn.n_used = dice.between(1, 5);
    layer.ffn.expert_gate = static_cast<ExpertGate>(dice.between(0, 1));
    layer.ffn.choice_bias = dice.one_in(2);
    layer.ffn.renormalise = dice.one_in(2);
    layer.ffn.expert_scale = dice.one_in(2) ? 1.0f : 1.75f;
    layer.ffn.n_shared = dice.one_in(2) ? 24 : 0;
    layer.ffn.shared_gate = dice.one_in(2);
    layer.ffn.expert_shift = dice.one_in(4) ? dice.between(0, 11) : 0;
  }
  return layer;
}

// What came later has dice of its own: with those above the models would become others.
void add_facts(ModelSpec& spec, Dice dice) {
  for (LayerSpec& layer : spec.layers) {
    layer.ffn.gate_limit = dice.one_in(3) ? 0.6f : 0.0f;
    layer.ffn.up_offset = dice.one_in(3) ? 1.0f : 0.0f;
    layer.ffn.biases = layer.ffn.kind == FfnKind::kExperts && dice.one_in(3);
    layer.output_scale = dice.one_in(4);
  }
  if (dice.one_in(3)) spec.for_layers([](LayerSpec& layer) { layer.n_layer_embd = 6; });
  for (LayerSpec& layer : spec.layers) {
    const bool owns_kv = std::ranges::any_of(
        spec.layers, [&](const LayerSpec& other) { return other.attention.kv_layer == &layer - spec.layers.data(); });
    if (!owns_kv && dice.one_in(5)) {
      make_short_conv(layer);
      layer.short_conv = {.n_channel = dice.between(1, 70),
                          .conv_width = dice.between(1, 8),
                          .gate_run = static_cast<std::uint8_t>(dice.between(0, 2))};
    }
    layer.ffn.sum_offset = dice.one_in(4) ? 0.25f : 1e-20f;
  }
}

// Latents in place of keys and values that no other layer reads.
void add_latents(ModelSpec& spec, Dice dice) {
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    LayerSpec& layer = spec.layers[i];
    const bool is_read = std::ranges::any_of(spec.layers, [&](const LayerSpec& other) {
      return other.attends() && other.attention.kv_layer == static_cast<int>(i);
    });
    layer.ffn.n_group_best = dice.one_in(2) ? 1 : 2;
    if (!dice.one_in(3) || is_read || layer.mixer != MixerKind::kAttention || !layer.attention.has_kv()) continue;
    const int rope = layer.attention.rope;
    make_latent(layer);
    layer.latent.rank = dice.between(8, 40);
    layer.latent.q_rank = dice.one_in(2) ? dice.between(8, 30) : 0;
    layer.latent.nope_dim = dice.between(3, 20);
    layer.latent.v_dim = dice.between(8, 30);
    layer.attention.n_head = dice.between(2, 9);
    layer.attention.rope = rope;
    fit_latent(layer);
  }
}

void add_experts_beside(ModelSpec& spec, Dice dice) {
  for (LayerSpec& layer : spec.layers) {
    FfnSpec& ffn = layer.ffn;
    if (ffn.kind != FfnKind::kExperts) continue;
    ffn.expert_factors = dice.one_in(3);
    ffn.router_norm = dice.one_in(3);
    ffn.beside = dice.one_in(2);
    ffn.branch_norms = ffn.beside && dice.one_in(2);
    if (ffn.beside) ffn.shared_gate = false;
  }
}

TEST(Forward, RandomModelsAreAsDefined) {
  int close = 0;
  double worst = 0, worst_block = 0;
  constexpr int kModels = 60;
  for (int i = 0; i < kModels; ++i) {
    Dice dice(1000 + static_cast<std::uint64_t>(i));
    ModelSpec spec = plain_spec(dice.between(1, 5));
    for (std::size_t layer = 0; layer < spec.layers.size(); ++layer)
      spec.layers[layer] = random_layer(dice, spec, layer);
    add_facts(spec, Dice(2000 + static_cast<std::uint64_t>(i)));
    add_latents(spec, Dice(6000 + static_cast<std::uint64_t>(i)));
    spec.embedding_scale = dice.one_in(2) ? 1.0f : 1.5f;
    spec.attention_softcap = dice.one_in(3) ? 5.0f : 0.0f;
    spec.final_softcap = dice.one_in(3) ? 3.0f : 0.0f;
    spec.residual_scale = dice.one_in(3) ? 0.5f : 1.0f;
    spec.norm_kind = dice.one_in(4) ? NormKind::kLayer : NormKind::kRms;
    spec.norm_place = dice.one_in(4) ? NormPlace::kOutput : NormPlace::kInput;
    spec.ropes_exchanged = dice.one_in(4);
    if (dice.one_in(3)) spec.ropes[1].denominator = dice.between(8, 20);
    if (dice.one_in(3)) {
      spec.ropes[1].long_rope = {.original_context = 16, .long_divisors = {1, 3, 9, 27}, .magnitude = 1.2};
    }
    const bool own_kv =
        std::ranges::all_of(spec.layers, [](const LayerSpec& layer) { return layer.attention.kv_layer < 0; });
    if (own_kv && dice.one_in(3)) {  // the last layer first
      for (std::size_t layer = spec.layers.size(); layer-- > 0;) spec.layer_order.push_back(layer);
    }
    Dice later(9000 + static_cast<std::uint64_t>(i));  // of facts that came later: the models stay as they were
    spec.logit_scale = later.one_in(3) ? 0.25f : 1.0f;
    for (LayerSpec& layer : spec.layers) layer.input_norms = !(layer.post_norms && later.one_in(3));
    add_experts_beside(spec, Dice(9100 + static_cast<std::uint64_t>(i)));
    const RandomModel model(spec, dice);
    const Outcome outcome = compare(model, dice);
    if (outcome.margin <= kMargin) {
      ++close;
      continue;
    }
    worst = std::max(worst, outcome.worst);
    worst_block = std::max(worst_block, outcome.worst_block);
    EXPECT_LE(outcome.worst, kTolerance) << "model " << i;
    EXPECT_LE(outcome.worst_block, kBlockTolerance) << "model " << i;
  }
  std::printf("%d models, %d not compared, at most %.1e of the range, blocks %.1e\n", kModels, close, worst,
              worst_block);
  EXPECT_LE(close, kModels / 4);
}

// Counts what is handed out, as a measure of work.
class CountingExecutor final : public Executor {
 public:
  int concurrency() const noexcept override { return 1; }
  void run(std::int64_t n_tasks, TaskFn fn, void* context) noexcept override {
    n_tasks_ += n_tasks;
    for (std::int64_t task = 0; task < n_tasks; ++task) fn(context, task, 0);
  }
  std::int64_t taken() noexcept { return std::exchange(n_tasks_, 0); }

 private:
  std::int64_t n_tasks_ = 0;
};

// Behind the last layer that keeps anything, rows are computed for the sake of their logits alone.
TEST(Forward, RowsThatNobodyAsksForEndWithTheLastLayerThatRemembers) {
  for (const std::size_t n_shared : {0, 4}) {
    ModelSpec spec = plain_spec(6);
    for (std::size_t i = spec.layers.size() - n_shared; i < spec.layers.size(); ++i)
      spec.layers[i].attention.kv_layer = 1;
    Dice dice(5);
    const RandomModel model(spec, dice);
    CountingExecutor executor;
    auto forward = Forward::create(model.spec, model.weights,
                                   {.max_rows = 64,
                                    .max_context = 200,
                                    .max_sequences = 1,
                                    .activations = Activations::kF32,
                                    .kernels = panel::choose_table({}, default_isa().value()).value()},
                                   *cpu_backend(executor));
    ASSERT_TRUE(forward.ok()) << forward.error().message;
    Memory memory(model.spec);
    const Memory::OneSequence sequence = memory.sequence({3});
    const std::vector<TokenId> tokens(64, 7);
    const ForwardSequence rows{0, 64, 0, {&sequence.table, 1}, 0, nullptr};
    const auto work = [&](const std::vector<std::int32_t>& wanted) {
      std::vector<float> logits(wanted.size() * static_cast<std::size_t>(model.spec.shape.n_vocab));
      executor.taken();
      EXPECT_TRUE(forward->run({tokens, {&rows, 1}, wanted}, memory.layers, logits.data()).ok());
      return static_cast<double>(executor.taken());
    };
    std::vector<std::int32_t> every;
    for (std::int32_t row = 0; row < 64; ++row) every.push_back(row);
    const double all = work(every), none = work({}), last = work({63});
    // 1 of 6 layers and an attention, or 5; what comes before the layers weighs as much as two of these small ones.
    EXPECT_LT(none, all * (n_shared == 4 ? 0.6 : 0.98)) << none << " of " << all;
    EXPECT_GT(none, all * (n_shared == 4 ? 0.2 : 0.8)) << none << " of " << all;
    EXPECT_GT(last, none);
    EXPECT_LT(last, all);
  }
}

}  // namespace
}  // namespace rowmax::engine::forward_test
