// Facts of the mixture of experts in turn beside its definition (reference.h).
#include "engine/model/blocks/moe_ffn/moe_ffn.h"

#include <gtest/gtest.h>

#include "engine/model/test_facts.h"

namespace rowmax::engine {
namespace {

const Fact kMoeFfnFacts[] = {
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
    {"experts_with_sum_offset",
     [](LayerSpec& l, std::size_t) {
       make_experts(l);
       l.ffn.renormalise = true;
       l.ffn.sum_offset = 0.5f;
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
    {"expert_groups_by_their_best",
     [](LayerSpec& l, std::size_t) {
       make_experts(l);
       l.ffn.n_group = 4;
       l.ffn.n_group_used = 2;
       l.ffn.n_group_best = 1;
     }},
    {"expert_groups_of_one_with_bias",
     [](LayerSpec& l, std::size_t) {
       make_experts(l);
       l.ffn.n_group = 12;
       l.ffn.n_group_used = 5;
       l.ffn.choice_bias = true;
     }},
    {"expert_biases",
     [](LayerSpec& l, std::size_t) {
       make_experts(l);
       l.ffn.biases = true;
       l.ffn.expert_shift = 5;
     }},
    {"experts_of_gpt_oss",
     [](LayerSpec& l, std::size_t) {
       make_experts(l);
       l.ffn.biases = l.ffn.renormalise = true;
       l.ffn.activation = FfnActivation::kGeluQuick;
       l.ffn.gate_limit = 0.7f;
       l.ffn.up_offset = 1;
     }},
    {"shared_expert_limited",
     [](LayerSpec& l, std::size_t) {
       make_experts(l);
       l.ffn.n_shared = 28;
       l.ffn.gate_limit = 0.5f;
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
    {"expert_factors",
     [](LayerSpec& l, std::size_t) {
       make_experts(l);
       l.ffn.expert_factors = true;
       l.ffn.expert_shift = 5;
     }},
    {"router_norm",
     [](LayerSpec& l, std::size_t) {
       make_experts(l);
       l.ffn.router_norm = true;
     }},
    {"experts_beside_dense_ffn",
     [](LayerSpec& l, std::size_t) {
       make_experts_beside(l);
       l.ffn.branch_norms = l.ffn.router_norm = l.ffn.expert_factors = false;
     }},
    {"experts_beside_with_branch_norms",
     [](LayerSpec& l, std::size_t) {
       make_experts_beside(l);
       l.ffn.router_norm = l.ffn.expert_factors = false;
     }},
    {"experts_of_gemma4",
     [](LayerSpec& l, std::size_t) {
       make_experts_beside(l);
       l.ffn.renormalise = true;
       l.ffn.activation = FfnActivation::kGeluTanh;
       l.post_norms = true;
     }},
};

class MoeFfn : public testing::TestWithParam<Fact> {};
TEST_P(MoeFfn, IsAsDefined) { expect_as_defined(GetParam()); }
TEST_P(MoeFfn, FactChangesTheLogits) { expect_changed_logits(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Blocks, MoeFfn, testing::ValuesIn(kMoeFfnFacts), fact_name);

}  // namespace
}  // namespace rowmax::engine
