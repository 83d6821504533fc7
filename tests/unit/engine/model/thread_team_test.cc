#include "engine/model/thread_team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace sparkspan::engine::model {
namespace {

TEST(ThreadTeam, CoversEveryItemOnceInWholeGrains) {
  for (const int threads : {1, 2, 3, 5}) {
    ThreadTeam team(threads);
    EXPECT_EQ(team.threads(), threads);
    for (const std::int64_t items : {0, 1, 7, 64, 1001}) {
      for (const std::int64_t grain : {1, 4, 100}) {
        std::vector<std::atomic<int>> seen(static_cast<std::size_t>(items));
        team.Run(items, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
          EXPECT_LT(thread, threads);
          EXPECT_EQ(begin % grain, 0);
          EXPECT_TRUE(end % grain == 0 || end == items);
          for (std::int64_t i = begin; i < end; ++i) {
            seen[static_cast<std::size_t>(i)].fetch_add(1);
          }
        });
        for (const std::atomic<int>& count : seen) {
          EXPECT_EQ(count.load(), 1);
        }
      }
    }
  }
}

TEST(ThreadTeam, WritesOfOneRunAreSeenByTheNext) {
  ThreadTeam team(3);
  std::vector<std::int64_t> values(300, 0);
  for (std::int64_t round = 1; round <= 2000; ++round) {
    team.Run(300, 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i) {
        // Reads what another thread wrote in the round before.
        const auto mirror = static_cast<std::size_t>(299 - i);
        const auto own = static_cast<std::size_t>(i);
        if (own < 150) {
          values[own] = values[own] + (values[mirror] >= round - 1 ? 1 : 1000000);
        }
      }
    });
    team.Run(150, 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i) {
        values[static_cast<std::size_t>(299 - i)] = values[static_cast<std::size_t>(i)];
      }
    });
  }
  for (const std::int64_t value : values) {
    EXPECT_EQ(value, 2000);
  }
}

TEST(ThreadTeam, EndsWithoutHavingRun) {
  ThreadTeam team(4);
}

}  // namespace
}  // namespace sparkspan::engine::model
