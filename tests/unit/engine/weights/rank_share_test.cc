#include "engine/weights/rank_share.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/weights/shard_plan.h"
#include "tests/unit/engine/weights/small_checkpoint.h"

namespace sparkspan::engine::weights {
namespace {

using ::testing::HasSubstr;

TEST(RankShare, RefusesWhatCannotBeShared) {
  const ModelShape shape = tests::SmallShape();
  EXPECT_EQ(RanksMax(shape), 8);
  for (const RankShare share :
       {RankShare{0, 9}, RankShare{2, 2}, RankShare{-1, 2}, RankShare{0, 0}}) {
    EXPECT_THAT(std::string(PlanShard(shape, share, false).status().message()),
                HasSubstr("8 output groups of 2 heads, which stay together, so it runs on 1 to 8 "
                          "ranks"));
  }
  EXPECT_THAT(std::string(CheckShare(shape, {0, 2, false, 48}).message()), HasSubstr("width unit"));
}

TEST(RankShare, SaysHowUnevenPartsAreDealt) {
  const std::string split = DescribeShares(tests::SmallShape(), {0, 3, false, 128});
  EXPECT_THAT(split, HasSubstr("output groups                      8: 2, 3, 3 (uneven)"));
  EXPECT_THAT(split, HasSubstr("attention heads                   16: 4, 6, 6 (uneven)"));
  EXPECT_THAT(split, HasSubstr("vocabulary rows                   67: 22, 22, 23 (uneven)"));
  EXPECT_THAT(split, HasSubstr("routed experts' width            384: 128, 128, 128\n"));
  const std::string whole = DescribeShares(tests::SmallShape(), {0, 8, true, 128});
  EXPECT_THAT(whole, HasSubstr("routed experts, by id              5: 0, 1, 0, 1, 1, 0, 1, 1"));
  EXPECT_THAT(whole, HasSubstr("some ranks get none"));
}

TEST(RankShare, CutsScalesWithTheirWeights) {
  // 512 columns over 8 ranks: stretches of 64, half a block of 128 each.
  ModelShape shape = tests::SmallShape();
  shape.expert_width = 512;
  const auto plan = PlanShard(shape, {3, 8, false, 32}, false);
  ASSERT_TRUE(plan.ok());
  const auto find = [&](const std::string& name) {
    for (const TensorSlice& slice : plan->slices) {
      if (slice.spec.name == name) {
        return slice;
      }
    }
    ADD_FAILURE() << name;
    return TensorSlice{};
  };
  const TensorSlice w1 = find("layers.1.ffn.shared_experts.w1.weight");
  EXPECT_EQ(w1.rows, (Range{192, 256}));
  EXPECT_EQ(w1.stored_rows, (Range{192, 256}));
  EXPECT_EQ(w1.bytes(), 64 * 256);
  EXPECT_EQ(find("layers.1.ffn.shared_experts.w1.scale").stored_rows, (Range{1, 2}));
  const TensorSlice w2 = find("layers.1.ffn.experts.4.w2.weight");
  EXPECT_EQ(w2.columns, (Range{192, 256}));
  EXPECT_EQ(w2.stored_columns, (Range{96, 128}));  // two codes a byte
  EXPECT_EQ(find("layers.1.ffn.experts.4.w2.scale").stored_columns, (Range{6, 8}));
  EXPECT_EQ(find("layers.2.attn.attn_sink").rows, (Range{6, 8}));
  EXPECT_EQ(find("layers.2.attn.wq_b.scale").stored_rows, (Range{6, 8}));
  EXPECT_EQ(find("layers.2.attn.wo_b.weight").stored_columns, (Range{384, 512}));
  for (const TensorSlice& slice : plan->slices) {
    EXPECT_EQ(slice.arena_offset % kSliceAlignment, 0);
  }
}

}  // namespace
}  // namespace sparkspan::engine::weights
