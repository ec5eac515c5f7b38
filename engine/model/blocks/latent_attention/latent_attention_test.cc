// Facts of latent attention in turn beside its definition (reference.h).
#include "engine/model/blocks/latent_attention/latent_attention.h"

#include <gtest/gtest.h>

#include "engine/model/test_facts.h"

namespace rowmax::engine {
namespace {

const Fact kLatentAttentionFacts[] = {
    {"latent", [](LayerSpec& l, std::size_t) { make_latent(l); }},
    {"of_two_products",
     [](LayerSpec& l, std::size_t) {
       make_latent(l);
       l.latent.q_rank = 20;
     }},
    {"sizes",
     [](LayerSpec& l, std::size_t i) {
       make_latent(l);
       l.latent = {.rank = i == 0 ? 24 : 10, .q_rank = i == 1 ? 12 : 0, .nope_dim = 6, .rope_dim = 8, .v_dim = 22};
       l.attention.n_head = i == 2 ? 7 : 1;
       l.attention.rope = 1;
       fit_latent(l);
     }},
    {"window",
     [](LayerSpec& l, std::size_t i) {
       make_latent(l);
       l.attention.window = i % 2 == 0 ? 7 : 0;
     }},
    {"no_rope",
     [](LayerSpec& l, std::size_t i) {
       make_latent(l);
       if (i == 1) l.attention.rope = -1;
     }},
    {"temperature",
     [](LayerSpec& l, std::size_t) {
       make_latent(l);
       l.attention.temperature = {.scale = 0.4, .offset = 1, .length = 8};
     }},
    {"beside_others",
     [](LayerSpec& l, std::size_t i) {
       if (i == 1) make_latent(l);
     }},
};

class LatentAttention : public testing::TestWithParam<Fact> {};
TEST_P(LatentAttention, IsAsDefined) { expect_as_defined(GetParam()); }
TEST_P(LatentAttention, FactChangesTheLogits) { expect_changed_logits(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Blocks, LatentAttention, testing::ValuesIn(kLatentAttentionFacts), fact_name);

}  // namespace
}  // namespace rowmax::engine
