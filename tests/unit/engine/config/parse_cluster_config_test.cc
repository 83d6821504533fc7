#include "engine/config/parse_cluster_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sparkspan::engine::config {
namespace {

// Two nodes over TCP; the line numbers below count in here.
constexpr const char* kSound = R"(version: 1
cluster: pair
head: a
model:
  path: /models/demo
  served_names: [demo, other]
limits:
  context_length: 4096
  kv_memory: 2GiB
profiles:
  long: {context_length: 8192, kv_tokens: 9000}
profile: long
api:
  address: 127.0.0.1
  tls: {plaintext: true}
control_tls: {plaintext: true}
nodes:
  - name: a
    control: {interface: eth0, address: 10.0.0.1}
    data: tcp
    ranks:
      - {rank: 0, device: {cpu_threads: 2}, control_port: 7100, data_port: 7200}
  - name: b
    control: {interface: eth0, address: 10.0.0.2}
    bootstrap: {interface: eth1, address: 10.1.0.2}
    data: tcp
    ranks:
      - {rank: 1, device: {cpu_threads: 2}, control_port: 7100, data_port: 7200}
)";

std::string Fault(const std::string& text) {
  const absl::StatusOr<ClusterConfig> config = ParseClusterConfig(text, "f");
  return config.ok() ? "none" : std::string(config.status().message());
}

// The fault of the sound text with one place changed.
std::string FaultWith(const std::string& from, const std::string& to) {
  std::string text = kSound;
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return Fault(text.replace(at, from.size(), to));
}

TEST(ParseClusterConfig, ReadsValuesAndDefaults) {
  const absl::StatusOr<ClusterConfig> config = ParseClusterConfig(kSound, "f");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->cluster, "pair");
  EXPECT_EQ(config->model.served_names, (std::vector<std::string>{"demo", "other"}));
  EXPECT_EQ(config->model.default_thinking, "on");
  EXPECT_EQ(config->numerics, Numerics::kQuantised);
  EXPECT_EQ(config->limits.kv_memory_bytes, std::int64_t{2} << 30);
  EXPECT_EQ(config->limits.sequences, 8);
  const Limits& effective = config->EffectiveLimits();
  EXPECT_EQ(effective.context_length, 8192);
  EXPECT_EQ(effective.kv_tokens, 9000);
  EXPECT_FALSE(effective.kv_memory_bytes.has_value()) << "replaced by kv_tokens";
  EXPECT_EQ(effective.sequences, 8);
  EXPECT_EQ(config->nodes[0].bootstrap, config->nodes[0].control);
  EXPECT_EQ(config->nodes[1].bootstrap.interface, "eth1");
  EXPECT_EQ(config->ranks(), 2);
  EXPECT_EQ(fabric::ToString(DataEndpoints(*config)[1]), "10.1.0.2:7200");
  EXPECT_EQ(fabric::ToString(ControlEndpoints(*config)[1]), "10.0.0.2:7100");
  EXPECT_EQ(NodeOf(*config, Rank(1)).name, "b");
}

