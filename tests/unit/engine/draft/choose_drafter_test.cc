#include "engine/draft/choose_drafter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/engine/draft/small_drafter.h"

namespace sparkspan::engine::draft {
namespace {

using ::testing::HasSubstr;

std::string Refusal(const weights::ModelShape& shape, DrafterKind asked) {
  return std::string(CheckKind(shape, asked).message());
}

TEST(ChooseDrafter, RefusesAKindThatTheCheckpointDoesNotHold) {
  const weights::ModelShape dspark = tests::SmallDsparkShape();
  const weights::ModelShape mtp = tests::SmallMtpShape();
  const weights::ModelShape none = tests::SmallShape();
  EXPECT_EQ(Refusal(dspark, DrafterKind::kDspark), "");
  EXPECT_EQ(Refusal(mtp, DrafterKind::kMtp), "");
  for (const weights::ModelShape& shape : {dspark, mtp, none}) {
    EXPECT_EQ(Refusal(shape, DrafterKind::kNone), "");
  }
  EXPECT_EQ(Refusal(dspark, DrafterKind::kMtp),
            "drafter mtp: this checkpoint holds a DSpark drafter of 2 stages "
            "(mtp.0.main_proj.weight), which cannot run as mtp; use dspark or none");
  EXPECT_EQ(
      Refusal(mtp, DrafterKind::kDspark),
      "drafter dspark: this checkpoint holds an MTP block (mtp.0.e_proj.weight), which cannot "
      "run as dspark; use mtp or none");
  EXPECT_EQ(Refusal(none, DrafterKind::kMtp),
            "drafter mtp: this checkpoint holds no draft stages (mtp.*), which cannot run as mtp; "
            "use none");
}

TEST(ChooseDrafter, TakesWhatTheCheckpointHolds) {
  const weights::ModelShape dspark = tests::SmallDsparkShape();
  const weights::ModelShape mtp = tests::SmallMtpShape();
  EXPECT_EQ(ChooseDrafter(dspark, "auto").value(), DrafterKind::kDspark);
  EXPECT_EQ(ChooseDrafter(mtp, "auto").value(), DrafterKind::kMtp);
  EXPECT_EQ(ChooseDrafter(tests::SmallShape(), "auto").value(), DrafterKind::kNone);
  EXPECT_EQ(ChooseDrafter(dspark, "none").value(), DrafterKind::kNone);
  EXPECT_THAT(std::string(ChooseDrafter(dspark, "mtp").status().message()),
              HasSubstr("use dspark or none"));
  EXPECT_THAT(std::string(ChooseDrafter(dspark, "eagle").status().message()),
              HasSubstr("drafter 'eagle'"));
  EXPECT_EQ(BlockOf(dspark, DrafterKind::kDspark), 4);
  EXPECT_EQ(BlockOf(dspark, DrafterKind::kNone), 0);
  EXPECT_EQ(BlockOf(mtp, DrafterKind::kMtp, 2), 2);
}

}  // namespace
}  // namespace sparkspan::engine::draft
