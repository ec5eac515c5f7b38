// Facts of attention in turn beside its definition (reference.h).
#include "engine/model/blocks/attention/attention.h"

#include <gtest/gtest.h>

#include "engine/model/test_facts.h"

namespace rowmax::engine {
namespace {

const Fact kAttentionFacts[] = {
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
    {"post_norms", [](LayerSpec& l, std::size_t) { l.post_norms = true; }},
    {"post_norms_alone",
     [](LayerSpec& l, std::size_t i) {
       l.post_norms = true;
       l.input_norms = i == 1;
     }},
    {"sinks", [](LayerSpec& l, std::size_t) { l.attention.sinks = true; }},
    {"output_gate", [](LayerSpec& l, std::size_t) { l.attention.output_gate = true; }},
    {"sub_norm", [](LayerSpec& l, std::size_t) { l.attention.sub_norm = true; }},
    {"product_norms", [](LayerSpec& l, std::size_t) { l.product_norms = true; }},
    {"matrix_scales", [](LayerSpec& l, std::size_t) { l.matrix_scales = true; }},
};

class Attention : public testing::TestWithParam<Fact> {};
TEST_P(Attention, IsAsDefined) { expect_as_defined(GetParam()); }
TEST_P(Attention, FactChangesTheLogits) { expect_changed_logits(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Blocks, Attention, testing::ValuesIn(kAttentionFacts), fact_name);

}  // namespace
}  // namespace rowmax::engine
