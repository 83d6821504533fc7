#include "engine/fabric/rdma.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/engine/fabric/fixture_machine.h"

namespace sparkspan::engine::fabric {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kEmptyGid[] = "0000:0000:0000:0000:0000:0000:0000:0000";
constexpr char kLinkLocal[] = "fe80:0000:0000:0000:a8bb:ccff:fe00:0001";
constexpr char kMapped[] = "0000:0000:0000:0000:0000:ffff:c0a8:b101";
const Ipv4Address kAddress{0xC0A8B101};

class RdmaTest : public testing::Test {
 protected:
  RdmaTest() {
    DescribeSpark(machine_);
    machine_.Write("class/infiniband/rocep1s0f1/ports/1/state", "4: ACTIVE");
    machine_.Write("class/infiniband/rocep1s0f1/ports/1/link_layer", "Ethernet");
    machine_.AddGid("rocep1s0f1", 0, kLinkLocal, "IB/RoCE v1", "enp1s0f1np1");
    machine_.AddGid("rocep1s0f1", 1, kLinkLocal, "RoCE v2", "enp1s0f1np1");
    machine_.AddGid("rocep1s0f1", 2, kEmptyGid, "", "");
    machine_.AddGid("rocep1s0f1", 3, kMapped, "IB/RoCE v1", "enp1s0f1np1");
    machine_.AddGid("rocep1s0f1", 4, kMapped, "RoCE v2", "enp1s0f1np1.7");
    machine_.AddGid("rocep1s0f1", 5, kMapped, "RoCE v2", "enp1s0f1np1");
    machine_.AddGid("rocep1s0f1", 6, kMapped, "RoCE v2", "enp1s0f1np1");
  }

  RdmaPort Port() const { return ListRdmaPorts(machine_.sysfs()).at(0); }

  FixtureMachine machine_;
};

TEST_F(RdmaTest, APortIsReadWithItsTable) {
  const RdmaPort port = Port();
  EXPECT_EQ(port.device, "rocep1s0f1");
  EXPECT_TRUE(port.is_active());
  EXPECT_EQ(port.link_layer, "Ethernet");
  EXPECT_THAT(port.netdevs, ElementsAre("enp1s0f1np1"));
  ASSERT_EQ(port.gids.size(), 6u) << "the empty slot is none";
  EXPECT_EQ(port.gids[2].index, 3);
  EXPECT_EQ(ToString(port.gids[0].gid), kLinkLocal);
  EXPECT_EQ(ToString(port.gids[2].gid), "::ffff:192.168.177.1");
}

TEST_F(RdmaTest, TheLowestRoceV2EntryOfTheNetdevAndAddressIsChosen) {
  EXPECT_EQ(FindGidIndex(Port(), "enp1s0f1np1", kAddress).value_or(-1), 5);
  EXPECT_EQ(FindGidIndex(Port(), "enp1s0f1np1.7", kAddress).value_or(-1), 4);
  const auto other = FindGidIndex(Port(), "enp1s0f1np1", {0xC0A8B102});
  EXPECT_EQ(other.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(other.status().message()),
              testing::AllOf(HasSubstr("192.168.177.2 of enp1s0f1np1 on rocep1s0f1"),
                             HasSubstr("5: ::ffff:192.168.177.1 (RoCE v2, enp1s0f1np1)")));
}

TEST_F(RdmaTest, AnInactivePortIsOne) {
  machine_.Write("class/infiniband/rocep1s0f1/ports/1/state", "1: DOWN");
  EXPECT_FALSE(Port().is_active());
}

TEST_F(RdmaTest, ARailIsANetdevOrAnRdmaDevice) {
  const std::vector<Interface> interfaces = *ListInterfaces(machine_.sysfs(), machine_);
  std::vector<RdmaPort> ports = ListRdmaPorts(machine_.sysfs());
  const Rail by_netdev{"enp1s0f1np1", "enp1s0f1np1", "rocep1s0f1"};
  const Rail by_device{"rocep1s0f1", "enp1s0f1np1", "rocep1s0f1"};
  EXPECT_EQ(ResolveRail("k", "enp1s0f1np1", interfaces, ports).value(), by_netdev);
  EXPECT_EQ(ResolveRail("k", "rocep1s0f1", interfaces, ports).value(), by_device);
  EXPECT_EQ(ResolveRail("k", "enP2p1s0f1np1", interfaces, ports)->rdma_device, "");
  const auto unknown = ResolveRail("nodes[0].data[1]", "rocep1s0f", interfaces, ports);
  EXPECT_THAT(std::string(unknown.status().message()),
              testing::AllOf(HasSubstr("nodes[0].data[1]: "),
                             HasSubstr("named exactly 'rocep1s0f'"),
                             HasSubstr("enp1s0f1np1 (up, 200000 Mb/s"),
                             HasSubstr(", rocep1s0f1")));
  ports[0].netdevs = {"enp1s0f1np1", "enp1s0f1v0"};
  EXPECT_THAT(std::string(ResolveRail("k", "rocep1s0f1", interfaces, ports).status().message()),
              HasSubstr("several interfaces (enp1s0f1np1, enp1s0f1v0)"));
}

TEST(Gid, OnlyWholeOnesAreRead) {
  EXPECT_EQ(ToString(*ParseGid(kLinkLocal)), kLinkLocal);
  for (const char* text : {"",
                           "fe80::1",
                           "fe80:0000:0000:0000:a8bb:ccff:fe00:000",
                           "fe80:0000:0000:0000:a8bb:ccff:fe00:00g1",
                           "fe80-0000:0000:0000:a8bb:ccff:fe00:0001",
                           "fe80:0000:0000:0000:a8bb:ccff:fe00:0001:"}) {
    EXPECT_FALSE(ParseGid(text).ok()) << text;
  }
}

}  // namespace
}  // namespace sparkspan::engine::fabric
