// Embeddings for each layer, and the scale of a layer's output, beside their definitions.
#include "engine/model/blocks/layer_embedding/layer_embedding.h"

#include <gtest/gtest.h>

#include "engine/model/test_facts.h"

namespace rowmax::engine {
namespace {

const Fact kLayerEmbeddingFacts[] = {
    {"layer_embeddings", [](LayerSpec& l, std::size_t) { l.n_layer_embd = 12; }},
    {"layer_embeddings_by_gelu",
     [](LayerSpec& l, std::size_t) {
       l.n_layer_embd = 7;
       l.ffn.activation = FfnActivation::kGeluTanh;
       l.ffn.gate_limit = 0.5f;  // of the FFN alone
     }},
    {"output_scale", [](LayerSpec& l, std::size_t) { l.output_scale = true; }},
    {"layer_embeddings_and_output_scale",
     [](LayerSpec& l, std::size_t i) {
       l.n_layer_embd = 12;
       l.output_scale = i != 1;
     }},
};

class LayerEmbedding : public testing::TestWithParam<Fact> {};
TEST_P(LayerEmbedding, IsAsDefined) { expect_as_defined(GetParam()); }
TEST_P(LayerEmbedding, FactChangesTheLogits) { expect_changed_logits(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Blocks, LayerEmbedding, testing::ValuesIn(kLayerEmbeddingFacts), fact_name);

}  // namespace
}  // namespace rowmax::engine
