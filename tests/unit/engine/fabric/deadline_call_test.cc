#include "engine/fabric/deadline_call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

namespace sparkspan::engine::fabric {
namespace {

// Outlives the calls that wait for it, as a kernel does.
struct Gate {
  std::mutex mutex;
  std::condition_variable opened;
  bool is_open = false;
};

TEST(DeadlineCall, AResultInTimeIsTheCallsOwn) {
  const auto value = CallWithDeadline<int>(
      "a call", std::chrono::minutes(1), []() -> absl::StatusOr<int> { return 7; });
  EXPECT_EQ(value.value_or(0), 7);
  const auto error =
      CallWithDeadline<int>("a call", std::chrono::minutes(1), []() -> absl::StatusOr<int> {
        return absl::NotFoundError("no such thing");
      });
  EXPECT_EQ(error.status(), absl::NotFoundError("no such thing"));
}

TEST(DeadlineCall, StuckCallsAreLeftBehindBoundedAndForgottenOnceTheyReturn) {
  const auto gate = std::make_shared<Gate>();
  for (std::size_t i = 0; i < kStuckCallsMax + 2; ++i) {
    const bool may_start = i < kStuckCallsMax;
    const absl::Status status =
        RunWithDeadline("asking", std::chrono::milliseconds(1), [gate, may_start] {
          EXPECT_TRUE(may_start) << "no call is started while so many are stuck";
          std::unique_lock lock(gate->mutex);
          gate->opened.wait(lock, [&] { return gate->is_open; });
        });
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("asking: the kernel does not"));
  }
  {
    const std::lock_guard lock(gate->mutex);
    gate->is_open = true;
  }
  gate->opened.notify_all();
  while (gate.use_count() > 1) {
    std::this_thread::yield();
  }
  for (std::size_t i = 0; i < kStuckCallsMax + 2; ++i) {
    EXPECT_TRUE(RunWithDeadline("asking", std::chrono::minutes(1), [] {}).ok()) << i;
  }
}

}  // namespace
}  // namespace sparkspan::engine::fabric
