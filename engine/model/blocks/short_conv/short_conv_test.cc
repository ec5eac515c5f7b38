// Facts of the short convolution in turn beside its definition (reference.h).
#include "engine/model/blocks/short_conv/short_conv.h"

#include <gtest/gtest.h>

#include "engine/model/test_facts.h"

namespace rowmax::engine {
namespace {

const Fact kShortConvFacts[] = {
    {"short_conv", [](LayerSpec& l, std::size_t) { make_short_conv(l); }},
    // As many taps as the kernel has, and channels beyond one vector and one task.
    {"short_conv_wide",
     [](LayerSpec& l, std::size_t) {
       make_short_conv(l);
       l.short_conv = {.n_channel = 530, .conv_width = 8};
     }},
    {"short_conv_gate_first",
     [](LayerSpec& l, std::size_t) {
       make_short_conv(l);
       l.short_conv.gate_run = 0;
     }},
    {"short_conv_gate_last",
     [](LayerSpec& l, std::size_t) {
       make_short_conv(l);
       l.short_conv.gate_run = 2;
     }},
    {"short_conv_between_attention", [](LayerSpec& l, std::size_t i) { i == 1 ? (void)0 : make_short_conv(l); }},
};

class ShortConv : public testing::TestWithParam<Fact> {};
TEST_P(ShortConv, IsAsDefined) { expect_as_defined(GetParam()); }
TEST_P(ShortConv, FactChangesTheLogits) { expect_changed_logits(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Blocks, ShortConv, testing::ValuesIn(kShortConvFacts), fact_name);

}  // namespace
}  // namespace rowmax::engine
