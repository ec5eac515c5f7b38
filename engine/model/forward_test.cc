// The forward pass beside the definitions in f64, on random models: facts of a LayerSpec in turn, and all of them in
// company. Those that an edit can change are met by name in spec_edits_test.cc.
#include "engine/model/forward.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "engine/model/test_random_model.h"

namespace rowmax::engine {
namespace {

// The bound of the exact path; a fact that is computed in another way is off by more than 1e-2 (see below).
constexpr double kTolerance = 1e-4, kMargin = 2e-6;

struct Case {
  const char* name;
  std::function<void(LayerSpec& layer, std::size_t index)> change;
};

const Case kCases[] = {
    {"plain", [](LayerSpec&, std::size_t) {}},
    {"no_rope", [](LayerSpec& l, std::size_t i) { l.attention.rope = i % 2 == 0 ? -1 : 0; }},
    {"partial_rope", [](LayerSpec& l, std::size_t) { l.attention.rope = 1; }},
    {"window", [](LayerSpec& l, std::size_t i) { l.attention.window = i % 2 == 0 ? 7 : 0; }},
    {"head_sizes",
     [](LayerSpec& l, std::size_t i) {
       l.attention.head_dim = i % 2 == 0 ? 32 : 18;
       l.attention.n_head = i % 2 == 0 ? 3 : 6;
       l.attention.n_kv_head = 3;
       l.attention.scale = i % 2 == 0 ? 0.3f : 0.7f;
     }},
    {"qk_norm_head", [](LayerSpec& l, std::size_t) { l.attention.qk_norm = QkNorm::kHead; }},
    {"qk_norm_width", [](LayerSpec& l, std::size_t) { l.attention.qk_norm = QkNorm::kWidth; }},
    {"qk_norm_head_after_rope",
     [](LayerSpec& l, std::size_t) {
       l.attention.qk_norm = QkNorm::kHead;
       l.attention.norm_after_rope = true;
     }},
    {"qk_norm_width_after_rope",
     [](LayerSpec& l, std::size_t) {
       l.attention.qk_norm = QkNorm::kWidth;
       l.attention.norm_after_rope = true;
     }},
    {"temperature",
     [](LayerSpec& l, std::size_t) { l.attention.temperature = {.scale = 0.4, .offset = 1, .length = 8}; }},
    {"shared_kv",
     [](LayerSpec& l, std::size_t i) {
       if (i > 0) l.attention.kv_layer = 0;
       l.attention.window = i == 2 ? 5 : 0;
       l.attention.n_head = i == 1 ? 2 : 4;
     }},
    {"v_is_k", [](LayerSpec& l, std::size_t) { l.attention.v_is_k = true; }},
    {"v_norm", [](LayerSpec& l, std::size_t) { l.attention.v_norm = true; }},
    {"v_is_k_and_both_normed",
     [](LayerSpec& l, std::size_t) {
       l.attention.v_is_k = l.attention.v_norm = true;
       l.attention.qk_norm = QkNorm::kHead;
     }},
    {"sinks", [](LayerSpec& l, std::size_t) { l.attention.sinks = true; }},
    {"output_gate", [](LayerSpec& l, std::size_t) { l.attention.output_gate = true; }},
    {"sub_norms", [](LayerSpec& l, std::size_t) { l.attention.sub_norm = l.ffn.sub_norm = true; }},
    {"post_norms", [](LayerSpec& l, std::size_t) { l.post_norms = true; }},
    {"matrix_scales", [](LayerSpec& l, std::size_t) { l.matrix_scales = true; }},
    {"gelu", [](LayerSpec& l, std::size_t) { l.ffn.activation = FfnActivation::kGeluTanh; }},
    {"relu_squared", [](LayerSpec& l, std::size_t) { l.ffn.activation = FfnActivation::kReluSquared; }},
    {"delta_net", [](LayerSpec& l, std::size_t) { make_delta_net(l); }},
    {"delta_net_grouped",
     [](LayerSpec& l, std::size_t) {
       make_delta_net(l);
       l.delta.grouped = true;
     }},
    {"delta_net_output_grouped",
     [](LayerSpec& l, std::size_t) {
       make_delta_net(l);
       l.delta.output_grouped = true;
     }},
    {"experts", [](LayerSpec& l, std::size_t) { make_experts(l); }},
    {"experts_renormalised",
     [](LayerSpec& l, std::size_t) {
       make_experts(l);
       l.ffn.renormalise = true;
     }},
    {"experts_by_sigmoid",
     [](LayerSpec& l, std::size_t) {
       make_experts(l);
       l.ffn.expert_gate = ExpertGate::kSigmoid;
       l.ffn.renormalise = true;
       l.ffn.expert_scale = 2.5f;
     }},
    {"experts_with_choice_bias",
     [](LayerSpec& l, std::size_t) {
       make_experts(l);
       l.ffn.expert_gate = ExpertGate::kSigmoid;
       l.ffn.choice_bias = true;
     }},
    {"expert_groups",
     [](LayerSpec& l, std::size_t) {
       make_experts(l);
       l.ffn.n_group = 4;
       l.ffn.n_group_used = 2;
     }},
    {"expert_groups_of_one_with_bias",
     [](LayerSpec& l, std::size_t) {
       make_experts(l);
       l.ffn.n_group = 12;
       l.ffn.n_group_used = 5;
       l.ffn.choice_bias = true;
     }},
    {"shared_expert",
     [](LayerSpec& l, std::size_t) {
       make_experts(l);
       l.ffn.n_shared = 28;
     }},
    {"shared_expert_without_gate",
     [](LayerSpec& l, std::size_t) {
       make_experts(l);
       l.ffn.n_shared = 28;
       l.ffn.shared_gate = false;
     }},
};

class EveryFact : public testing::TestWithParam<std::size_t> {};

TEST_P(EveryFact, IsAsDefined) {
  const Case& one = kCases[GetParam()];
  ModelSpec spec = plain_spec(3);
  for (std::size_t i = 0; i < spec.layers.size(); ++i) one.change(spec.layers[i], i);
  Outcome outcome;
  // Where two experts are as good as equal, another model.
  for (std::uint64_t seed = 0; seed < 8 && outcome.margin <= kMargin; ++seed) {
    Dice dice(100 * seed + GetParam());
    const RandomModel model(spec, dice);
    outcome = compare(model, dice);
  }
  std::printf("%s: %.1e of the range, margin %.1e\n", one.name, outcome.worst, outcome.margin);
  ASSERT_GT(outcome.margin, kMargin);
  EXPECT_LE(outcome.worst, kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Forward, EveryFact, testing::Range(std::size_t{0}, std::size(kCases)),
                         [](const auto& info) { return std::string(kCases[info.param].name); });

// A fact that changed nothing would pass above without being tested.
TEST(Forward, EveryFactChangesTheLogits) {
  for (std::size_t i = 1; i < std::size(kCases); ++i) {
    ModelSpec spec = plain_spec(3), changed = spec;
    for (std::size_t layer = 0; layer < spec.layers.size(); ++layer) kCases[i].change(changed.layers[layer], layer);
    Dice dice(20 + i);
    const RandomModel model(changed, dice);
    // The plain model with what the weights of both have in common.
    Dice other(7);
    const RandomModel plain(spec, other);
    reference::Weights weights = plain.raw;
    weights.embedding = model.raw.embedding;
    weights.output = model.raw.output;
    weights.output_norm = model.raw.output_norm;
    for (std::size_t layer = 0; layer < spec.layers.size(); ++layer) {
      for (const auto& [id, values] : model.raw.layers[layer]) {
        const auto own = weights.layers[layer].find(id);
        if (own != weights.layers[layer].end() && own->second.size() == values.size()) own->second = values;
      }
    }
    reference::Model one(spec, weights), two(changed, model.raw);
    double most = 0;
    for (TokenId token = 0; token < 20; ++token) {
      const reference::Vector a = one.next(token), b = two.next(token);
      for (std::size_t k = 0; k < a.size(); ++k) most = std::max(most, std::abs(a[k] - b[k]));
    }
    EXPECT_GT(most, 1e-2) << kCases[i].name;
  }
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

TEST(Forward, RandomModelsAreAsDefined) {
  int close = 0;
  double worst = 0;
  constexpr int kModels = 60;
  for (int i = 0; i < kModels; ++i) {
    Dice dice(1000 + static_cast<std::uint64_t>(i));
    ModelSpec spec = plain_spec(dice.between(1, 5));
    for (std::size_t layer = 0; layer < spec.layers.size(); ++layer)
      spec.layers[layer] = random_layer(dice, spec, layer);
    spec.embedding_scale = dice.one_in(2) ? 1.0f : 1.5f;
    spec.attention_softcap = dice.one_in(3) ? 5.0f : 0.0f;
    spec.final_softcap = dice.one_in(3) ? 3.0f : 0.0f;
    spec.residual_scale = dice.one_in(3) ? 0.5f : 1.0f;
    spec.norm_kind = dice.one_in(4) ? NormKind::kLayer : NormKind::kRms;
    spec.norm_place = dice.one_in(4) ? NormPlace::kOutput : NormPlace::kInput;
    spec.ropes_exchanged = dice.one_in(4);
    if (dice.one_in(3)) spec.ropes[1].denominator = dice.between(8, 20);
    const bool own_kv =
        std::ranges::all_of(spec.layers, [](const LayerSpec& layer) { return layer.attention.kv_layer < 0; });
    if (own_kv && dice.one_in(3)) {  // the last layer first
      for (std::size_t layer = spec.layers.size(); layer-- > 0;) spec.layer_order.push_back(layer);
    }
    const RandomModel model(spec, dice);
    const Outcome outcome = compare(model, dice);
    if (outcome.margin <= kMargin) {
      ++close;
      continue;
    }
    worst = std::max(worst, outcome.worst);
    EXPECT_LE(outcome.worst, kTolerance) << "model " << i;
  }
  std::printf("%d models, %d not compared, at most %.1e of the range\n", kModels, close, worst);
  EXPECT_LE(close, kModels / 4);
}

}  // namespace
}  // namespace rowmax::engine
