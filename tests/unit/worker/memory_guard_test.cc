#include "worker/memory_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace sparkspan::worker {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kMebibyte = std::int64_t{1} << 20;

TEST(MemoryFloorTest, AShortageBeginsBelowWhereItEnds) {
  MemoryFloor floor(1000 * kMebibyte);
  EXPECT_EQ(floor.Judge(600 * kMebibyte).shortage, "");
  const MemoryReport low = floor.Judge(599 * kMebibyte);
  EXPECT_THAT(low.shortage, HasSubstr("only 599 MiB of memory are to be had"));
  EXPECT_THAT(low.shortage, HasSubstr("limits.memory_reserve 1000 MiB"));
  EXPECT_FALSE(low.is_exhausted);
  EXPECT_NE(floor.Judge(799 * kMebibyte).shortage, "");
  EXPECT_EQ(floor.Judge(800 * kMebibyte).shortage, "");
  EXPECT_EQ(floor.Judge(700 * kMebibyte).shortage, "");
  EXPECT_FALSE(floor.Judge(300 * kMebibyte).is_exhausted);
  EXPECT_TRUE(floor.Judge(299 * kMebibyte).is_exhausted);
}

TEST(MemoryFloorTest, WithoutAReserveThereIsNoShortage) {
  MemoryFloor floor(0);
  EXPECT_EQ(floor.Judge(0), MemoryReport());
}

TEST(MemoryGuardTest, SaysOnceWhenMemoryIsExhaustedAndRemembersIt) {
  std::atomic<std::int64_t> available{1000 * kMebibyte};
  std::promise<std::string> exhausted;
  const MemoryGuard guard(
      1000 * kMebibyte,
      [&]() -> absl::StatusOr<engine::weights::AvailableMemory> {
        return engine::weights::AvailableMemory{available, "MemAvailable"};
      },
      [&](const std::string& shortage) { exhausted.set_value(shortage); });
  available = 200 * kMebibyte;
  EXPECT_THAT(exhausted.get_future().get(), HasSubstr("only 200 MiB"));
  available = 1000 * kMebibyte;
  EXPECT_TRUE(guard.report().is_exhausted);
}

}  // namespace
}  // namespace sparkspan::worker
