#include "engine/fabric/pin_monitor.h"

#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/thread.h"
#include "engine/base/unique_fd.h"
#include "tests/unit/engine/fabric/fixture_machine.h"

namespace sparkspan::engine::fabric {
namespace {

const PlanePin kControl{.pin = {"lo", {0x7F000001}}, .control = true, .data = false};

TEST(PinMonitor, SamplesEveryPinWithItsIndexAndCounters) {
  FixtureMachine machine;
  DescribeSpark(machine);
  machine.Write("class/net/enp1s0f1np1/ifindex", "7");
  machine.Write("class/net/enp1s0f1np1/statistics/tx_bytes", "1000");
  const PlanePin data{.pin = {"enp1s0f1np1", {0xC0A8B101}}, .control = false, .data = true};
  const PlanePin gone{.pin = {"enp9s9", {0xC0A8B201}}, .control = false, .data = true};
  const auto monitor = PinMonitor::Start(machine.sysfs(), {data, gone}, nullptr);
  ASSERT_TRUE(monitor.ok()) << monitor.status();
  PinSample expected{data, 7, "", {}};
  expected.counters.sent_bytes = 1000;
  EXPECT_EQ((*monitor)->Sample(), (std::vector<PinSample>{expected, {gone, 0, "", {}}}));
  EXPECT_EQ((*monitor)->fault(), "");
  EXPECT_EQ((*monitor)->changes(), 0u);
}

void SetLoopback(bool is_up) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  ASSERT_EQ(ioctl(socket.get(), SIOCGIFFLAGS, &request), 0);
  const int flags = is_up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP;
  request.ifr_flags = static_cast<short>(flags);
  ASSERT_EQ(ioctl(socket.get(), SIOCSIFFLAGS, &request), 0);
}

void WaitForChanges(const PinMonitor& monitor, std::uint64_t changes) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (monitor.changes() < changes && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void CutAndJoinLoopback() {
  SetLoopback(true);
  std::atomic<int> faults{0};
  const auto monitor = PinMonitor::Start("/sys", {kControl}, [&](const std::string&) { ++faults; });
  ASSERT_TRUE(monitor.ok()) << monitor.status();
  SetLoopback(false);
  WaitForChanges(**monitor, 1);
  EXPECT_EQ((*monitor)->fault(), "interface lo lost its link; check the cable");
  EXPECT_EQ((*monitor)->Sample().at(0).fault, (*monitor)->fault());
  SetLoopback(true);
  WaitForChanges(**monitor, 2);
  EXPECT_EQ((*monitor)->fault(), "");
  EXPECT_EQ(faults, 1) << "only a pin that ceases to hold is one";
}

TEST(PinMonitor, RemembersAFaultUntilThePinHoldsAgain) {
  bool may_unshare = false;
  Thread thread("namespace", [&] {
    may_unshare = unshare(CLONE_NEWNET) == 0;
    if (may_unshare) {
      CutAndJoinLoopback();
    }
  });
  thread.Join();
  if (!may_unshare) {
    GTEST_SKIP() << "no right to make a network namespace";
  }
}

}  // namespace
}  // namespace sparkspan::engine::fabric
