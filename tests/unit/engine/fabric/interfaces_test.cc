#include "engine/fabric/interfaces.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/engine/fabric/fixture_machine.h"

namespace sparkspan::engine::fabric {
namespace {

TEST(Interfaces, AreReadFromSysfs) {
  FixtureMachine machine;
  DescribeSpark(machine);
  const auto interfaces = ListInterfaces(machine.sysfs(), machine);
  ASSERT_TRUE(interfaces.ok()) << interfaces.status();
  ASSERT_EQ(interfaces->size(), 5u) << "bonding_masters is no interface";
  const Interface& cabled = (*interfaces)[3];
  EXPECT_EQ(cabled.name, "enp1s0f1np1");
  EXPECT_EQ(cabled.index, 4);
  EXPECT_TRUE(cabled.is_up());
  EXPECT_FALSE(cabled.is_virtual());
  EXPECT_EQ(cabled.speed_mbps, 200000);
  EXPECT_EQ(cabled.mtu, 9000);
  EXPECT_EQ(cabled.driver, "mlx5_core");
  EXPECT_EQ(cabled.pci_address, "0000:01:00.1");
  EXPECT_EQ(cabled.phys_port_name, "p1");
  EXPECT_EQ(cabled.mac, "aa:bb:cc:00:00:01");
  EXPECT_EQ(cabled.rdma_devices, std::vector<std::string>{"rocep1s0f1"});
  EXPECT_EQ(Describe(cabled), "enp1s0f1np1 (up, 200000 Mb/s, 192.168.177.1/24)");
  Interface pulled = cabled;
  pulled.carrier = false;
  EXPECT_FALSE(pulled.is_up()) << "whatever operstate still says";
  EXPECT_EQ(Describe(pulled), "enp1s0f1np1 (down: no carrier, 200000 Mb/s, 192.168.177.1/24)");
  const Interface& empty = (*interfaces)[2];
  EXPECT_FALSE(empty.is_up());
  EXPECT_FALSE(empty.speed_mbps.has_value());
  EXPECT_EQ(Describe(empty), "enp1s0f0np0 (down, 192.168.177.2/24)");
  const Interface& loopback = (*interfaces)[4];
  EXPECT_EQ(loopback.name, "lo");
  EXPECT_TRUE(loopback.is_up());
  EXPECT_TRUE(loopback.is_virtual());
  EXPECT_EQ(Describe((*interfaces)[0]), "docker0 (down, no IPv4 address)");
}

TEST(Interfaces, AMissingTreeIsNamed) {
  const FixtureMachine machine;
  EXPECT_EQ(ListInterfaces(machine.sysfs() / "absent", machine).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(Interfaces, ThisMachineHasLoopback) {
  const auto interfaces = ListInterfaces("/sys", KernelAddressSource());
  ASSERT_TRUE(interfaces.ok()) << interfaces.status();
  const auto lo = std::find_if(interfaces->begin(), interfaces->end(), [](const Interface& one) {
    return one.name == "lo";
  });
  ASSERT_NE(lo, interfaces->end());
  EXPECT_TRUE(lo->is_up());
  EXPECT_NE(
      std::find(
          lo->addresses.begin(), lo->addresses.end(), InterfaceAddress{"lo", {0x7F000001}, 8}),
      lo->addresses.end());
  EXPECT_EQ(KernelAddressSource().KernelName("lo"), "lo");
  EXPECT_EQ(KernelAddressSource().KernelName("absent0"), std::nullopt);
}

}  // namespace
}  // namespace sparkspan::engine::fabric
