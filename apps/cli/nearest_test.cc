#include "apps/cli/nearest.h"

#include <gtest/gtest.h>

#include <vector>

namespace rowmax::cli {
namespace {

const std::vector<std::string_view> kNames = {"Q8_0", "Q4_K", "Q4_0", "smollm2", "gemma3", "inspect"};

TEST(Nearest, CaseMissingSwappedAndWrongCharacters) {
  EXPECT_EQ(nearest("q8_0", kNames), "Q8_0");
  EXPECT_EQ(nearest("Q4-K", kNames), "Q4_K");
  EXPECT_EQ(nearest("smolm2", kNames), "smollm2");
  EXPECT_EQ(nearest("gemma4", kNames), "gemma3");
  EXPECT_EQ(nearest("insepct", kNames), "inspect");
}

TEST(Nearest, NothingForWhatIsUnlikeAll) {
  EXPECT_EQ(nearest("xyz", kNames), "");
  EXPECT_EQ(nearest("", kNames), "");
  EXPECT_EQ(nearest(std::string(5000, 'q'), kNames), "");
  EXPECT_EQ(did_you_mean("llama9", kNames), "");
  EXPECT_EQ(did_you_mean("smolm2", kNames), " (did you mean smollm2?)");
}

}  // namespace
}  // namespace rowmax::cli
