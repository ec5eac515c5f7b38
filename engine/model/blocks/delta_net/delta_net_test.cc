// Facts of the gated delta net in turn beside its definition (reference.h).
#include "engine/model/blocks/delta_net/delta_net.h"

#include <gtest/gtest.h>

#include "engine/model/test_facts.h"

namespace rowmax::engine {
namespace {

const Fact kDeltaNetFacts[] = {
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
};

class DeltaNet : public testing::TestWithParam<Fact> {};
TEST_P(DeltaNet, IsAsDefined) { expect_as_defined(GetParam()); }
TEST_P(DeltaNet, FactChangesTheLogits) { expect_changed_logits(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Blocks, DeltaNet, testing::ValuesIn(kDeltaNetFacts), fact_name);

}  // namespace
}  // namespace rowmax::engine
