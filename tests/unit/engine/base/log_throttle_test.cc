#include "engine/base/log_throttle.h"

#include <gtest/gtest.h>

namespace sparkspan::engine {
namespace {

using std::chrono::seconds;

TEST(LogThrottle, LeavesOutWhatIsTooMuchAndSaysHowMuchThatWas) {
  LogThrottle throttle(2, seconds(10));
  const Time began{seconds(100)};
  EXPECT_EQ(throttle.Line("one", began), "one");
  EXPECT_EQ(throttle.Line("two", began + seconds(4)), "two");
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(throttle.Line("three", began + seconds(5)), std::nullopt);
  }
  EXPECT_EQ(throttle.Line("four", began + seconds(10)),
            "four (before it 1000 lines like this were left out)");
  EXPECT_EQ(throttle.Line("five", began + seconds(10)), "five") << "told once";
  EXPECT_EQ(throttle.Line("six", began + seconds(19)), std::nullopt);
}

}  // namespace
}  // namespace sparkspan::engine
