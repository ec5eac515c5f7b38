#include "doctor/checks/planted_test_util.h"

namespace rowmax::doctor {
namespace {

using namespace testing_util;

TEST(SamplerCheck, SoundModelsPass) { expect_all_pass(check_sampler); }

TEST(SamplerCheck, SeedsOfModelsDoNotMatter) {
  for (std::uint64_t seed = 2; seed < 12; ++seed) {
    tools::SyntheticSpec spec;
    spec.seed = seed;
    expect_pass(check_sampler, spec);
  }
}

}  // namespace
}  // namespace rowmax::doctor
