#include "engine/fabric/link_facts.h"

#include <gtest/gtest.h>

#include "tests/unit/engine/fabric/fixture_machine.h"

namespace sparkspan::engine::fabric {
namespace {

const DeclaredPin kPin{"enp1s0f1np1", {0xC0A8B101}};

TEST(LinkFacts, SayWhatACageIsMadeOf) {
  FixtureMachine machine;
  DescribeSpark(machine);
  machine.Write("class/net/enp1s0f1np1/duplex", "full");
  machine.Write("devices/0000:01:00.1/current_link_width", "4");
  machine.Write("devices/0000:01:00.1/current_link_speed", "32.0 GT/s PCIe");
  machine.AddGid(
      "rocep1s0f1", 0, "fe80:0000:0000:0000:a8bb:ccff:fe00:0001", "RoCE v2", kPin.interface);
  machine.AddGid(
      "rocep1s0f1", 1, "0000:0000:0000:0000:0000:ffff:c0a8:b101", "RoCE v2", kPin.interface);
  const LinkFacts facts = ReadLinkFacts(machine.sysfs(), kPin);
  EXPECT_EQ(facts.mtu, 9000);
  EXPECT_EQ(facts.speed_mbps, 200'000);
  EXPECT_EQ(facts.duplex, "full");
  EXPECT_EQ(facts.pcie_width, 4);
  EXPECT_EQ(facts.pcie_speed, "32.0 GT/s PCIe");
  EXPECT_EQ(facts.driver, "mlx5_core");
  EXPECT_EQ(facts.rdma_device, "rocep1s0f1");
  EXPECT_EQ(facts.gid_index, 1);
  EXPECT_EQ(facts.gid, "::ffff:192.168.177.1");
  EXPECT_TRUE(facts.network_namespace.starts_with("net:[")) << facts.network_namespace;
}

TEST(LinkFacts, AreEmptyOfWhatTheKernelDoesNotSay) {
  FixtureMachine machine;
  DescribeSpark(machine);
  const LinkFacts loopback = ReadLinkFacts(machine.sysfs(), {"lo", {0x7F000001}});
  EXPECT_EQ(loopback.mtu, 65'536);
  EXPECT_EQ(loopback.speed_mbps, 0);
  EXPECT_EQ(loopback.rdma_device, "");
  EXPECT_EQ(loopback.gid_index, -1);
  EXPECT_EQ(ReadLinkFacts(machine.sysfs(), {"enp9s9", {1}}).mtu, 0);
}

}  // namespace
}  // namespace sparkspan::engine::fabric
