#include "engine/fabric/counters.h"

#include <gtest/gtest.h>

#include "tests/unit/engine/fabric/fixture_machine.h"

namespace sparkspan::engine::fabric {
namespace {

TEST(Counters, PacketsAndRdmaAreCountedApart) {
  FixtureMachine machine;
  DescribeSpark(machine);
  const std::string net = "class/net/enp1s0f1np1/statistics/";
  machine.Write(net + "tx_bytes", "1000");
  machine.Write(net + "rx_bytes", "2000");
  machine.Write(net + "rx_errors", "3");
  machine.Write(net + "tx_dropped", "4");
  const std::string port = "class/infiniband/rocep1s0f1/ports/1/counters/";
  machine.Write(port + "port_xmit_data", "50");
  machine.Write(port + "port_rcv_data", "60");
  const InterfaceCounters counters = ReadCounters(machine.sysfs(), "enp1s0f1np1");
  EXPECT_EQ(counters, (InterfaceCounters{1000, 2000, 3, 4, 200, 240})) << "words of 4 bytes";
  EXPECT_EQ(counters.total_bytes(), 3440u);
  const auto all = ReadAllCounters(machine.sysfs());
  EXPECT_EQ(all.size(), 5u) << "bonding_masters is no interface";
  EXPECT_EQ(all.at("enp1s0f1np1"), counters);
  EXPECT_EQ(all.at("docker0"), InterfaceCounters{});
}

TEST(Counters, ADifferenceOfARemadeInterfaceStartsAnew) {
  const InterfaceCounters before{100, 200, 0, 0, 10, 10};
  EXPECT_EQ(Difference(before, {150, 50, 1, 0, 10, 12}), (InterfaceCounters{50, 50, 1, 0, 0, 2}));
}

TEST(Counters, LoopbackCounts) {
  EXPECT_TRUE(ReadAllCounters("/sys").contains("lo"));
}

}  // namespace
}  // namespace sparkspan::engine::fabric
