#include "engine/base/stop_signal.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

namespace sparkspan::engine {
namespace {

const Time kNow{};  // A deadline that has passed.

// In a process of its own: the signals of this one are left as they are.
TEST(StopSignal, EachSignalIsTakenOnceUntilItIsReleased) {
  EXPECT_EXIT(
      {
        StopSignal stop;
        const bool early = stop.WaitUntil(kNow);
        kill(getpid(), SIGTERM);
        const bool first = stop.WaitUntil(kNow);
        kill(getpid(), SIGINT);
        const bool second = stop.WaitUntil(kNow);
        _exit(!early && first && second && !stop.WaitUntil(kNow) ? 0 : 1);
      },
      testing::ExitedWithCode(0),
      "");
  EXPECT_EXIT(
      {
        StopSignal stop;
        stop.Release();
        kill(getpid(), SIGTERM);
        _exit(0);
      },
      testing::KilledBySignal(SIGTERM),
      "");
}

}  // namespace
}  // namespace sparkspan::engine
