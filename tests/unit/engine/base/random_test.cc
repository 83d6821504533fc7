#include "engine/base/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace sparkspan::engine {
namespace {

// Known-answer vectors of Philox4x32-10 from the authors' Random123 distribution (kat_vectors).
TEST(PhiloxTest, ReproducesThePublishedVectors) {
  using Block = std::array<std::uint32_t, 4>;
  EXPECT_EQ(Philox({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(UniformFloatTest, StaysInsideTheOpenInterval) {
  for (std::uint64_t position = 0; position < 100'000; ++position) {
    const float value = UniformFloat(7, position, RandomPurpose::kSample, 3);
    ASSERT_GT(value, 0.0f);
    ASSERT_LT(value, 1.0f);
  }
}

// Pearson's chi-square over equal cells, against the 0.9999 quantile for 63 degrees of freedom.
TEST(UniformFloatTest, IsUniformOverPositionsTokensAndSeeds) {
  constexpr int kCells = 64;
  constexpr int kDraws = 64'000;
  constexpr double kQuantile = 115.0;
  const auto chi_square = [&](auto draw) {
    std::vector<int> counts(kCells, 0);
    for (int i = 0; i < kDraws; ++i) {
      ++counts[static_cast<std::size_t>(draw(static_cast<std::uint32_t>(i)) * kCells)];
    }
    const double expected = static_cast<double>(kDraws) / kCells;
    double sum = 0;
    for (const int count : counts) {
      sum += (count - expected) * (count - expected) / expected;
    }
    return sum;
  };
  const double by_position =
      chi_square([](std::uint32_t i) { return UniformFloat(1, i, RandomPurpose::kSample, 0); });
  const double by_token =
      chi_square([](std::uint32_t i) { return UniformFloat(1, 0, RandomPurpose::kSample, i); });
  const double by_seed =
      chi_square([](std::uint32_t i) { return UniformFloat(i, 0, RandomPurpose::kSample, 0); });
  std::printf("chi-square %.1f %.1f %.1f of %.1f\n", by_position, by_token, by_seed, kQuantile);
  EXPECT_LT(by_position, kQuantile);
  EXPECT_LT(by_token, kQuantile);
  EXPECT_LT(by_seed, kQuantile);
}

TEST(UniformFloatTest, PurposesAreIndependentStreams) {
  int equal = 0;
  for (std::uint64_t position = 0; position < 1000; ++position) {
    equal += UniformFloat(1, position, RandomPurpose::kSample, 0) ==
             UniformFloat(1, position, RandomPurpose::kAccept, 0);
  }
  EXPECT_LT(equal, 5);
}

}  // namespace
}  // namespace sparkspan::engine
