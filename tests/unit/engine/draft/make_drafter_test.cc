#include "engine/draft/make_drafter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/engine/draft/small_drafter.h"

namespace sparkspan::engine::draft {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(MakeDrafter, MakesWhatTheCheckpointHolds) {
  tests::SmallDrafters dspark(tests::SmallDsparkShape());
  const auto first = dspark.Make({});
  EXPECT_EQ(first->kind(), DrafterKind::kDspark);
  EXPECT_EQ(first->block(), 4);
  EXPECT_EQ(std::vector<int>(first->taps().begin(), first->taps().end()), (std::vector<int>{0, 2}));
  EXPECT_FALSE(first->needs_streams());
  // Two rings of 128 entries of 64 e4m3 codes, a scale in 8 bytes and 64 bf16.
  EXPECT_EQ(first->state_bytes(), 2 * 128 * (64 + 8 + 128));
  tests::SmallDrafters mtp(tests::SmallMtpShape());
  for (const int block : {1, 2}) {
    const auto second = mtp.Make({}, block);
    EXPECT_EQ(second->kind(), DrafterKind::kMtp);
    EXPECT_EQ(second->block(), block);
    EXPECT_TRUE(second->taps().empty());
    EXPECT_TRUE(second->needs_streams());
  }
  EXPECT_EQ(MakeDrafter(*mtp.Load(), {}, {}, nullptr).value(), nullptr);
}

TEST(MakeDrafter, RefusesWhatItCannotUse) {
  tests::SmallDrafters mtp(tests::SmallMtpShape());
  const auto error = [&](const weights::RankWeights& loaded,
                         DrafterOptions options,
                         const model::ModelOptions& model) {
    return std::string(MakeDrafter(loaded, options, model, nullptr).status().message());
  };
  EXPECT_THAT(error(*mtp.Load(), {DrafterKind::kMtp, 3}, {}), HasSubstr("mtp_block is 3"));
  EXPECT_THAT(error(*mtp.Load(), {DrafterKind::kDspark}, {}), HasSubstr("use mtp or none"));
  model::ModelOptions threads;
  threads.threads = 0;
  EXPECT_THAT(error(*mtp.Load(), {DrafterKind::kMtp}, threads), HasSubstr("threads is 0"));
  const auto plain = weights::LoadRank(mtp.checkpoint(), {}).value();
  EXPECT_THAT(error(*plain, {DrafterKind::kMtp}, {}), HasSubstr("loaded without draft stages"));
  const auto cut = weights::LoadRank(mtp.checkpoint(), {0, 2, false, 32}, {.draft = true}).value();
  EXPECT_THAT(error(*cut, {DrafterKind::kMtp}, {}),
              AllOf(HasSubstr("draft stage 0"), HasSubstr("groups of 128")));
}

}  // namespace
}  // namespace sparkspan::engine::draft
