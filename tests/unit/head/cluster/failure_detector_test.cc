#include "head/cluster/failure_detector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>

// Everything in virtual time.
namespace sparkspan::head::cluster {
namespace {

using engine::Rank;
using engine::Step;
using engine::Time;
using engine::runtime::Collective;
using engine::runtime::RankPosition;
using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr milliseconds kLimit{1000};
constexpr std::int64_t kBeatMs = 200;
constexpr std::int64_t kLookMs = 50;

Time At(std::int64_t ms) {
  return Time(milliseconds(ms));
}

LinkEnd Broke() {
  LinkEnd end;
  end.why = absl::UnavailableError("the stream broke: connection reset");
  return end;
}

LinkEnd Said(const std::string& why, std::optional<std::int32_t> blamed) {
  LinkEnd end;
  end.why = absl::UnavailableError(why);
  end.said = true;
  if (blamed.has_value()) {
    end.blamed = Rank(*blamed);
  }
  return end;
}

RankPosition Position(std::uint64_t step, std::int64_t exchanges, bool exchanging) {
  RankPosition position;
  position.begun = Step(step);
  position.finished = Step(step - 1);
  position.exchanges = exchanges;
  position.collective = Collective::kAllReduce;
  position.exchanging = exchanging;
  return position;
}

class FailureDetectorTest : public ::testing::Test {
 protected:
  FailureDetectorTest() : detector_({"rank 0 (a)", "rank 1 (b)", "rank 2 (c)"}, kLimit) {
    detector_.Begin(At(0));
  }

  // Looks until there is a verdict; ranks for which `lives` holds give signs of life.
  std::optional<EpochLoss> RunUntilVerdict(std::int64_t from,
                                           const std::function<bool(int)>& lives,
                                           std::int64_t to = 10'000) {
    for (now_ms_ = from; now_ms_ <= to; now_ms_ += kLookMs) {
      for (int rank = 0; rank < 3; ++rank) {
        if (now_ms_ % kBeatMs == 0 && lives(rank)) {
          detector_.Hear(Rank(rank), At(now_ms_));
        }
      }
      if (std::optional<EpochLoss> loss = detector_.Judge(At(now_ms_))) {
        return loss;
      }
    }
    return std::nullopt;
  }

