#include "engine/base/bounded_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "engine/base/thread.h"

namespace sparkspan::engine {
namespace {

constexpr Time kNever = Time::max();

TEST(BoundedQueueTest, RefusesWhatDoesNotFitAndLeavesItWithTheCaller) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  EXPECT_TRUE(queue.TryPush(std::make_unique<int>(1)));
  auto second = std::make_unique<int>(2);
  EXPECT_FALSE(queue.TryPush(std::move(second)));
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(**queue.TryPop(), 1);
  EXPECT_TRUE(queue.TryPush(std::move(second)));
}

TEST(BoundedQueueTest, DrainsAfterClosingAndThenIsEmpty) {
  BoundedQueue<int> queue(4);
  EXPECT_TRUE(queue.TryPush(1));
  queue.Close();
  EXPECT_FALSE(queue.TryPush(2));
  EXPECT_EQ(queue.Pop(kNever), 1);
  EXPECT_EQ(queue.Pop(kNever), std::nullopt);
}

TEST(BoundedQueueTest, PastDeadlinesDoNotWait) {
  BoundedQueue<int> queue(1);
  EXPECT_EQ(queue.Pop(Time::min()), std::nullopt);
  EXPECT_TRUE(queue.Push(1, Time::min()));
  EXPECT_FALSE(queue.Push(2, Time::min()));
}

TEST(BoundedQueueTest, CloseWakesWaitingThreads) {
  BoundedQueue<int> empty(1);
  BoundedQueue<int> full(1);
  ASSERT_TRUE(full.TryPush(0));
  bool popped = true;
  bool pushed = true;
  {
    Thread popper("popper", [&] { popped = empty.Pop(kNever).has_value(); });
    Thread pusher("pusher", [&] { pushed = full.Push(1, kNever); });
    empty.Close();
    full.Close();
  }
  EXPECT_FALSE(popped);
  EXPECT_FALSE(pushed);
}

TEST(BoundedQueueTest, ManyThreadsLoseAndDuplicateNothing) {
  constexpr int kThreads = 4;
  constexpr int kValues = 2'000;
  BoundedQueue<int> queue(3);
  std::vector<std::vector<int>> taken(kThreads);
  {
    std::vector<Thread> consumers;
    for (int t = 0; t < kThreads; ++t) {
      consumers.emplace_back("consumer", [&queue, &mine = taken[static_cast<std::size_t>(t)]] {
        while (const auto value = queue.Pop(kNever)) {
          mine.push_back(*value);
        }
      });
    }
    {
      std::vector<Thread> producers;
      for (int t = 0; t < kThreads; ++t) {
        producers.emplace_back("producer", [&queue, t] {
          for (int i = 0; i < kValues; ++i) {
            EXPECT_TRUE(queue.Push(t * kValues + i, kNever));
          }
        });
      }
    }
    queue.Close();
  }
  std::vector<int> seen(kThreads * kValues, 0);
  for (const auto& mine : taken) {
    for (const int value : mine) {
      ++seen[static_cast<std::size_t>(value)];
    }
  }
  EXPECT_EQ(seen, std::vector<int>(kThreads * kValues, 1));
}

}  // namespace
}  // namespace sparkspan::engine
