#include "engine/base/stop_event.h"

#include <gtest/gtest.h>
#include <poll.h>

namespace sparkspan::engine {
namespace {

bool IsReadable(const StopEvent& event) {
  pollfd polled{event.fd(), POLLIN, 0};
  return poll(&polled, 1, 0) == 1;
}

TEST(StopEvent, StaysSet) {
  const auto event = StopEvent::Create();
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_FALSE(IsReadable(*event));
  event->Set();
  event->Set();
  EXPECT_TRUE(IsReadable(*event));
  EXPECT_TRUE(IsReadable(*event)) << "for whoever looks";
}

}  // namespace
}  // namespace sparkspan::engine
