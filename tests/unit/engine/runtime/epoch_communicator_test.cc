#include "engine/runtime/epoch_communicator.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <vector>

namespace sparkspan::engine::runtime {
namespace {

// Alone in its group; tells what the owner says of itself while an exchange is in progress.
class OneRank final : public collective::Communicator {
 public:
  OneRank(const EpochCommunicator& owner, std::optional<RankPosition>* seen)
      : owner_(owner), seen_(seen) {}

  Rank rank() const override { return Rank(0); }
  int size() const override { return 1; }
  void BeginStep(collective::ExchangeTag) override {}
  absl::Status AllReduceSum(std::span<float>) override {
    *seen_ = owner_.position();
    return absl::OkStatus();
  }
  absl::Status AllGather(std::span<const std::byte>,
                         std::span<const std::size_t>,
                         std::span<std::byte>) override {
    *seen_ = owner_.position();
    return absl::OkStatus();
  }
  void Abort(absl::Status) override {}

 private:
  const EpochCommunicator& owner_;
  std::optional<RankPosition>* seen_;
};

TEST(EpochCommunicator, KnowsHowFarItsRankHasCome) {
  EpochCommunicator communicator(Rank(0), 1);
  std::optional<RankPosition> seen;
  communicator.Replace(std::make_unique<OneRank>(communicator, &seen));
  communicator.BeginStep({Epoch(1), Step(1)});
  EXPECT_EQ(Describe(communicator.position()), "in step 1, before its first exchange");
  std::vector<float> io(1);
  ASSERT_TRUE(communicator.AllReduceSum(io).ok());
  EXPECT_EQ(Describe(*seen), "in step 1, inside all-reduce 1");
  EXPECT_EQ(Describe(communicator.position()), "in step 1, computing after all-reduce 1");
  ASSERT_TRUE(communicator.AllGather({}, {}, {}).ok());
  EXPECT_EQ(Describe(*seen), "in step 1, inside all-gather 2");
  communicator.FinishStep();
  EXPECT_EQ(Describe(communicator.position()), "idle after step 1");
  communicator.BeginStep({Epoch(1), Step(2)});
  EXPECT_EQ(communicator.position().exchanges, 0) << "exchanges count inside a step";
  communicator.Replace(nullptr);
  EXPECT_EQ(Describe(communicator.position()), "before its first step") << "of the next epoch";
}

}  // namespace
}  // namespace sparkspan::engine::runtime
