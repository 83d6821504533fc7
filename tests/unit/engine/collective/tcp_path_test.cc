#include "engine/collective/tcp_path.h"

#include <gtest/gtest.h>

#include <chrono>

namespace sparkspan::engine::collective {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLimit{1000};

TEST(TcpPath, IsCutWhenRetransmissionsGoUnansweredForTheLimit) {
  EXPECT_TRUE(IsPathCut({3, 2, milliseconds(1100)}, milliseconds(1100), kLimit));
  EXPECT_FALSE(IsPathCut({3, 2, milliseconds(900)}, milliseconds(1100), kLimit)) << "one came";
  EXPECT_FALSE(IsPathCut({0, 0, milliseconds(5000)}, milliseconds(5000), kLimit))
      << "all is acknowledged: the peer computes";
  EXPECT_FALSE(IsPathCut({3, 0, milliseconds(5000)}, milliseconds(5000), kLimit))
      << "nothing was sent again: the peer's window is full";
}

// After ten idle minutes the last acknowledgement is old, which says nothing.
TEST(TcpPath, AConnectionThatWasIdleCountsFromItsUse) {
  EXPECT_FALSE(IsPathCut({3, 1, milliseconds(600'000)}, milliseconds(300), kLimit));
  EXPECT_TRUE(IsPathCut({3, 3, milliseconds(601'200)}, milliseconds(1200), kLimit));
}

}  // namespace
}  // namespace sparkspan::engine::collective