TEST(ParseClusterConfig, TheExampleIsSound) {
  const absl::StatusOr<ClusterConfig> config = ReadClusterConfig("deploy/examples/cluster.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->nodes.size(), 2u);
  EXPECT_EQ(config->links.size(), 2u);
  EXPECT_EQ(config->profiles.at("long").context_length, 1048576);
  EXPECT_EQ(config->profiles.at("wide").sequences, 16);
}

TEST(ParseClusterConfig, AMissingFileIsNamed) {
  EXPECT_EQ(ReadClusterConfig("absent.yaml").status().message(),
            "cannot read absent.yaml: No such file or directory");
}

TEST(ParseClusterConfig, UnknownKeysNameTheNearest) {
  EXPECT_EQ(FaultWith("  context_length", "  contxt_length"),
            "f:8: limits.contxt_length: found an unknown key; did you mean 'context_length'?");
  EXPECT_EQ(FaultWith("rank: 1,", "rnk: 1,"),
            "f:28: nodes[1].ranks[0].rnk: found an unknown key; did you mean 'rank'?");
  EXPECT_EQ(FaultWith("    data: tcp", "    bananas_and_more: tcp"),
            "f:20: nodes[0].bananas_and_more: found an unknown key; known are: name, control, "
            "bootstrap, data, ranks, model_path");
  EXPECT_EQ(
      FaultWith("{plaintext: true}\ncontrol", "{plaintext: true, authority: x}\ncontrol"),
      "f:15: api.tls.authority: found an unknown key; known are: plaintext, certificate, key");
}

TEST(ParseClusterConfig, MissingKeysAreNamed) {
  EXPECT_EQ(Fault(""),
            "f:1: found nothing; expected a map of version, cluster, head, model, "
            "numerics, experts, draft, verification, verification_threshold_percent, limits, "
            "profiles, profile, api, control_tls, "
            "timeouts, allow_env_overrides, nodes, links");
  EXPECT_EQ(FaultWith("version: 1\n", ""), "f:1: version: found nothing; this key is required");
  EXPECT_EQ(FaultWith("    data: tcp\n", ""),
            "f:18: nodes[0].data: found nothing; this key is required");
  EXPECT_EQ(FaultWith(", data_port: 7200", ""),
            "f:22: nodes[0].ranks[0].data_port: found nothing; this key is required");
  EXPECT_EQ(FaultWith("control_tls: {plaintext: true}\n", ""),
            "f:1: control_tls: found nothing; this key is required");
  EXPECT_EQ(FaultWith("  tls: {plaintext: true}", "  tls: {plaintext: false}"),
            "f:15: api.tls.certificate: found nothing; this key is required");
}

TEST(ParseClusterConfig, WrongOptionsOfTheApiAreNamed) {
  const auto with = [](const std::string& line) {
    return FaultWith("  address: 127.0.0.1\n", "  address: 127.0.0.1\n  " + line + "\n");
  };
  EXPECT_EQ(with("accept_any_model_name: maybe"),
            "f:15: api.accept_any_model_name: found 'maybe'; expected true or false");
  EXPECT_EQ(with("max_tokens_cap: 0"),
            "f:15: api.max_tokens_cap: found '0'; expected a whole number from 1 to 16777216");
  EXPECT_EQ(with("reasoning_field: thoughts"),
            "f:15: api.reasoning_field: found 'thoughts'; expected one of: both, "
            "reasoning_content, reasoning, none");
  for (const char* origin : {"example.org", "https://", "https://a.example/page", "https://*"}) {
    EXPECT_EQ(
        with("allowed_origins: [\"https://a.example:8443\", \"" + std::string(origin) + "\"]"),
        "f:15: api.allowed_origins[1]: found '" + std::string(origin) +
            "'; expected an origin such as https://host:port, or \"*\" for any");
  }
  EXPECT_EQ(with("keep_alive_ms: -1"),
            "f:15: api.keep_alive_ms: found '-1'; expected a whole number from 0 to 86400000");
  EXPECT_EQ(with("body_bytes_max: 2GiB"),
            "f:15: api.body_bytes_max: found '2GiB'; expected 1 byte to 1GiB");
  EXPECT_EQ(with("body_bytes_max: 1MiB"), "none");
}

TEST(ParseClusterConfig, WrongTypesAndRangesSayWhatIsExpected) {
  EXPECT_EQ(FaultWith("version: 1", "version: 2"),
            "f:1: version: found '2'; expected a whole number from 1 to 1");
  EXPECT_EQ(FaultWith("version: 1", "version: \"1\""),
            "f:1: version: found '1'; expected a whole number from 1 to 1");
  EXPECT_EQ(FaultWith("4096", "4k"),
            "f:8: limits.context_length: found '4k'; expected a whole number from 1 to 16777216");
  EXPECT_EQ(FaultWith("2GiB", "2GB"),
            "f:9: limits.kv_memory: found '2GB'; expected a number of "
            "bytes, such as 24GiB or 25769803776");
  EXPECT_EQ(FaultWith("2GiB", "9999999999TiB").substr(0, 23), "f:9: limits.kv_memory: ");
  EXPECT_EQ(FaultWith("cluster: pair", "cluster: [pair]"),
            "f:2: cluster: found a list; expected text of one line");
  EXPECT_EQ(FaultWith("cluster: pair", "cluster: a pair"),
            "f:2: cluster: found 'a pair'; expected a name of 1 to 64 letters, digits, '-', '_' "
            "and '.'");
  EXPECT_EQ(FaultWith("head: a\n", "head:\n"),
            "f:3: head: found nothing; expected text of one line");
  EXPECT_EQ(FaultWith("[demo, other]", "[]"),
            "f:6: model.served_names: found a list; expected a list of texts");
  EXPECT_EQ(FaultWith("[demo, other]", "[demo, {}]"),
            "f:6: model.served_names[1]: found a map; expected text of one line");
  EXPECT_EQ(FaultWith("head: a\n", "head: a\nnumerics: fast\n"),
            "f:4: numerics: found 'fast'; expected one of: quantised, unquantised");
  EXPECT_EQ(FaultWith("head: a\n", "head: a\nallow_env_overrides: yes\n"),
            "f:4: allow_env_overrides: found 'yes'; expected true or false");
  EXPECT_EQ(FaultWith("7100", "65536"),
            "f:22: nodes[0].ranks[0].control_port: found '65536'; "
            "expected a whole number from 1 to 65535");
  EXPECT_EQ(FaultWith("address: 10.0.0.1", "address: 0.0.0.0"),
            "f:19: nodes[0].control.address: found '0.0.0.0'; expected the IPv4 address of one "
            "interface, such as 192.168.177.1");
  EXPECT_EQ(FaultWith("address: 10.0.0.1", "address: spark1").substr(0, 57),
            "f:19: nodes[0].control.address: found 'spark1'; expected ");
  EXPECT_EQ(FaultWith("interface: eth0", "interface: =eth0").substr(0, 61),
            "f:19: nodes[0].control.interface: found '=eth0'; expected the");
  EXPECT_EQ(FaultWith("interface: eth0", "interface: enp1s0f1np1-and-").substr(0, 5), "f:19:");
  EXPECT_EQ(FaultWith("data: tcp", "data: rdma"),
            "f:20: nodes[0].data: found 'rdma'; expected a list of rails, or tcp, or local");
  EXPECT_EQ(FaultWith("{cpu_threads: 2}", "{cpu_threads: 2, cuda: 0}"),
            "f:22: nodes[0].ranks[0].device: found neither or both of cpu_threads and cuda; "
            "expected one");
  EXPECT_EQ(FaultWith("nodes:\n", "nodes: 7\nnode:\n").substr(0, 8), "f:18: no");
  EXPECT_EQ(FaultWith("address: 127.0.0.1", "address: localhost"),
            "f:14: api.address: found 'localhost'; expected a numeric IPv4 or IPv6 address to "
            "listen on");
  EXPECT_EQ(FaultWith("{plaintext: true}\nnodes", "{plaintext: true, key: k}\nnodes"),
            "f:16: control_tls: found plaintext: true beside files; expected one of the two");
  EXPECT_EQ(FaultWith("  long:", "  \"very long\":").substr(0, 31),
            "f:11: profiles: found 'very lon");
}

TEST(ParseClusterConfig, ContradictionsAreFoundInTheirLines) {
  EXPECT_EQ(FaultWith("head: a\n", "head: c\n"),
            "f:3: head: found 'c', which is no node; expected one of: a, b");
  EXPECT_EQ(FaultWith("name: b", "name: a"),
            "f:23: nodes[1].name: found 'a', which is also nodes[0]; names are unique");
  EXPECT_EQ(FaultWith("rank: 1", "rank: 0"),
            "f:28: nodes[1].ranks[0].rank: found 0, which nodes[0].ranks[0].rank has already; "
            "ranks are unique");
  EXPECT_EQ(FaultWith("rank: 1", "rank: 2"),
            "f:28: nodes[1].ranks[0].rank: found 2, but 2 ranks are declared; expected each of 0 "
            "to 1 once");
  EXPECT_EQ(FaultWith("data_port: 7200", "data_port: 7100"),
            "f:22: nodes[0].ranks[0].data_port: found 7100, which nodes[0].ranks[0].control_port "
            "of node 'a' has already; ports are unique on a node");
  EXPECT_EQ(FaultWith("7100", "8000").substr(0, 36), "f:22: nodes[0].ranks[0].control_port");
  EXPECT_EQ(FaultWith("10.1.0.2", "10.0.0.1"),
            "f:25: nodes[1].bootstrap.address: found 10.0.0.1, which node 'a' has already; "
            "addresses are unique");
  EXPECT_EQ(FaultWith("10.1.0.2", "127.0.0.1").substr(0, 62),
            "f:25: nodes[1].bootstrap.address: found 127.0.0.1, which other");
  EXPECT_EQ(FaultWith("10.1.0.2", "10.0.0.2").substr(0, 50),
            "f:25: nodes[1].bootstrap.interface: found 'eth1' w");
  EXPECT_EQ(FaultWith("data: tcp", "data: local"),
            "f:20: nodes[0].data: found local, but other nodes have ranks too; expected tcp or the "
            "rails between the nodes");
  EXPECT_EQ(FaultWith("data: tcp", "data: [eth0]"),
            "f:26: nodes[1].data: found tcp, but node 'a' has rails; expected one kind for all");
  EXPECT_EQ(FaultWith("{cpu_threads: 2}", "{cuda: 0}").substr(0, 33),
            "f:28: nodes[1].ranks[0].device: f");
  EXPECT_EQ(FaultWith("profile: long", "profile: short"),
            "f:12: profile: found 'short', which profiles does not have");
  EXPECT_EQ(FaultWith("kv_tokens: 9000", "kv_tokens: 8000"),
            "f:11: profiles.long.kv_tokens: found 8000, less than one sequence of context_length "
            "8192");
  EXPECT_EQ(FaultWith("  kv_memory: 2GiB", "  kv_memory: 2GiB\n  kv_tokens: 5000"),
            "f:10: limits.kv_tokens: found beside kv_memory; expected one of the two");
  EXPECT_EQ(FaultWith("head: a\n", "head: a\nverification: most\n"),
            "f:4: verification: found 'most'; expected one of: hardware, fixed, threshold, none");
  EXPECT_EQ(FaultWith("head: a\n", "head: a\ntimeouts: {silence_ms: 800, step_ms: 700}\n"),
            "f:4: timeouts.step_ms: found 700, no more than silence_ms 800");
  EXPECT_EQ(FaultWith("head: a\n", "head: a\ntimeouts: {heartbeat_ms: 500}\n"),
            "f:4: timeouts.silence_ms: found 1000, less than 3 times heartbeat_ms 500; one late "
            "heartbeat must not end an epoch");
  EXPECT_EQ(FaultWith("[demo, other]", "[demo, demo]"),
            "f:6: model.served_names[1]: found 'demo' a second time");
}

TEST(ParseClusterConfig, LinksJoinDeclaredRails) {
  std::string rails = kSound;
  for (const char* data : {"[r0, r1]", "[s0, s1]"}) {
    rails.replace(rails.find("tcp"), 3, data);
  }
  const auto with = [&](const std::string& links) { return Fault(rails + "links:\n" + links); };
  const std::string first = "  - {from: {node: a, rail: r0}, to: {node: b, rail: s0}}\n";
  EXPECT_EQ(with(first + "  - {from: {node: a, rail: r1}, to: {node: b, rail: s1}}\n"), "none");
  EXPECT_EQ(with(first),
            "f:20: nodes[0].data[1]: found 'r1', which no link joins; where links are declared, "
            "every rail has one");
  EXPECT_EQ(with(first + "  - {from: {node: a, rail: r1}, to: {node: b, rail: s0}}\n"),
            "f:31: links[1].to: found rail 's0' of node 'b', which links[0].to has already; a "
            "cable has two ends");
  EXPECT_EQ(with("  - {from: {node: c, rail: r0}, to: {node: b, rail: s0}}\n"),
            "f:30: links[0].from.node: found 'c', which is no node");
  EXPECT_EQ(with("  - {from: {node: a, rail: s0}, to: {node: b, rail: s0}}\n"),
            "f:30: links[0].from.rail: found 's0', which is no rail in the data of node 'a'");
  EXPECT_EQ(with("  - {from: {node: a, rail: r0}, to: {node: a, rail: r1}}\n"),
            "f:30: links[0].to.node: found 'a' at both ends; a link joins two nodes");
  EXPECT_EQ(Fault(std::string(rails).replace(rails.find("[r0, r1]"), 8, "[r0, r0]")),
            "f:20: nodes[0].data[1]: found 'r0' a second time; rails are distinct");
  EXPECT_EQ(Fault(std::string(rails).replace(rails.find("[s0, s1]"), 8, "[s0]")),
            "f:26: nodes[1].data: found 1 rails, but node 'a' has 2; expected as many on every "
            "node");
}

}  // namespace
}  // namespace sparkspan::engine::config
