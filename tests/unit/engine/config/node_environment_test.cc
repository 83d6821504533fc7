#include "engine/config/node_environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace sparkspan::engine::config {
namespace {

using fabric::Interface;
using testing::HasSubstr;

constexpr char kMapped[] = "0000:0000:0000:0000:0000:ffff:c0a8:b101";

Interface RailInterface(const std::string& name, const std::string& rdma, std::uint32_t address) {
  Interface interface;
  interface.name = name;
  interface.rdma_devices = {rdma};
  interface.addresses = {{name, {address}, 24}};
  return interface;
}

class PlanNcclTest : public testing::Test {
 protected:
  PlanNcclTest() {
    node_.name = "spark1";
    node_.bootstrap = {"enp1s0f1np1", {0xC0A8B101}};
    node_.data = DataTransport::kRails;
    node_.rails = {"enp1s0f1np1", "roceP2p1s0f1"};
    config_.nodes = {node_, {}};
    interfaces_ = {RailInterface("enp1s0f1np1", "rocep1s0f1", 0xC0A8B101),
                   RailInterface("enP2p1s0f1np1", "roceP2p1s0f1", 0xC0A8B201)};
    ports_ = {{"rocep1s0f1",
               "4: ACTIVE",
               "Ethernet",
               {"enp1s0f1np1"},
               {{3, *fabric::ParseGid(kMapped), "RoCE v2", "enp1s0f1np1"}}},
              {"roceP2p1s0f1", "4: ACTIVE", "Ethernet", {"enP2p1s0f1np1"}, {}}};
  }

  absl::StatusOr<fabric::NcclPlan> Plan() { return PlanNccl(config_, node_, interfaces_, ports_); }

  ClusterConfig config_;
  NodeConfig node_;
  std::vector<Interface> interfaces_;
  std::vector<fabric::RdmaPort> ports_;
};

TEST_F(PlanNcclTest, RailsAreResolvedWhicheverWayTheyAreNamed) {
  const auto plan = Plan();
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->bootstrap_interface, "enp1s0f1np1");
  ASSERT_EQ(plan->rails.size(), 2u);
  EXPECT_EQ(plan->rails[0].rdma_device, "rocep1s0f1");
  EXPECT_EQ(plan->rails[0].gid_index, 3);
  EXPECT_EQ(plan->rails[1].netdev, "enP2p1s0f1np1");
  EXPECT_EQ(plan->rails[1].gid_index, std::nullopt);
  EXPECT_TRUE(plan->rails_have_own_subnets);
  EXPECT_FALSE(plan->switchless);
}

TEST_F(PlanNcclTest, SharedSubnetsAndRingsAreSeen) {
  interfaces_[1].addresses[0].address = {0xC0A8B10B};
  EXPECT_FALSE(Plan()->rails_have_own_subnets);
  config_.nodes.resize(3);
  EXPECT_FALSE(Plan()->switchless) << "a switch joins three nodes without links";
  config_.links.resize(3);
  EXPECT_TRUE(Plan()->switchless);
}

TEST_F(PlanNcclTest, AnUnknownRailIsNamed) {
  node_.rails[1] = "roceP2";
  EXPECT_THAT(std::string(Plan().status().message()),
              HasSubstr("node spark1: data[1]: no interface and no RDMA device is named exactly"));
}

TEST(PrepareEnvironmentTest, InheritedVariablesGoUnlessTheFileKeepsThem) {
  ClusterConfig config;
  config.nodes.resize(1);
  setenv("NCCL_IB_HCA", "mlx5_0", 1);
  config.allow_env_overrides = true;
  ASSERT_TRUE(PrepareEnvironment(config, config.nodes[0]).ok());
  EXPECT_STREQ(getenv("NCCL_IB_HCA"), "mlx5_0");
  config.allow_env_overrides = false;
  ASSERT_TRUE(PrepareEnvironment(config, config.nodes[0]).ok());
  EXPECT_EQ(getenv("NCCL_IB_HCA"), nullptr);
}

TEST(PrepareEnvironmentTest, RanksOnAGpuGetNcclsSettings) {
  ClusterConfig config;
  config.nodes.resize(1);
  NodeConfig& node = config.nodes[0];
  node.bootstrap = {"lo", {0x7F000001}};
  node.ranks.resize(1);
  node.ranks[0].device.kind = DeviceKind::kCuda;
  ASSERT_TRUE(PrepareEnvironment(config, node).ok());
  EXPECT_STREQ(getenv("NCCL_SOCKET_IFNAME"), "=lo");
  EXPECT_STREQ(getenv("NCCL_NET"), "Socket");

  // What the file keeps stands; all else is set as ever.
  config.allow_env_overrides = true;
  setenv("NCCL_NET", "", 1);  // set, to nothing
  unsetenv("NCCL_SOCKET_IFNAME");
  ASSERT_TRUE(PrepareEnvironment(config, node).ok());
  EXPECT_STREQ(getenv("NCCL_SOCKET_IFNAME"), "=lo");
  EXPECT_STREQ(getenv("NCCL_NET"), "");
}

}  // namespace
}  // namespace sparkspan::engine::config
