#include "engine/base/hash.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace sparkspan::engine {
namespace {

// XXH3-64 of the empty input with seed 0, as its specification gives it.
TEST(Hash64Test, ReproducesThePublishedValueOfTheEmptyInput) {
  EXPECT_EQ(Hash64(std::string_view("")), 0x2d06800538d394c2u);
}

TEST(Hash64Test, EveryBitOfTheInputMatters) {
  const std::string text(300, 'a');
  std::set<std::uint64_t> seen{Hash64(text)};
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = text;
      changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
      EXPECT_TRUE(seen.insert(Hash64(changed)).second) << "byte " << i << " bit " << bit;
    }
  }
}

TEST(CombineHashTest, DependsOnTheOrder) {
  EXPECT_NE(CombineHash(1, 2), CombineHash(2, 1));
}

}  // namespace
}  // namespace sparkspan::engine
