#include "base/seeded_hash.h"

#include <gtest/gtest.h>

#include <string>

namespace rowmax::base {
namespace {

// Key and input are 00 01 02 ..., as in the paper's vectors; the values are of a second implementation from the paper's
// definition, which gives its SipHash-2-4 vector.
TEST(SeededHash, IsSipHash13) {
  const struct {
    std::size_t n;
    std::uint64_t hash;
  } vectors[] = {{0, 0xabac0158050fc4dcu}, {1, 0xc9f49bf37d57ca93u},  {7, 0xd3927d989bb11140u},
                 {8, 0x369095118d299a8eu}, {15, 0xd320d86d2a519956u}, {16, 0xcc4fdd1a7d908b66u},
                 {63, 0x9d199062b7bbb3a8u}};
  for (const auto& [n, hash] : vectors) {
    std::string text;
    for (std::size_t i = 0; i < n; ++i) text += static_cast<char>(i);
    EXPECT_EQ(siphash13(0x0706050403020100u, 0x0f0e0d0c0b0a0908u, text), hash) << n;
  }
}

TEST(SeededHash, StaysTheSameWithinAProcess) {
  EXPECT_EQ(seeded_hash("abc"), seeded_hash(std::string("abc")));
  EXPECT_NE(seeded_hash("abc"), seeded_hash("abd"));
  EXPECT_EQ(seeded_hash(std::uint64_t{7}), seeded_hash(std::uint64_t{7}));
  EXPECT_NE(seeded_hash(std::uint64_t{7}), seeded_hash(std::uint64_t{8}));
}

}  // namespace
}  // namespace rowmax::base
