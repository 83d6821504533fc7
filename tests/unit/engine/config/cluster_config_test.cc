#include "engine/config/cluster_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "engine/config/check_cluster_config.h"
#include "engine/config/local_config.h"
#include "engine/config/parse_cluster_config.h"
#include "engine/config/write_cluster_config.h"

namespace sparkspan::engine::config {
namespace {

ClusterConfig Local() {
  LocalCluster cluster;
  cluster.model.path = "/models/a \"quoted\" \\ path: #1";
  cluster.model.served_names = {"demo", "true", "0731", "größe"};
  cluster.model.encoding_profile = EncodingProfile::k0731;
  cluster.model.default_thinking = "off";
  cluster.devices = {{DeviceKind::kCpu, 2, 0}, {DeviceKind::kCpu, 3, 0}};
  cluster.control_ports = {7100, 7101};
  cluster.data_ports = {7200, 7201};
  cluster.api.keys_file = "/etc/keys";
  cluster.api.accept_any_model_name = true;
  cluster.api.max_tokens_cap = 4096;
  cluster.api.reasoning_field = ReasoningField::kReasoning;
  cluster.api.response_format_in_prompt = false;
  cluster.api.allowed_origins = {"https://a.example:8443", "http://b"};
  cluster.api.keep_alive_ms = 0;
  cluster.api.body_bytes_max = 1'000'000;
  cluster.numerics = Numerics::kUnquantised;
  cluster.experts = Experts::kWhole;
  cluster.limits.kv_tokens = 100'000;
  const absl::StatusOr<ClusterConfig> config = MakeLocalConfig(cluster);
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

ClusterConfig Example() {
  const absl::StatusOr<ClusterConfig> config = ReadClusterConfig("deploy/examples/cluster.yaml");
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

TEST(ClusterConfig, WhatIsWrittenIsRead) {
  for (const ClusterConfig& config : {Local(), Example()}) {
    const std::string text = ToYaml(config);
    const absl::StatusOr<ClusterConfig> again = ParseClusterConfig(text, "written");
    ASSERT_TRUE(again.ok()) << again.status() << "\n" << text;
    EXPECT_EQ(*again, config) << text;
    EXPECT_EQ(Hash(*again), Hash(config));
  }
}

TEST(ClusterConfig, ALocalClusterIsOnLoopbackOnly) {
  const ClusterConfig config = Local();
  EXPECT_EQ(config.nodes.size(), 1u);
  EXPECT_EQ(config.nodes[0].control.interface, "lo");
  EXPECT_EQ(fabric::ToString(DataEndpoints(config)[1]), "127.0.0.1:7201");
  EXPECT_EQ(config.nodes[0].data, DataTransport::kTcp);
  EXPECT_TRUE(config.control_tls.plaintext);
}

TEST(ClusterConfig, ALocalClusterIsChecked) {
  LocalCluster cluster;
  EXPECT_EQ(MakeLocalConfig(cluster).status().message(),
            "nodes: found 0 ranks; expected 1 to 64 over all nodes");
  cluster.devices.resize(2);
  cluster.control_ports = {7100, 7101};
  EXPECT_EQ(MakeLocalConfig(cluster).status().message(),
            "found 2 devices, 2 control ports and 0 data ports; expected one of each for every "
            "rank");
  cluster.data_ports = {7200, 7101};
  EXPECT_EQ(MakeLocalConfig(cluster).status().message(),
            "nodes[0].ranks[1].data_port: found 7101, which nodes[0].ranks[1].control_port of node "
            "'local' has already; ports are unique on a node");
}

TEST(ClusterConfig, DifferencesNameTheKeys) {
  const ClusterConfig left = Example();
  EXPECT_TRUE(Differences(left, left).empty());
  ClusterConfig right = left;
  right.limits.sequences = 9;
  right.nodes[1].control.address.bits += 1;
  right.limits.kv_tokens = 1'000'000;
  right.links.pop_back();
  EXPECT_NE(Hash(left), Hash(right));
  EXPECT_THAT(Differences(left, right),
              testing::ElementsAre(
                  ConfigDifference{"limits.sequences", "8", "9"},
                  ConfigDifference{"nodes[1].control.address", "192.168.1.11", "192.168.1.12"},
                  ConfigDifference{"links[1].from", "spark1 enP2p1s0f1np1", std::nullopt},
                  ConfigDifference{"links[1].to", "spark2 enP2p1s0f0np0", std::nullopt},
                  ConfigDifference{"limits.kv_tokens", std::nullopt, "1000000"}));
}

// Every field changes the canonical form: one that did not would let nodes disagree on it.
TEST(ClusterConfig, EveryFieldIsInTheCanonicalForm) {
  const ClusterConfig base = Example();
  const std::vector<void (*)(ClusterConfig&)> changes = {
      [](ClusterConfig& c) { c.cluster += "x"; },
      [](ClusterConfig& c) { c.head = "spark2"; },
      [](ClusterConfig& c) { c.model.path += "x"; },
      [](ClusterConfig& c) { c.model.served_names.push_back("x"); },
      [](ClusterConfig& c) { c.model.encoding_profile = EncodingProfile::kPreview; },
      [](ClusterConfig& c) { c.model.default_thinking = "off"; },
      [](ClusterConfig& c) { c.numerics = Numerics::kUnquantised; },
      [](ClusterConfig& c) { c.experts = Experts::kWhole; },
      [](ClusterConfig& c) { c.draft = Draft::kMtp; },
      [](ClusterConfig& c) { c.verification = Verification::kFixed; },
      [](ClusterConfig& c) { ++c.verification_threshold_percent; },
      [](ClusterConfig& c) { ++c.limits.context_length; },
      [](ClusterConfig& c) { ++c.limits.step_rows; },
      [](ClusterConfig& c) { c.limits.kv_memory_bytes = 1; },
      [](ClusterConfig& c) { ++c.limits.waiting_requests; },
      [](ClusterConfig& c) { ++c.limits.memory_reserve_bytes; },
      [](ClusterConfig& c) { ++c.profiles["long"].sequences; },
      [](ClusterConfig& c) { c.profile = "long"; },
      [](ClusterConfig& c) { c.api.address = "::1"; },
      [](ClusterConfig& c) { ++c.api.port; },
      [](ClusterConfig& c) { c.api.keys_file = "x"; },
      [](ClusterConfig& c) { c.api.accept_any_model_name = true; },
      [](ClusterConfig& c) { c.api.max_tokens_cap = 1; },
      [](ClusterConfig& c) { c.api.reasoning_field = ReasoningField::kNone; },
      [](ClusterConfig& c) { c.api.response_format_in_prompt = false; },
      [](ClusterConfig& c) { c.api.allowed_origins = {"http://x"}; },
      [](ClusterConfig& c) { ++c.api.keep_alive_ms; },
      [](ClusterConfig& c) { ++c.api.body_bytes_max; },
      [](ClusterConfig& c) { ++c.timeouts.queue_ms; },
      [](ClusterConfig& c) { c.api.tls.plaintext = false; },
      [](ClusterConfig& c) { c.control_tls.authority = "x"; },
      [](ClusterConfig& c) { c.control_tls.certificate = "x"; },
      [](ClusterConfig& c) { c.control_tls.key = "x"; },
      [](ClusterConfig& c) { ++c.timeouts.heartbeat_ms; },
      [](ClusterConfig& c) { ++c.timeouts.silence_ms; },
      [](ClusterConfig& c) { ++c.timeouts.step_ms; },
      [](ClusterConfig& c) { ++c.timeouts.start_ms; },
      [](ClusterConfig& c) { c.allow_env_overrides = true; },
      [](ClusterConfig& c) { c.nodes[0].name = "x"; },
      [](ClusterConfig& c) { c.nodes[0].bootstrap.interface = "x"; },
      [](ClusterConfig& c) { c.nodes[0].data = DataTransport::kLocal; },
      [](ClusterConfig& c) { c.nodes[0].rails[1] = "x"; },
      [](ClusterConfig& c) { c.nodes[0].model_path = "x"; },
      [](ClusterConfig& c) { c.nodes[0].ranks[0].rank = Rank(5); },
      [](ClusterConfig& c) { c.nodes[0].ranks[0].device.cuda_index = 1; },
      [](ClusterConfig& c) { c.nodes[0].ranks[0].device.kind = DeviceKind::kCpu; },
      [](ClusterConfig& c) { ++c.nodes[0].ranks[0].control_port; },
      [](ClusterConfig& c) { ++c.nodes[0].ranks[0].data_port; },
      [](ClusterConfig& c) { c.links[0].to.rail = "x"; },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    ClusterConfig changed = base;
    changes[i](changed);
    EXPECT_NE(Hash(changed), Hash(base)) << "change " << i;
    EXPECT_FALSE(Differences(base, changed).empty()) << "change " << i;
  }
}

}  // namespace
}  // namespace sparkspan::engine::config
