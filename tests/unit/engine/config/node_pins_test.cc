#include "engine/config/node_pins.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sparkspan::engine::config {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr fabric::Ipv4Address kControl[] = {{0x0A000001}, {0x0A000002}, {0x0A000003}};
constexpr fabric::Ipv4Address kData[] = {{0x0A000101}, {0x0A000102}, {0x0A000103}};

// A head without a rank, and two nodes with one each.
ClusterConfig ThreeNodes() {
  ClusterConfig config;
  config.head = "a";
  config.nodes.resize(3);
  for (std::size_t i = 0; i < 3; ++i) {
    config.nodes[i].name = std::string(1, static_cast<char>('a' + i));
    config.nodes[i].control = {"eth0", kControl[i]};
    config.nodes[i].bootstrap = {"eth1", kData[i]};
    if (i > 0) {
      config.nodes[i].ranks.emplace_back().rank = Rank(static_cast<std::int32_t>(i - 1));
    }
  }
  return config;
}

TEST(NodePins, SayWhomEachPlaneIsToReach) {
  const ClusterConfig config = ThreeNodes();
  const fabric::PlanePin head = HeadPin(config, config.nodes[0]);
  EXPECT_THAT(head.peers, ElementsAre(kControl[1], kControl[2]));
  EXPECT_TRUE(head.control && !head.data);
  const std::vector<fabric::PlanePin> pins = PlanePins(config, config.nodes[1]);
  ASSERT_EQ(pins.size(), 2u);
  EXPECT_THAT(pins[0].peers, ElementsAre(kControl[0])) << "a worker speaks to the head alone";
  EXPECT_EQ(pins[0].net, "");
  EXPECT_THAT(pins[1].peers, ElementsAre(kData[2])) << "the head has no rank";
  EXPECT_EQ(pins[1].net, "TCP");
  EXPECT_TRUE(pins[1].data && !pins[1].control);
}

TEST(NodePins, OnePinForBothPlanesReachesBoth) {
  ClusterConfig config = ThreeNodes();
  for (NodeConfig& node : config.nodes) {
    node.bootstrap = node.control;
  }
  const std::vector<fabric::PlanePin> pins = PlanePins(config, config.nodes[2]);
  ASSERT_EQ(pins.size(), 1u);
  EXPECT_TRUE(pins[0].control && pins[0].data);
  EXPECT_THAT(pins[0].peers, ElementsAre(kControl[0], kControl[1]));
  config.nodes.resize(1);
  EXPECT_THAT(PlanePins(config, config.nodes[0])[0].peers, IsEmpty());
}

}  // namespace
}  // namespace sparkspan::engine::config
