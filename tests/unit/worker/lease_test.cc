#include "worker/lease.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

namespace sparkspan::worker {
namespace {

using engine::Epoch;

// That only a test that fails meets.
constexpr std::chrono::seconds kLong{60};

void Nothing(const absl::Status&) {}

TEST(LeaseTest, EpochsOnlyGrow) {
  Lease lease;
  ASSERT_TRUE(lease.Take(Epoch(5), Nothing, kLong).ok());
  EXPECT_TRUE(absl::IsAborted(lease.Take(Epoch(4), Nothing, kLong)));
  EXPECT_EQ(lease.NewestWhileFree(), std::nullopt) << "a head that was away stays away";
  lease.Return(Epoch(5), /*formed=*/false);
  EXPECT_EQ(lease.NewestWhileFree(), Epoch(5));
  ASSERT_TRUE(lease.Take(Epoch(5), Nothing, kLong).ok()) << "it had no group";
  lease.Return(Epoch(5), /*formed=*/true);
  EXPECT_TRUE(absl::IsAborted(lease.Take(Epoch(5), Nothing, kLong)));
  EXPECT_TRUE(lease.Take(Epoch(6), Nothing, kLong).ok());
}

TEST(LeaseTest, ANewerStreamEndsTheHolder) {
  Lease lease;
  std::future<void> returned;
  ASSERT_TRUE(lease
                  .Take(
                      Epoch(1),
                      [&](const absl::Status&) {
                        returned =
                            std::async(std::launch::async, [&] { lease.Return(Epoch(1), true); });
                      },
                      kLong)
                  .ok());
  EXPECT_TRUE(lease.Take(Epoch(2), Nothing, kLong).ok());
}

// Else the older of two that wait could get the lease, and the newer one would be turned away.
TEST(LeaseTest, WhoWaitsGivesWayToANewerEpochAtOnce) {
  Lease lease;
  std::atomic<int> cancels{0};
  ASSERT_TRUE(lease
                  .Take(
                      Epoch(1), [&](const absl::Status&) { ++cancels; }, kLong)
                  .ok());
  std::future<absl::Status> older =
      std::async(std::launch::async, [&] { return lease.Take(Epoch(2), Nothing, kLong); });
  while (cancels < 1) {
    std::this_thread::yield();
  }
  std::future<absl::Status> newer =
      std::async(std::launch::async, [&] { return lease.Take(Epoch(3), Nothing, kLong); });
  EXPECT_TRUE(absl::IsAborted(older.get())) << "while the first still holds";
  lease.Return(Epoch(1), /*formed=*/true);
  EXPECT_TRUE(newer.get().ok());
}

TEST(LeaseTest, ClosingEndsWhoHoldsAndWhoWaits) {
  Lease lease;
  std::atomic<int> cancels{0};
  ASSERT_TRUE(lease
                  .Take(
                      Epoch(1), [&](const absl::Status&) { ++cancels; }, kLong)
                  .ok());
  std::future<absl::Status> waits =
      std::async(std::launch::async, [&] { return lease.Take(Epoch(2), Nothing, kLong); });
  while (cancels < 1) {
    std::this_thread::yield();
  }
  lease.Close(absl::CancelledError("stopping"));
  EXPECT_TRUE(absl::IsUnavailable(waits.get()));
  EXPECT_EQ(cancels, 2);
}

}  // namespace
}  // namespace sparkspan::worker
