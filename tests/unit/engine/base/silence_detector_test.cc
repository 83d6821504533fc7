#include "engine/base/silence_detector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace sparkspan::engine {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr milliseconds kLimit{1000};
constexpr milliseconds kLook{50};

Time At(std::int64_t ms) {
  return Time(milliseconds(ms));
}

// Looks from `from` to `to` and returns when somebody was first called silent; -1 for never.
std::int64_t FirstSilence(SilenceDetector& detector, std::int64_t from, std::int64_t to) {
  for (std::int64_t ms = from; ms <= to; ms += kLook.count()) {
    if (!detector.Silent(At(ms)).empty()) {
      return ms;
    }
  }
  return -1;
}

TEST(SilenceDetectorTest, APeerIsSilentAfterTheLimitAndOneLook) {
  for (const std::int64_t last : {0, 10, 40, 49}) {
    SilenceDetector detector(1, kLimit);
    detector.Hear(0, At(last));
    const std::int64_t seen = FirstSilence(detector, 0, 3000);
    EXPECT_GT(seen, last + kLimit.count());
    EXPECT_LE(seen, last + kLimit.count() + kLook.count());
  }
}

TEST(SilenceDetectorTest, OnlyWhoIsSilentIsNamed) {
  SilenceDetector detector(3, kLimit);
  for (std::int64_t ms = 0; ms <= 2000; ms += kLook.count()) {
    detector.Hear(0, At(ms));
    if (ms <= 500) {
      detector.Hear(1, At(ms));
    }
    const std::vector<std::size_t> silent = detector.Silent(At(ms));
    if (ms > 1500) {
      EXPECT_THAT(silent, ElementsAre(1u)) << ms;
    } else {
      EXPECT_THAT(silent, IsEmpty()) << ms << ": rank 2 was never heard, so nobody waits for it";
    }
  }
  detector.Forget(1);
  EXPECT_THAT(detector.Silent(At(2000)), IsEmpty());
  EXPECT_FALSE(detector.SilentFor(1, At(2000)).has_value());
  EXPECT_EQ(detector.SilentFor(0, At(2300)), milliseconds(300));
}

// A head that was stopped for a minute finds its workers' signs of life unread.
TEST(SilenceDetectorTest, AnObserverThatWasAwayBlamesNobody) {
  SilenceDetector detector(2, kLimit);
  detector.Hear(0, At(0));
  detector.Hear(1, At(0));
  EXPECT_EQ(FirstSilence(detector, 0, 500), -1);
  EXPECT_THAT(detector.Silent(At(60'000)), IsEmpty());
  detector.Hear(1, At(60'500));
  const std::int64_t seen = FirstSilence(detector, 60'000, 63'000);
  EXPECT_GT(seen, 61'000) << "the whole limit anew";
  EXPECT_LE(seen, 61'000 + kLook.count());
  EXPECT_THAT(detector.Silent(At(seen)), ElementsAre(0u));
}

// One that arrived earlier but is read later must not hide newer life.
TEST(SilenceDetectorTest, SignsOfLifeMayBeReadOutOfOrder) {
  SilenceDetector detector(1, kLimit);
  detector.Hear(0, At(900));
  detector.Hear(0, At(100));
  EXPECT_EQ(detector.SilentFor(0, At(1000)), milliseconds(100));
}

}  // namespace
}  // namespace sparkspan::engine
