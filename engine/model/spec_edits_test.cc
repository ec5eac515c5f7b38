// Every fact of a session by its name and in words: that the edited spec computes what a definition in f64 says of it,
// and something else than before.
#include "engine/model/spec_edits.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "engine/model/spec_facts.h"
#include "engine/model/test_random_model.h"

namespace rowmax::engine::spec_edits_test {
namespace {

using Change = std::function<void(ModelSpec& spec)>;

Change layers(const std::function<void(LayerSpec& layer)>& change) {
  return [change](ModelSpec& spec) { spec.for_layers(change); };
}

void nothing(ModelSpec&) {}
const Change kPartOfHead = layers([](LayerSpec& l) { l.attention.rope = 1; });
const Change kNope = layers([](LayerSpec& l) { l.attention.rope = -1; });
const Change kQkNorms = layers([](LayerSpec& l) { l.attention.qk_norm = QkNorm::kHead; });
const Change kGated = layers([](LayerSpec& l) { l.attention.output_gate = true; });
const Change kSinks = layers([](LayerSpec& l) { l.attention.sinks = true; });
const Change kSubNorms = layers([](LayerSpec& l) { l.attention.sub_norm = l.ffn.sub_norm = true; });
const Change kProductNorms = layers([](LayerSpec& l) { l.product_norms = true; });
const Change kPostNorms = layers([](LayerSpec& l) { l.post_norms = true; });
const Change kPostNormsAlone = layers([](LayerSpec& l) {
  l.input_norms = false;
  l.post_norms = true;
});
const Change kBiased = layers([](LayerSpec& l) { l.attention.qkv_bias_required = true; });
const Change kThreeKvHeads = layers([](LayerSpec& l) { l.attention.n_head = 6, l.attention.n_kv_head = 3; });
const Change kDeltaNets = layers(make_delta_net);
const Change kShortConvs = layers(make_short_conv);
const Change kExperts = layers(make_experts);
const Change kRenormalised = layers([](LayerSpec& l) {
  make_experts(l);
  l.ffn.renormalise = true;
});
const Change kSharedExperts = layers([](LayerSpec& l) {
  make_experts(l);
  l.ffn.n_shared = 28;
});
const Change kExpertsBeside = layers(make_experts_beside);
const Change kBiasedExperts = layers([](LayerSpec& l) {
  make_experts(l);
  l.ffn.biases = true;
});
const Change kBiasedChoice = layers([](LayerSpec& l) {
  make_experts(l);
  l.ffn.choice_bias = true;
});
const Change kLatents = layers(make_latent);
const Change kNormedV = layers([](LayerSpec& l) { l.attention.v_norm = true; });
const Change kLayerEmbeddings = layers([](LayerSpec& l) { l.n_layer_embd = 12; });
const Change kOutputScales = layers([](LayerSpec& l) { l.output_scale = true; });
void two_ropes(ModelSpec& spec) { spec.layers[1].attention.rope = 1; }
void one_window(ModelSpec& spec) {
  two_ropes(spec);
  spec.layers[1].attention.window = 5;
}
void one_rope(ModelSpec& spec) {
  spec.ropes = {spec.ropes[0]};
  spec.ropes[0].divisors = {2, 2, 3, 4, 5, 5, 6, 8};
}
void one_rope_alone(ModelSpec& spec) {
  spec.ropes = {spec.ropes[0]};
  spec.for_layers([](LayerSpec& layer) { layer.attention.scale = 0.25f; });  // 1/sqrt(16)
}
void yarn(ModelSpec& spec) {
  spec.ropes[0].yarn = {.factor = 8, .original_context = 40, .beta_fast = 4, .beta_slow = 1, .magnitude = 1.25};
}
void tempered(ModelSpec& spec) {
  spec.for_layers([](LayerSpec& layer) { layer.attention.temperature = {.scale = 0.25, .length = 4}; });
}
void linear(ModelSpec& spec) { spec.ropes[0].scale = 0.5; }
// Random models run in a session of 200 positions (test_random_model.h).
void long_rope(ModelSpec& spec) {
  one_rope(spec);
  spec.ropes[0].long_rope = {.original_context = 64, .long_divisors = {1, 3, 5, 9, 12, 16, 20, 30}, .magnitude = 1.25};
}

struct Case {
  const char* name;
  const char* before;  // its value in the model
  const char* value;
  Change base;
};

const Case kCases[] = {
    {"norm_kind", "rms", "layer", nothing},
    {"norm_kind", "rms", "layer", kQkNorms},
    {"norm_kind", "rms", "layer", kDeltaNets},
    {"norm_place", "input", "output", nothing},
    {"norm_place", "input", "output", kPostNorms},
    {"rms_norm_eps", "1e-05", "0.25", nothing},
    {"embedding_scale", "1", "3", nothing},
    {"residual_scale", "1", "0.25", nothing},
    {"attention_scale", "0.5", "0.125", nothing},
    {"attention_softcap", "0", "0.5", nothing},
    {"final_softcap", "0", "0.5", nothing},
    {"rope_pairing", "adjacent,halves", "adjacent", nothing},
    {"rope_base", "100,1000", "17", nothing},
    {"rope_scale", "0.25,1", "0.5", nothing},
    {"rope_scaling", "llama3,none", "none", kPartOfHead},
    {"rope_scaling", "linear,llama3", "none", linear},
    {"rope_scaling", "longrope", "none", long_rope},
    {"rope_factors", "by_context", "short", long_rope},
    {"rope_factors", "by_context", "inverse", long_rope},
    {"rope_magnitude", "1.25", "2", long_rope},
    {"rope_dimensions", "16,8", "8", nothing},
    {"rope_denominator", "rotary", "head", kPartOfHead},
    {"rope_layers", "as_configured", "exchanged", two_ropes},
    {"sliding_window", "0", "3", nothing},
    {"head_mapping", "grouped", "interleaved", nothing},
    {"head_mapping", "grouped", "interleaved", kSinks},
    {"kv_order", "k_v", "v_k", nothing},
    {"kv_order", "k_v", "v_k", kBiased},
    {"biases", "yes", "no", kBiased},
    {"sinks", "yes", "no", kSinks},
    {"attention_output_gate", "yes", "no", kGated},
    {"attention_gate_layout", "per_head", "flat", kGated},
    {"qk_norm", "yes", "no", kQkNorms},
    {"qk_norm_place", "before_rope", "after_rope", kQkNorms},
    {"sub_norms", "yes", "no", kSubNorms},
    {"post_norms", "yes", "no", kPostNorms},
    {"product_norms", "yes", "no", kProductNorms},
    {"ffn_activation", "silu", "gelu_tanh", nothing},
    {"ffn_activation", "silu", "gelu_erf", nothing},
    {"ffn_activation", "silu", "gelu_quick", nothing},
    {"ffn_activation", "silu", "relu", nothing},
    {"ffn_activation", "silu", "relu_squared", nothing},
    {"ffn_activation", "silu", "sigmoid", nothing},
    {"ffn_activation", "silu", "none", nothing},
    {"ffn_activation", "silu", "relu", kExperts},
    {"gate_order", "gate_up", "up_gate", nothing},
    {"gate_order", "gate_up", "up_gate", kSharedExperts},
    {"delta_head_order", "tiled", "grouped", kDeltaNets},
    {"delta_conv_activation", "silu", "none", kDeltaNets},
    {"delta_gate_activation", "silu", "sigmoid", kDeltaNets},
    {"state_type", "f32", "f16", kDeltaNets},
    {"state_type", "f32", "bf16", kDeltaNets},
    {"expert_used_count", "3", "1", kExperts},
    {"expert_renormalise", "no", "yes", kExperts},
    {"expert_renormalise", "yes", "no", kRenormalised},
    {"expert_gate", "softmax", "sigmoid", kExperts},
    {"expert_scale", "1", "2.5", kExperts},
    {"expert_shift", "0", "5", kExperts},
    {"shared_expert", "yes", "no", kSharedExperts},
    {"shared_expert_gate", "yes", "no", kSharedExperts},
    {"skip_mixer", "none", "1", nothing},
    {"skip_mixer", "none", "0,2", kDeltaNets},
    {"skip_ffn", "none", "0,2", nothing},
    {"skip_ffn", "none", "1", kExperts},
    {"layer_order", "ascending", "1,0,2", nothing},
    {"layer_order", "ascending", "2,1,0", kDeltaNets},
    {"rope_scale_global", "1", "0.125", one_window},
    {"rope_factors", "file", "none", one_rope},
    {"rope_factors", "file", "inverse", one_rope},
    {"rope_factors", "file", "first_is_one", one_rope},
    {"rope_factors", "file", "8,1,4,64", one_rope},
    {"rope_factors", "file,none", "8,1,4,64", nothing},
    {"kv_heads", "0", "1", nothing},
    {"kv_heads", "0", "1", kBiased},
    {"kv_heads", "0", "2", kThreeKvHeads},
    {"kv_heads", "0", "reversed", kThreeKvHeads},
    {"head_count", "4", "8", one_rope_alone},
    {"head_count", "4", "2", one_rope_alone},
    {"conv_channels", "q_k_v", "v_q_k", kDeltaNets},
    {"conv_channels", "q_k_v", "k_v_q", kDeltaNets},
    {"conv_channels", "q_k_v", "k_q_v", kDeltaNets},
    {"conv_channels", "q_k_v", "q_v_k", kDeltaNets},
    {"conv_channels", "q_k_v", "v_k_q", kDeltaNets},
    {"logit_scale", "1", "0.25", nothing},
    {"attention_temperature", "0", "0.5", nothing},
    {"attention_temperature", "0.25", "0", tempered},
    {"rope_magnitude", "1.25", "0.75", yarn},
    {"nope_layers", "none", "1", nothing},
    {"nope_layers", "0,1,2", "none", kNope},
    {"post_norms", "yes", "no", kPostNormsAlone},
    {"ffn_limit", "0", "0.5", nothing},
    {"ffn_limit", "0", "0.5", kSharedExperts},
    {"ffn_up_offset", "0", "1", nothing},
    {"expert_biases", "yes", "no", kBiasedExperts},
    {"yarn_ramp", "whole_pairs", "exact", yarn},
    {"v_norm", "yes", "no", kNormedV},
    {"layer_embeddings", "yes", "no", kLayerEmbeddings},
    {"layer_output_scale", "yes", "no", kOutputScales},
    {"short_conv_runs", "b_c_x", "c_b_x", kShortConvs},
    {"short_conv_runs", "b_c_x", "b_x_c", kShortConvs},
    {"expert_choice_bias", "yes", "no", kBiasedChoice},
    {"attention_scale", "0.5", "0.125", kLatents},
    {"attention_softcap", "0", "0.5", kLatents},
    {"attention_temperature", "0", "0.5", kLatents},
    {"rope_pairing", "adjacent,halves", "adjacent", kLatents},
    {"rope_dimensions", "16,8", "8", kLatents},
    {"nope_layers", "none", "1", kLatents},
    {"sliding_window", "0", "3", kLatents},
    {"norm_kind", "rms", "layer", kLatents},
    {"shared_expert", "yes", "no", kExpertsBeside},
    {"expert_factors", "yes", "no", kExpertsBeside},
    {"router_norm", "yes", "no", kExpertsBeside},
    {"branch_norms", "yes", "no", kExpertsBeside},
};

// The largest difference of two models' logits, of the largest logit.
double distance(const ModelSpec& a, const ModelSpec& b, const reference::Weights& weights) {
  reference::Model one(a, weights), two(b, weights);
  double most = 0, range = 0;
  for (TokenId token = 0; token < 20; ++token) {
    const reference::Vector x = one.next(token), y = two.next(token);
    for (std::size_t i = 0; i < x.size(); ++i) {
      most = std::max(most, std::abs(x[i] - y[i]));
      range = std::max(range, std::abs(x[i]));
    }
  }
  return most / range;
}

class SpecEdit : public testing::TestWithParam<std::size_t> {};

TEST_P(SpecEdit, ComputesWhatItSays) {
  // What is rounded to few bits may be rounded to the other side, by a state that is off in its last place.
  constexpr double kTolerance = 1e-4, kRoundedTolerance = 1e-3, kMargin = 2e-6;
  const Case& one = kCases[GetParam()];
  const bool rounds = std::string(one.name) == "state_type";
  ModelSpec base = plain_spec(3);
  one.base(base);
  Outcome outcome;
  for (std::uint64_t seed = 0; seed < 8 && outcome.margin <= kMargin; ++seed) {
    Dice dice(300 * seed + GetParam());
    RandomModel model(base, dice);
    ASSERT_EQ(*edit_value(model.spec, one.name), one.before);
    const Status status = apply_edit(model.spec, one.name, one.value);
    ASSERT_TRUE(status.ok()) << status.error().message;
    ASSERT_EQ(*edit_value(model.spec, one.name), one.value);
    outcome = compare(model, dice);
    const double change = distance(base, model.spec, model.raw);
    std::printf("%s=%s: %.1e of the range, changed by %.1e, margin %.1e\n", one.name, one.value, outcome.worst, change,
                outcome.margin);
    if (outcome.margin <= kMargin) continue;
    EXPECT_LE(outcome.worst, rounds ? kRoundedTolerance : kTolerance);
    EXPECT_GT(change, rounds ? 1e-4 : 1e-2) << one.name << " changed nothing";
    EXPECT_GT(change, 3 * outcome.worst);
  }
  ASSERT_GT(outcome.margin, kMargin);
}

INSTANTIATE_TEST_SUITE_P(Facts, SpecEdit, testing::Range(std::size_t{0}, std::size(kCases)), [](const auto& info) {
  std::string name = kCases[info.param].name + std::string("_") + kCases[info.param].value;
  for (char& letter : name) letter = std::isalnum(static_cast<unsigned char>(letter)) != 0 ? letter : '_';
  return std::to_string(info.param) + "_" + name;
});

TEST(SpecEdits, EveryFactIsTested) {
  std::set<std::string_view> tested;
  for (const Case& one : kCases) tested.insert(one.name);
  for (const SpecFact& fact : spec_facts()) {
    EXPECT_TRUE(tested.contains(fact.info.name)) << fact.info.name;
    EXPECT_EQ(fact.info.scope, EditScope::kSession);
    EXPECT_EQ(*find_edit(fact.info.name), &*std::ranges::find(edit_table(), fact.info.name, &EditInfo::name));
  }
  EXPECT_EQ(tested.size(), spec_facts().size());
}

// ---- what errors offer

const Change kGroupedExperts = layers([](LayerSpec& l) {
  make_experts(l);
  l.ffn.n_group = 2;
  l.ffn.n_group_used = 1;
});
const Change kLatentsAlone = [](ModelSpec& spec) {
  kLatents(spec);
  spec.ropes = {spec.ropes[0]};
};

// The values that a sentence offers: words and numbers that it lists, both ends of a range, and the example at its end.
// "rms or layer (...)", "an even number from 2 to 8", "none, or layers ...: 0,2", "a number above 0, or 0 for none".
std::vector<std::string> offered(const std::string& sentence) {
  std::string text;  // without what stands in brackets
  int depth = 0;
  for (const char c : sentence) {
    depth += c == '(' ? 1 : 0;
    if (depth == 0) text += c;
    depth -= c == ')' ? 1 : 0;
  }
  std::vector<std::string> out;
  std::smatch found;
  if (std::regex_search(text, found, std::regex(": ([0-9][0-9,]*)$"))) out.push_back(found[1]);
  text = text.substr(0, text.find(':'));
  if (std::regex_search(text, found, std::regex("number.* from ([0-9]+) to ([0-9]+)"))) {
    out.insert(out.end(), {found[1], found[2]});
  } else if (text.find("number above 0") != std::string::npos) {
    out.push_back("0.5");
  } else if (std::regex_search(text, std::regex("^a number"))) {
    out.push_back("3");
  }
  if (text.find("0 for none") != std::string::npos) out.push_back("0");
  if (const std::size_t heads = text.find(" heads, "); heads != std::string::npos) text.resize(heads);
  text = std::regex_replace(text, std::regex(",? or |, "), "\n");
  std::istringstream items(text);
  for (std::string item; std::getline(items, item);) {
    while (item.ends_with(' ')) item.pop_back();
    if (std::regex_match(item, std::regex("[a-z0-9][a-z0-9_]*"))) out.push_back(item);
  }
  return out;
}

TEST(SpecEdits, WhatErrorsOfferCanBeGiven) {
  // Of all facts, or of one.
  std::vector<std::pair<Change, std::string_view>> bases = {{nothing, ""}, {kGroupedExperts, ""}, {kLatentsAlone, ""}};
  for (const Case& one : kCases) bases.emplace_back(one.base, one.name);
  std::set<std::string_view> offers;
  for (const auto& [base, of] : bases) {
    ModelSpec spec = plain_spec(3);
    base(spec);
    for (const SpecFact& fact : spec_facts()) {
      const std::string name(fact.info.name);
      if ((!of.empty() && of != name) || edit_value(spec, name)->empty()) continue;
      ModelSpec refused = spec;
      const Status status = apply_edit(refused, name, "?");
      ASSERT_FALSE(status.ok()) << name;
      const std::string& message = status.error().message;
      const std::size_t begin = message.find("expected "), end = message.find(", found '?'");
      ASSERT_TRUE(begin != std::string::npos && end != std::string::npos) << message;
      const std::string sentence = message.substr(begin + 9, end - begin - 9);
      EXPECT_EQ(sentence, *edit_values(spec, name));
      const std::vector<std::string> values = offered(sentence);
      EXPECT_FALSE(values.empty()) << message;
      for (const std::string& value : values) {
        ModelSpec changed = spec;
        Edits edits = {{name, value}};
        if (sentence.find("rope_factors=none beside it") != std::string::npos)
          edits.push_back({"rope_factors", "none"});
        const Status given = apply_edits(changed, edits);
        EXPECT_TRUE(given.ok()) << message << " offers " << value << ": " << given.error().message;
        offers.insert(fact.info.name);
      }
      // What is behind the end of a range is refused.
      std::smatch found;
      if (std::regex_search(sentence, found, std::regex(" from [0-9]+ to ([0-9]+)"))) {
        ModelSpec changed = spec;
        EXPECT_FALSE(apply_edit(changed, name, std::to_string(std::stoll(found[1]) + 2)).ok()) << message;
      }
    }
  }
  for (const SpecFact& fact : spec_facts()) EXPECT_TRUE(offers.contains(fact.info.name)) << fact.info.name;
  ModelSpec grouped = plain_spec(3), latents = plain_spec(3);
  kGroupedExperts(grouped);
  kLatentsAlone(latents);
  EXPECT_EQ(
      *edit_values(grouped, "expert_used_count"),
      "a number from 1 to " + std::to_string(grouped.layers[0].ffn.n_expert / 2) + ", in the groups that are used");
  const AttentionSpec& a = latents.layers[0].attention;
  EXPECT_TRUE(edit_values(latents, "rope_dimensions")
                  ->starts_with("an even number from 2 to " + std::to_string(a.head_dim - a.rope_first)));
}

// What transformers makes of the same numbers (_compute_llama3_parameters, heads of 16 dimensions, base 10000): the plain
// frequencies over its own.
TEST(SpecEdits, FactorsOfLlama3) {
  ModelSpec spec = plain_spec(1);
  spec.ropes = {spec.ropes[0]};
  spec.ropes[0].base = 10000;
  ASSERT_TRUE(apply_edit(spec, "rope_factors", "8,1,4,64").ok());
  const double want[] = {1, 1.293976, 7.667385, 7.999999, 8, 7.999999, 8, 7.999999};
  ASSERT_EQ(spec.ropes[0].divisors.size(), std::size(want));
  for (std::size_t i = 0; i < std::size(want); ++i) EXPECT_NEAR(spec.ropes[0].divisors[i], want[i], 1e-5 * want[i]);
}

// Other numbers of heads are other sizes: of what turns whole heads, and of a scale that was 1/sqrt(size).
TEST(SpecEdits, HeadsOfAnotherSize) {
  for (const float scale : {0.25f, 0.5f}) {
    ModelSpec spec = plain_spec(2);
    spec.for_layers([&](LayerSpec& layer) { layer.attention.scale = scale; });
    ASSERT_TRUE(apply_edit(spec, "head_count", "8").ok());
    for (const LayerSpec& layer : spec.layers) {
      EXPECT_EQ(layer.attention.n_head, 8);
      EXPECT_EQ(layer.attention.n_kv_head, 4);
      EXPECT_EQ(layer.attention.head_dim, 8);
      EXPECT_FLOAT_EQ(layer.attention.scale, scale == 0.25f ? 0.35355339f : scale);
    }
    EXPECT_EQ(spec.shape.head_dim, 8);
    EXPECT_EQ(spec.ropes[0].n_rot, 8);
    EXPECT_EQ(spec.ropes[1].n_rot, 8);  // as it was
  }
}

// A plain model has no such thing.
TEST(SpecEdits, WhatNoLayerHasCannotBeChanged) {
  ModelSpec spec = plain_spec(3);
  for (const char* name : {"attention_gate_layout", "qk_norm_place",     "delta_head_order",  "delta_conv_activation",
                           "delta_gate_activation", "state_type",        "expert_used_count", "expert_renormalise",
                           "expert_gate",           "expert_scale",      "expert_shift",      "shared_expert",
                           "shared_expert_gate",    "expert_factors",    "router_norm",       "branch_norms",
                           "rope_denominator",      "rope_scale_global", "rope_magnitude",    "conv_channels"}) {
    EXPECT_EQ(*edit_value(spec, name), "") << name;
    const Status status = apply_edit(spec, name, "no");
    ASSERT_FALSE(status.ok()) << name;
    EXPECT_NE(status.error().message.find("no layer of this model has it"), std::string::npos) << name;
  }
  spec.layers[1].attention.n_kv_head = spec.layers[0].attention.n_kv_head = spec.layers[2].attention.n_kv_head = 1;
  EXPECT_EQ(*edit_value(spec, "head_mapping"), "");
  EXPECT_EQ(*edit_value(spec, "kv_heads"), "");
  spec.for_layers([](LayerSpec& layer) { layer.input_norms = false; });
  EXPECT_EQ(*edit_value(spec, "norm_place"), "");
  spec.layers[0].attention.qk_norm = QkNorm::kHead;  // as wide as a head
  EXPECT_EQ(*edit_value(spec, "head_count"), "");
}

// Facts of heads act first, whichever order they are given in; what does not fit in the end is refused.
TEST(SpecEdits, AnyOrderIsTheTables) {
  Edits edits = {{"rope_factors", "8,1,4,64"}, {"attention_scale", "0.125"}, {"kv_heads", "3"},
                 {"rope_dimensions", "4"},     {"rope_base", "500"},         {"head_count", "16"}};
  std::ranges::sort(edits);
  std::vector<float> divisors;
  do {
    ModelSpec spec = plain_spec(2);
    const Status status = apply_edits(spec, edits);
    ASSERT_TRUE(status.ok()) << status.error().message;
    for (const auto& [name, value] : edits) EXPECT_EQ(*edit_value(spec, name), value) << edits[0].first;
    ASSERT_EQ(spec.ropes[0].divisors.size(), 2U);
    if (divisors.empty()) divisors = spec.ropes[0].divisors;
    EXPECT_EQ(spec.ropes[0].divisors, divisors);
  } while (std::ranges::next_permutation(edits).found);

  ModelSpec spec = plain_spec(2);
  spec.ropes[0].n_rot = spec.ropes[1].n_rot = 8;
  spec.ropes[0].divisors = {1, 1, 1, 1};
  spec.ropes[1].divisors.clear();
  const std::pair<Edits, const char*> misfits[] = {
      {{{"head_count", "16"}}, "'rope_dimensions': 8 dimensions turn, and heads have 4"},
      {{{"rope_dimensions", "4"}}, "'rope_factors': there are 4, and 2 pairs turn; none leaves them out"},
  };
  for (const auto& [wrong, says] : misfits) {
    ModelSpec changed = spec;
    const Status status = apply_edits(changed, wrong);
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(status.error().message.find(says), std::string::npos) << status.error().message;
  }
  EXPECT_TRUE(apply_edits(spec, {{"rope_factors", "none"}, {"rope_dimensions", "4"}, {"head_count", "16"}}).ok());
}

TEST(SpecEdits, ValuesThatAreNone) {
  ModelSpec spec = plain_spec(3);
  spec.layers[2].attention.kv_layer = 1;
  const std::pair<const char*, const char*> wrong[] = {
      {"skip_mixer", "3"},
      {"skip_mixer", "0,0"},
      {"skip_ffn", ""},
      {"skip_ffn", "0,"},
      {"layer_order", "0,1"},
      {"layer_order", "0,1,1"},
      {"layer_order", "0,1,2,3"},
      {"layer_order", "2,0,1"},
      {"residual_scale", "0"},
      {"norm_kind", "batch"},
      {"rope_scaling", "yarn"},
      {"biases", "perhaps"},
      {"rope_dimensions", "7"},
      {"rope_dimensions", "18"},
      {"sliding_window", "-1"},
      {"rms_norm_eps", "0"},
      {"rope_factors", "8,1,4"},
      {"rope_factors", "8,4,4,64"},
      {"rope_factors", "8,1,4,64,1"},
      {"kv_heads", "2"},
      {"kv_heads", "back"},
      {"head_count", "3"},
      {"head_count", "64"},
      {"rope_base", "1e999"},
      {"attention_scale", "NaN"},
      {"rope_layers", "yes"},
  };
  for (const auto& [name, value] : wrong) {
    const Status status = apply_edit(spec, name, value);
    ASSERT_FALSE(status.ok()) << name << "=" << value;
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(status.error().message.find(name), std::string::npos) << status.error().message;
    EXPECT_NE(status.error().message.find("found '" + std::string(value) + "'"), std::string::npos);
  }
  spec.ropes[1].divisors.clear();
  EXPECT_FALSE(apply_edit(spec, "rope_factors", "inverse").ok());
  EXPECT_TRUE(apply_edit(spec, "layer_order", "1,0,2").ok());
  EXPECT_TRUE(apply_edit(spec, "layer_order", "0,1,2").ok());
  EXPECT_EQ(*edit_value(spec, "layer_order"), "ascending");
  EXPECT_FALSE(apply_edit(spec, "nope_layers", "3").ok());
}

}  // namespace
}  // namespace rowmax::engine::spec_edits_test
