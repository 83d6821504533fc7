#include "engine/fabric/nccl_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

namespace sparkspan::engine::fabric {
namespace {

std::map<std::string, std::string> Values(const NcclPlan& plan) {
  std::map<std::string, std::string> values;
  for (const Setting& setting : NcclSettings(plan)) {
    EXPECT_TRUE(values.emplace(setting.name, setting.value).second) << setting.name;
    EXPECT_FALSE(setting.why.empty()) << setting.name;
    EXPECT_TRUE(IsFabricVariable(setting.name)) << "an inherited one would be kept";
  }
  return values;
}

NcclPlan TwoRails(std::optional<int> first, std::optional<int> second) {
  return {"enp1s0f1np1",
          {{"enp1s0f1np1", "rocep1s0f1", first}, {"enP2p1s0f1np1", "roceP2p1s0f1", second}},
          /*switchless=*/false,
          /*rails_have_own_subnets=*/true};
}

TEST(NcclSettings, NamesAreExactAndNeverFallBack) {
  const auto values = Values(TwoRails(3, 3));
  EXPECT_EQ(values.at("NCCL_SOCKET_IFNAME"), "=enp1s0f1np1");
  EXPECT_EQ(values.at("NCCL_IB_HCA"), "=rocep1s0f1,roceP2p1s0f1");
  EXPECT_EQ(values.at("NCCL_NET"), "IB");
  EXPECT_EQ(values.at("NCCL_CROSS_NIC"), "0");
  EXPECT_EQ(values.at("NCCL_IGNORE_NET_MISMATCH"), "0");
}

TEST(NcclSettings, AGidIndexIsSetOnlyWhereAllRailsShareIt) {
  EXPECT_EQ(Values(TwoRails(3, 3)).at("NCCL_IB_GID_INDEX"), "3");
  for (const NcclPlan& plan :
       {TwoRails(3, 5), TwoRails(3, std::nullopt), TwoRails(std::nullopt, std::nullopt)}) {
    const auto values = Values(plan);
    EXPECT_FALSE(values.contains("NCCL_IB_GID_INDEX"));
    EXPECT_EQ(values.at("NCCL_IB_ADDR_FAMILY"), "AF_INET");
    EXPECT_EQ(values.at("NCCL_IB_ROCE_VERSION_NUM"), "2");
  }
}

TEST(NcclSettings, TcpIsSaidAloud) {
  const auto values = Values({"enP7s7", {}, false, true});
  EXPECT_EQ(values.at("NCCL_NET"), "Socket");
  EXPECT_EQ(values.at("NCCL_SOCKET_IFNAME"), "=enP7s7");
  EXPECT_FALSE(values.contains("NCCL_IB_HCA"));
}

TEST(NcclSettings, RingsAndSharedSubnetsDiffer) {
  NcclPlan plan = TwoRails(3, 3);
  plan.switchless = true;
  EXPECT_EQ(Values(plan).at("NCCL_IB_MERGE_NICS"), "0");
  EXPECT_EQ(Values(plan).at("NCCL_NET_PLUGIN"), "none");
  plan.switchless = false;
  plan.rails_have_own_subnets = false;
  EXPECT_EQ(Values(plan).at("NCCL_CROSS_NIC"), "1");
}

TEST(FabricVariables, AreFoundByPrefixEvenWhenEmpty) {
  const std::vector<std::string> environment = {"PATH=/bin",
                                                "NCCL_IB_HCA=mlx5_0=x",
                                                "MY_NCCL_X=1",
                                                "GLOO_SOCKET_IFNAME=",
                                                "TP_SOCKET_IFNAME=enP7s7",
                                                "UCX_NET_DEVICES=all",
                                                "NCCLX=1",
                                                "HTTP_PROXY=p"};
  EXPECT_EQ(FindFabricVariables(environment),
            (Variables{{"NCCL_IB_HCA", "mlx5_0=x"},
                       {"GLOO_SOCKET_IFNAME", ""},
                       {"TP_SOCKET_IFNAME", "enP7s7"},
                       {"UCX_NET_DEVICES", "all"}}));
}

TEST(NcclConf, LinesAreNamesAndValues) {
  EXPECT_EQ(ParseNcclConf("# comment\n NCCL_DEBUG = INFO \r\nNCCL_IB_HCA==a,b # tail\n=x\nword\n"),
            (Variables{{"NCCL_DEBUG", "INFO"}, {"NCCL_IB_HCA", "=a,b"}}));
}

}  // namespace
}  // namespace sparkspan::engine::fabric
