#include "worker/stall_watch.h"

#include <gtest/gtest.h>

namespace sparkspan::worker {
namespace {

using engine::Step;
using engine::Time;
using engine::runtime::RankPosition;
using std::chrono::seconds;

constexpr seconds kLimit{120};

RankPosition InStep(std::uint64_t step, std::int64_t exchanges) {
  RankPosition position;
  position.begun = Step(step);
  position.finished = Step(step - 1);
  position.exchanges = exchanges;
  return position;
}

TEST(StallWatchTest, IdleForEverIsNoHang) {
  StallWatch watch(kLimit);
  RankPosition idle;
  idle.begun = idle.finished = Step(7);
  for (Time now; now < Time(seconds(100'000)); now += seconds(1)) {
    ASSERT_FALSE(watch.IsStuck(idle, now));
  }
}

TEST(StallWatchTest, AStepThatComesFurtherIsNoHang) {
  StallWatch watch(kLimit);
  std::int64_t exchanges = 0;
  for (Time now; now < Time(seconds(10'000)); now += seconds(100)) {
    ASSERT_FALSE(watch.IsStuck(InStep(7, ++exchanges), now));
  }
}

TEST(StallWatchTest, AStepThatStandsStillIsOneAfterTheLimitAndNotSooner) {
  StallWatch watch(kLimit);
  Time now;
  ASSERT_FALSE(watch.IsStuck(InStep(7, 3), now));
  ASSERT_FALSE(watch.IsStuck(InStep(7, 3), now + kLimit));
  ASSERT_TRUE(watch.IsStuck(InStep(7, 3), now + kLimit + seconds(1)));
  // A new epoch begins anew.
  ASSERT_FALSE(watch.IsStuck(RankPosition(), now + kLimit + seconds(2)));
  ASSERT_FALSE(watch.IsStuck(InStep(7, 3), now + kLimit + seconds(3)));
}

}  // namespace
}  // namespace sparkspan::worker
