#include "engine/runtime/rank_position.h"

#include <gtest/gtest.h>

#include <vector>

namespace sparkspan::engine::runtime {
namespace {

RankPosition At(std::uint64_t begun,
                std::uint64_t finished,
                std::int64_t exchanges,
                bool exchanging) {
  return {Step(begun), Step(finished), exchanges, Collective::kAllReduce, exchanging};
}

TEST(RankPosition, IsDescribedForPeople) {
  EXPECT_EQ(Describe(RankPosition()), "before its first step");
  EXPECT_EQ(Describe(At(17, 16, 0, false)), "in step 17, before its first exchange");
  EXPECT_EQ(Describe(At(17, 16, 3, true)), "in step 17, inside all-reduce 3");
  EXPECT_EQ(Describe(At(17, 16, 3, false)), "in step 17, computing after all-reduce 3");
  EXPECT_EQ(Describe(At(17, 17, 3, false)), "idle after step 17");
}

TEST(RankPosition, GoesForwardThroughAStep) {
  const std::vector<RankPosition> way = {At(0, 0, 0, false),
                                         At(1, 0, 0, false),
                                         At(1, 0, 1, true),
                                         At(1, 0, 1, false),
                                         At(1, 0, 2, true),
                                         At(1, 1, 2, false),
                                         At(2, 1, 0, false)};
  for (std::size_t a = 0; a < way.size(); ++a) {
    for (std::size_t b = 0; b < way.size(); ++b) {
      EXPECT_EQ(way[a].IsAheadOf(way[b]), a > b) << a << " and " << b;
    }
  }
}

}  // namespace
}  // namespace sparkspan::engine::runtime
