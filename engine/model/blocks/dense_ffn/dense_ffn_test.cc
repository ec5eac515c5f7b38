// Facts of the FFN in turn beside its definition (reference.h).
#include "engine/model/blocks/dense_ffn/dense_ffn.h"

#include <gtest/gtest.h>

#include "engine/model/test_facts.h"

namespace rowmax::engine {
namespace {

const Fact kDenseFfnFacts[] = {
    {"gelu", [](LayerSpec& l, std::size_t) { l.ffn.activation = FfnActivation::kGeluTanh; }},
    {"relu_squared", [](LayerSpec& l, std::size_t) { l.ffn.activation = FfnActivation::kReluSquared; }},
    {"gate_limit", [](LayerSpec& l, std::size_t) { l.ffn.gate_limit = 0.5f; }},
    {"up_offset", [](LayerSpec& l, std::size_t) { l.ffn.up_offset = 1; }},
    {"sub_norm", [](LayerSpec& l, std::size_t) { l.ffn.sub_norm = true; }},
    {"product_norms",
     [](LayerSpec& l, std::size_t) {
       l.product_norms = true;
       l.ffn.sub_norm = true;
     }},
    {"matrix_scales", [](LayerSpec& l, std::size_t) { l.matrix_scales = true; }},
};

class DenseFfn : public testing::TestWithParam<Fact> {};
TEST_P(DenseFfn, IsAsDefined) { expect_as_defined(GetParam()); }
TEST_P(DenseFfn, FactChangesTheLogits) { expect_changed_logits(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Blocks, DenseFfn, testing::ValuesIn(kDenseFfnFacts), fact_name);

}  // namespace
}  // namespace rowmax::engine
