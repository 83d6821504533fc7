#include "head/status/status_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace sparkspan::head::status {
namespace {

using nlohmann::json;

json Render(const api::EngineStatus& engine) {
  const ServedFacts served = {
      .model_name = "demo", .version = "0.1", .encoding_profile = "0731", .context_length = 4096};
  return json::parse(StatusJson(served, engine));
}

TEST(StatusJson, SaysWhatAnInterfaceIsMadeOf) {
  api::EngineStatus engine;
  api::InterfaceStatus& interface = engine.head_interfaces.emplace_back();
  interface.net = "TCP";
  interface.link = {.mtu = 9'000,
                    .speed_mbps = 200'000,
                    .duplex = "full",
                    .pcie_width = 4,
                    .pcie_speed = "32.0 GT/s PCIe",
                    .driver = "mlx5_core",
                    .rdma_device = "rocep1s0f1",
                    .gid_index = 3,
                    .gid = "::ffff:192.168.177.2",
                    .network_namespace = "net:[4026531840]"};
  const json status = Render(engine);
  const json& shown = status["head"]["interfaces"][0];
  EXPECT_EQ(shown["net"], "TCP");
  EXPECT_EQ(shown["mtu"], 9'000);
  EXPECT_EQ(shown["speed_mbps"], 200'000);
  EXPECT_EQ(shown["duplex"], "full");
  EXPECT_EQ(shown["pcie_width"], 4);
  EXPECT_EQ(shown["pcie_speed"], "32.0 GT/s PCIe");
  EXPECT_EQ(shown["driver"], "mlx5_core");
  EXPECT_EQ(shown["rdma_device"], "rocep1s0f1");
  EXPECT_EQ(shown["gid_index"], 3);
  EXPECT_EQ(shown["gid"], "::ffff:192.168.177.2");
  EXPECT_EQ(shown["network_namespace"], "net:[4026531840]");
}

TEST(StatusJson, HasWhatThePageShows) {
  api::EngineStatus engine;
  engine.state = api::EngineState::kDegraded;
  engine.detail = "rank 1 is lost";
  engine.request_tokens_max = 500;
  engine.context_cut = "the KV pool holds 500";
  engine.drafts_total = 10;
  engine.accepted_tokens_total = 25;
  engine.head_node = "spark1";
  api::InterfaceStatus interface;
  interface.name = "enp1s0f1np1";
  interface.address = "192.168.177.2";
  interface.index = 5;
  interface.data = true;
  interface.fault = "no link";
  interface.path_fault = "the route leaves by wlP9s9";
  interface.sent_bytes = 1;
  interface.received_bytes = 2;
  interface.errors = 3;
  interface.dropped = 4;
  interface.rdma_sent_bytes = 5;
  interface.rdma_received_bytes = 6;
  interface.sent_bytes_per_second = 7.5;
  interface.received_bytes_per_second = 8.5;
  engine.head_interfaces = {interface};
  engine.head_interfaces[0].control = true;
  api::RankStatus& rank = engine.ranks.emplace_back();
  rank.rank = 1;
  rank.interfaces = {interface};
  rank.memory_available_bytes = 13;
  rank.memory_shortage = "only 13 bytes";
  rank.rails.push_back({"data", "rank 0", "enp1s0f1np1", "192.168.177.2:9", "device", 11, 12});
  engine.last_failure = api::FailureStatus{100,
                                           7,
                                           "rank 1 is lost",
                                           "node spark1 was looked at",
                                           {{"interface.link", "failure", "a", "b", "c", "d"}}};
  engine.errors = {{101, "no group", 3}};
  const json status = Render(engine);
  EXPECT_EQ(status["acceptance_length"], 3.5);
  EXPECT_EQ(status["encoding_profile"], "0731");
  EXPECT_EQ(status["context_length_configured"], 4096);
  EXPECT_EQ(status["context_length"], 500);
  EXPECT_EQ(status["context_cut"], "the KV pool holds 500");
  EXPECT_EQ(status["head"]["node"], "spark1");
  EXPECT_EQ(status["head"]["interfaces"][0]["planes"], json({"control", "data"}));
  const json& shown = status["ranks"][0]["interfaces"][0];
  EXPECT_EQ(shown["name"], "enp1s0f1np1");
  EXPECT_EQ(shown["address"], "192.168.177.2");
  EXPECT_EQ(shown["index"], 5);
  EXPECT_EQ(shown["planes"], json({"data"}));
  EXPECT_EQ(shown["fault"], "no link");
  EXPECT_EQ(shown["path_fault"], "the route leaves by wlP9s9");
  EXPECT_EQ(shown["sent_bytes"], 1);
  EXPECT_EQ(shown["received_bytes"], 2);
  EXPECT_EQ(shown["errors"], 3);
  EXPECT_EQ(shown["dropped"], 4);
  EXPECT_EQ(shown["rdma_sent_bytes"], 5);
  EXPECT_EQ(shown["rdma_received_bytes"], 6);
  EXPECT_EQ(shown["sent_bytes_per_second"], 7.5);
  EXPECT_EQ(shown["received_bytes_per_second"], 8.5);
  EXPECT_EQ(status["ranks"][0]["rails"][0]["sent_bytes"], 11);
  EXPECT_EQ(status["ranks"][0]["rails"][0]["binding"], "device");
  EXPECT_EQ(status["ranks"][0]["memory_available_bytes"], 13);
  EXPECT_EQ(status["ranks"][0]["memory_shortage"], "only 13 bytes");
  EXPECT_EQ(status["last_failure"]["epoch"], 7);
  EXPECT_EQ(status["last_failure"]["findings"][0]["id"], "interface.link");
  EXPECT_EQ(status["last_failure"]["findings"][0]["next_step"], "d");
  EXPECT_EQ(status["errors"][0]["times"], 3);
}

TEST(StatusJson, AHealthyStartHasNoFailure) {
  const json status = Render({});
  EXPECT_TRUE(status["last_failure"].is_null());
  EXPECT_EQ(status["errors"], json::array());
  EXPECT_EQ(status["acceptance_length"], 1);
}

TEST(StatusJson, WhatIsNoUtf8IsReplaced) {
  api::EngineStatus engine;
  engine.detail = "broken \xff";
  EXPECT_EQ(Render(engine)["detail"], "broken \xEF\xBF\xBD");
}

}  // namespace
}  // namespace sparkspan::head::status
