#include "engine/base/service_notifier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/notify_receiver.h"

namespace sparkspan::engine {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using tests::NotifyReceiver;

Time At(milliseconds passed) {
  return Time(passed);
}

TEST(ServiceNotifierTest, SaysNothingWhereNobodyAsked) {
  ServiceNotifier notifier = NotifyReceiver::NotifierOf("", "1000000");
  EXPECT_FALSE(notifier.is_wanted());
  notifier.Ready();
  notifier.Alive(At(milliseconds(1)));
}

TEST(ServiceNotifierTest, SaysEachThingOnce) {
  NotifyReceiver manager;
  ServiceNotifier notifier = NotifyReceiver::NotifierOf(manager.address());
  for (int i = 0; i < 3; ++i) {
    notifier.Status("loading");
    notifier.Ready();
  }
  EXPECT_THAT(manager.Heard(), ElementsAre("STATUS=loading", "READY=1"));
  notifier.Status("two\nlines");
  notifier.Stopping();
  notifier.Stopping();
  EXPECT_THAT(manager.Heard(), ElementsAre("STATUS=two lines", "STOPPING=1"));
}

TEST(ServiceNotifierTest, GivesSignsAtAQuarterOfTheLimitHoweverOftenItIsCalled) {
  NotifyReceiver manager;
  ServiceNotifier notifier = NotifyReceiver::NotifierOf(manager.address(), "1000000");
  ASSERT_EQ(notifier.watchdog(), milliseconds(1000));
  int signs = 0;
  for (int passed = 0; passed <= 10'000; passed += 10) {
    notifier.Alive(At(milliseconds(passed)));
    signs += static_cast<int>(manager.Heard().size());
  }
  EXPECT_EQ(signs, 1 + 10'000 / 250);
}

TEST(ServiceNotifierTest, WhatFoundNoRoomIsSaidByTheNextCall) {
  NotifyReceiver manager;
  ServiceNotifier notifier = NotifyReceiver::NotifierOf(manager.address(), "1000000");
  for (int i = 0; i < 100'000; ++i) {
    notifier.Status("line " + std::to_string(i));
  }
  notifier.Ready();
  notifier.Alive(At(milliseconds(1)));
  const std::vector<std::string> heard = manager.Heard();
  ASSERT_LT(heard.size(), 100'000) << "its socket has room for all: nothing was tried";
  ASSERT_EQ(heard.back().find("STATUS="), 0);
  notifier.Status("line 99999");
  notifier.Ready();
  notifier.Alive(At(milliseconds(2)));
  EXPECT_THAT(manager.Heard(), ElementsAre("STATUS=line 99999", "READY=1", "WATCHDOG=1"));
}

TEST(ServiceNotifierTest, GivesNoSignsThatAreForAnotherProcess) {
  NotifyReceiver manager;
  ServiceNotifier notifier =
      NotifyReceiver::NotifierOf(manager.address(), "1000000", std::to_string(getppid()));
  EXPECT_EQ(notifier.watchdog(), std::nullopt);
  notifier.Alive(At(milliseconds(1)));
  EXPECT_THAT(manager.Heard(), IsEmpty());
  notifier = NotifyReceiver::NotifierOf(manager.address(), "1000000", std::to_string(getpid()));
  notifier.Alive(At(milliseconds(1)));
  EXPECT_THAT(manager.Heard(), ElementsAre("WATCHDOG=1"));
}

TEST(ServiceNotifierTest, AnAddressThatIsNoneIsNotUsed) {
  EXPECT_FALSE(NotifyReceiver::NotifierOf("relative/path").is_wanted());
  EXPECT_FALSE(NotifyReceiver::NotifierOf("@nobody-listens-here").is_wanted());
  EXPECT_FALSE(NotifyReceiver::NotifierOf("/" + std::string(200, 'x')).is_wanted());
}

}  // namespace
}  // namespace sparkspan::engine