  FailureDetector detector_;
  std::int64_t now_ms_ = 0;
};

TEST_F(FailureDetectorTest, NobodyIsLostWhileAllGiveSignsOfLife) {
  EXPECT_FALSE(RunUntilVerdict(0, [](int) { return true; }).has_value());
}

TEST_F(FailureDetectorTest, ABrokenStreamIsALossAtOnce) {
  detector_.End(Rank(1), Broke(), At(70));
  const auto loss = detector_.Judge(At(70));
  ASSERT_TRUE(loss.has_value());
  EXPECT_THAT(loss->fates, ElementsAre(RankFate::kAlive, RankFate::kLost, RankFate::kAlive));
  EXPECT_EQ(loss->summary, "rank 1 (b) is lost: the stream broke: connection reset");
}

// Stopped, or its machine gone: within the limit, a beat and a look, and it alone.
TEST_F(FailureDetectorTest, ASilentRankIsLostAfterTheLimit) {
  const auto loss = RunUntilVerdict(0, [this](int rank) { return rank != 2 || now_ms_ < 1000; });
  ASSERT_TRUE(loss.has_value());
  EXPECT_THAT(loss->fates, ElementsAre(RankFate::kAlive, RankFate::kAlive, RankFate::kLost));
  EXPECT_GT(now_ms_, 800 + kLimit.count());
  EXPECT_LE(now_ms_, 1000 + kLimit.count() + kLookMs);
  EXPECT_THAT(loss->summary, HasSubstr("rank 2 (c) is lost: it has given no sign of life for 1.0"));
}

// The survivors' reports come first, and in a chain: rank 0 blames rank 1, which gave up after
// losing rank 2.
TEST_F(FailureDetectorTest, TheVictimIsNamedNotTheWitnesses) {
  detector_.End(Rank(0), Said("rank 1: closed", 1), At(10));
  EXPECT_FALSE(detector_.Judge(At(10)).has_value());
  detector_.End(Rank(1), Said("rank 2: closed", 2), At(11));
  EXPECT_FALSE(detector_.Judge(At(11)).has_value());
  detector_.End(Rank(2), Broke(), At(14));
  const auto loss = detector_.Judge(At(14));
  ASSERT_TRUE(loss.has_value());
  EXPECT_THAT(loss->fates, ElementsAre(RankFate::kAlive, RankFate::kAlive, RankFate::kLost));
  EXPECT_THAT(loss->details[0], IsEmpty());
}

// The reports of a machine's death precede its silence.
TEST_F(FailureDetectorTest, AReportWaitsForTheSilenceThatExplainsIt) {
  for (const std::int64_t reported : {300, 1000, 1050}) {
    detector_.Begin(At(0));
    const auto lives = [](int rank) { return rank == 1; };
    now_ms_ = 0;
    EXPECT_FALSE(RunUntilVerdict(0, lives, reported - kLookMs).has_value());
    detector_.End(Rank(0), Said("rank 2: no acknowledgement", 2), At(reported));
    const auto loss = RunUntilVerdict(reported, lives);
    ASSERT_TRUE(loss.has_value());
    EXPECT_THAT(loss->fates, ElementsAre(RankFate::kAlive, RankFate::kAlive, RankFate::kLost))
        << reported;
  }
}

TEST_F(FailureDetectorTest, WhenBothAnswerTheHeadItIsTheConnectionBetweenThem) {
  detector_.End(Rank(0), Said("rank 2: no acknowledgement", 2), At(100));
  detector_.End(Rank(2), Said("rank 0: no acknowledgement", 0), At(150));
  detector_.End(Rank(1), Said("rank 0: closed", 0), At(160));
  const auto loss = RunUntilVerdict(200, [](int) { return false; });
  ASSERT_TRUE(loss.has_value());
  EXPECT_THAT(loss->fates, ElementsAre(RankFate::kAlive, RankFate::kAlive, RankFate::kAlive));
  EXPECT_THAT(loss->details,
              ElementsAre("no data connection to rank 2", "", "no data connection to rank 0"));
  EXPECT_THAT(
      loss->summary,
      AllOf(HasSubstr("between rank 0 (a) and rank 2 (c) broke"), HasSubstr("no acknowledgement")));
  EXPECT_LE(now_ms_, 100 + 1250 + 2 * kLookMs);
}

TEST_F(FailureDetectorTest, ARankThatBlamesNobodyFailedItself) {
  detector_.End(Rank(0), Said("rank 1: closed", 1), At(10));
  detector_.End(Rank(1), Said("logits are not numbers", std::nullopt), At(12));
  const auto loss = detector_.Judge(At(12));
  ASSERT_TRUE(loss.has_value());
  EXPECT_THAT(loss->fates, ElementsAre(RankFate::kAlive, RankFate::kFailed, RankFate::kAlive));
  EXPECT_EQ(loss->summary, "rank 1 (b) failed: logits are not numbers");
}

TEST_F(FailureDetectorTest, TheRankThatOthersWaitForIsSlow) {
  detector_.Hear(Rank(0), Position(17, 13, true), At(500));
  detector_.Hear(Rank(1), Position(17, 12, false), At(300));
  detector_.Hear(Rank(2), Position(17, 13, true), At(600));
  EXPECT_THAT(detector_.Slow(At(1300)), IsEmpty());
  EXPECT_THAT(detector_.Slow(At(1301)), ElementsAre(Rank(1)));
  EXPECT_EQ(detector_.StallReport(At(2300)),
            "rank 0 (a): in step 17, inside all-reduce 13 for 1.8 s; rank 1 (b): in step 17, "
            "computing after all-reduce 12 for 2.0 s; rank 2 (c): in step 17, inside all-reduce 13 "
            "for 1.7 s");
  // It moves on: nobody is slow, however long the step.
  detector_.Hear(Rank(1), Position(17, 13, true), At(2400));
  EXPECT_THAT(detector_.Slow(At(9000)), IsEmpty());
}

// The pulse that follows a result may have been read before it.
TEST_F(FailureDetectorTest, AResultFinishesItsStepAndNothingGoesBack) {
  detector_.Hear(Rank(0), Position(1, 4, true), At(10));
  detector_.HearResult(Rank(0), Step(1), At(20));
  EXPECT_EQ(Describe(detector_.position(Rank(0))), "idle after step 1");
  detector_.Hear(Rank(0), Position(1, 4, true), At(30));
  EXPECT_EQ(Describe(detector_.position(Rank(0))), "idle after step 1");
  detector_.Hear(Rank(0), Position(2, 1, true), At(40));
  EXPECT_EQ(Describe(detector_.position(Rank(0))), "in step 2, inside all-reduce 1");
}

// All compute: a large step, in which nobody waits for anybody.
TEST_F(FailureDetectorTest, NobodyIsSlowWhileAllCompute) {
  for (int rank = 0; rank < 3; ++rank) {
    detector_.Hear(Rank(rank), Position(3, rank, false), At(0));
  }
  EXPECT_THAT(detector_.Slow(At(60'000)), IsEmpty());
}

}  // namespace
}  // namespace sparkspan::head::cluster
