#include "engine/fabric/pin_monitor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/engine/fabric/fixture_machine.h"
#include "tests/unit/engine/fabric/loopback_namespace.h"

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
  const std::vector<PinSample> samples = (*monitor)->Sample();
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(samples[0].declared, data);
  EXPECT_EQ(samples[0].interface_index, 7);
  EXPECT_EQ(samples[0].counters.sent_bytes, 1000u);
  EXPECT_EQ(samples[0].link, ReadLinkFacts(machine.sysfs(), data.pin));
  EXPECT_EQ(samples[0].link.mtu, 9000);
  EXPECT_EQ(samples[1].declared, gone);
  EXPECT_EQ(samples[1].interface_index, 0);
  EXPECT_EQ(samples[1].link.mtu, 0);
  for (const PinSample& sample : samples) {
    EXPECT_NE(sample.fault, "") << "this machine has no such interface";
  }
  EXPECT_EQ((*monitor)->fault(), samples[0].fault);
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
  EXPECT_EQ((*monitor)->fault(), "");
  EXPECT_EQ((*monitor)->changes(), 0u);
  SetLoopback(false);
  WaitForChanges(**monitor, 1);
  EXPECT_EQ((*monitor)->fault(), "interface lo lost its link; check the cable");
  EXPECT_EQ((*monitor)->Sample().at(0).fault, (*monitor)->fault());
  SetLoopback(true);
  WaitForChanges(**monitor, 2);
  EXPECT_EQ((*monitor)->fault(), "");
  EXPECT_EQ(faults, 1) << "only a pin that ceases to hold is one";
  EXPECT_EQ((*monitor)->losses(), 1u);
  EXPECT_EQ((*monitor)->last_loss(), "interface lo lost its link; check the cable");
}

TEST(PinMonitor, RemembersAFaultUntilThePinHoldsAgain) {
  if (!InNetworkNamespace(CutAndJoinLoopback)) {
    GTEST_SKIP() << "no right to make a network namespace";
  }
}

}  // namespace
}  // namespace sparkspan::engine::fabric
