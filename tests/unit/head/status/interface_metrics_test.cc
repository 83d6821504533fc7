#include "head/status/interface_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace sparkspan::head::status {
namespace {

using testing::HasSubstr;

TEST(InterfaceMetrics, ControlAndDataAreApart) {
  api::EngineStatus engine;
  engine.head_node = "spark1";
  api::InterfaceStatus control;
  control.name = "enP7s7";
  control.control = true;
  control.sent_bytes = 10;
  api::InterfaceStatus data;
  data.name = "enp1s0f1np1";
  data.data = true;
  data.fault = "no link";
  data.received_bytes = 20;
  data.dropped = 3;
  data.rdma_sent_bytes = 40;
  data.net = "TCP";
  data.link.mtu = 9'000;
  data.link.speed_mbps = 200'000;
  data.link.pcie_width = 4;
  data.link.driver = "mlx5_core";
  data.link.rdma_device = "rocep1s0f1";
  data.link.gid_index = 3;
  engine.head_interfaces = {control};
  api::RankStatus& rank = engine.ranks.emplace_back();
  rank.rank = 1;
  rank.node = "spark2";
  rank.interfaces = {control, data};
  rank.rails = {{"control", "head", "enP7s7", "a", "device", 5, 6},
                {"data", "rank 0", "enp1s0f1np1", "b", "device", 7, 8}};
  PrometheusText page({});
  WriteInterfaces(&page, engine);
  const std::string head = "{rank=\"head\",node=\"spark1\",interface=\"enP7s7\",plane=\"control\"}";
  const std::string own = "{rank=\"1\",node=\"spark2\",interface=\"enP7s7\",plane=\"control\"}";
  const std::string rail = "{rank=\"1\",node=\"spark2\",interface=\"enp1s0f1np1\",plane=\"data\"}";
  for (const std::string& line :
       {"sparkspan_interface_sent_bytes_total" + head + " 10.0\n",
        "sparkspan_interface_sent_bytes_total" + own + " 10.0\n",
        "sparkspan_interface_received_bytes_total" + rail + " 20.0\n",
        "sparkspan_interface_dropped_total" + rail + " 3.0\n",
        "sparkspan_interface_errors_total" + rail + " 0.0\n",
        "sparkspan_interface_rdma_sent_bytes_total" + rail + " 40.0\n",
        "sparkspan_interface_rdma_received_bytes_total" + rail + " 0.0\n",
        "sparkspan_interface_mtu_bytes" + rail + " 9000.0\n",
        "sparkspan_interface_speed_mbps" + rail + " 200000.0\n",
        "sparkspan_interface_pcie_lanes" + rail + " 4.0\n",
        "sparkspan_interface_pcie_lanes" + own + " 0.0\n",
        "sparkspan_interface_info" + rail.substr(0, rail.size() - 1) +
            ",net=\"TCP\",driver=\"mlx5_core\",duplex=\"\",pcie_speed=\"\",rdma_device="
            "\"rocep1s0f1\",gid_index=\"3\",network_namespace=\"\"} 1.0\n",
        "sparkspan_interface_up" + own + " 1.0\n",
        "sparkspan_interface_up" + rail + " 0.0\n",
        std::string("sparkspan_connection_sent_bytes_total{rank=\"1\",plane=\"data\",peer=\"rank "
                    "0\",interface=\"enp1s0f1np1\"} 7.0\n"),
        std::string("sparkspan_connection_received_bytes_total{rank=\"1\",plane=\"control\",peer="
                    "\"head\",interface=\"enP7s7\"} 6.0\n")}) {
    EXPECT_THAT(page.text(), HasSubstr(line));
  }
}

}  // namespace
}  // namespace sparkspan::head::status
