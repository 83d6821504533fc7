#include "engine/config/propose_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/config/check_supported.h"
#include "engine/config/parse_cluster_config.h"
#include "engine/config/propose_netplan.h"

namespace sparkspan::engine::config {
namespace {

using fabric::Interface;
using testing::AllOf;
using testing::HasSubstr;

Interface Make(const std::string& name,
               const std::string& pci,
               std::int64_t mbps,
               const char* address,
               const std::string& port = "") {
  Interface interface;
  interface.name = name;
  interface.operstate = "up";
  interface.carrier = true;
  interface.pci_address = pci;
  interface.speed_mbps = mbps;
  interface.phys_port_name = port;
  if (!port.empty()) {
    interface.rdma_devices = {"roce" + name.substr(2)};
  }
  if (address != nullptr) {
    interface.addresses = {{name, *fabric::ParseIpv4(address), 24}};
  }
  return interface;
}

// A Spark whose cage `cage` is cabled, with address `last` in each network.
NodeDescription Spark(const std::string& name, char cage, const std::string& last) {
  const std::string digit(1, cage);
  const std::string half = "s0f" + digit + "np" + digit;
  NodeDescription node{name, 20, {}};
  node.interfaces = {Make("enp1" + half,
                          "0000:01:00." + digit,
                          200'000,
                          ("192.168.177." + last).c_str(),
                          "p" + digit),
                     Make("enP2p1" + half,
                          "0002:01:00." + digit,
                          200'000,
                          ("192.168.178." + last).c_str(),
                          "p" + digit),
                     Make("enP7s7", "0007:01:00.0", 10'000, ("192.168.1." + last).c_str()),
                     Make("wlP9s9", "0009:01:00.0", 866, ("192.168.0." + last).c_str()),
                     Make("tailscale0", "", 0, ("100.64.0." + last).c_str())};
  node.interfaces[3].is_wireless = true;
  return node;
}

TEST(ProposeConfig, TwoSparksMeetOnTheCableAndAreControlledOverTheManagementPort) {
  const auto proposal = ProposeConfig({Spark("spark1", '0', "1"), Spark("spark2", '1', "2")},
                                      {.model_path = "/var/lib/sparkspan/Model"});
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  const std::vector<NodeConfig>& nodes = proposal->config.nodes;
  ASSERT_EQ(nodes.size(), 2u);
  EXPECT_EQ(nodes[0].control, (fabric::DeclaredPin{"enP7s7", {0xC0A80101}}));
  EXPECT_EQ(nodes[0].bootstrap, (fabric::DeclaredPin{"enp1s0f0np0", {0xC0A8B101}}));
  EXPECT_EQ(nodes[1].bootstrap, (fabric::DeclaredPin{"enp1s0f1np1", {0xC0A8B102}}));
  EXPECT_TRUE(CheckSupported(proposal->config).ok());
}

TEST(ProposeConfig, TheFileIsReadBackAsProposedAndExplainsItself) {
  const auto proposal =
      ProposeConfig({Spark("spark1", '0', "1"), Spark("spark2", '1', "2")}, {.model_path = "/m"});
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  const std::string text = ToYaml(*proposal);
  const auto read = ParseClusterConfig(text, "proposed.yaml");
  ASSERT_TRUE(read.ok()) << read.status() << "\n" << text;
  EXPECT_EQ(*read, proposal->config);
  EXPECT_THAT(text,
              AllOf(HasSubstr("  # bootstrap: enp1s0f1np1 (up, 200000 Mb/s, 192.168.177.2/24), in "
                              "192.168.177.0/24 as the others', the fastest"),
                    HasSubstr("are [enp1s0f0np0, enP2p1s0f0np0] (rocep1s0f0np0, roceP2p1s0f0np0)."),
                    HasSubstr("  # control: enP7s7 (up, 10000 Mb/s"),
                    HasSubstr("profiles: long is 1M tokens x 6")));
}

TEST(ProposeConfig, NoLimitAsksForMoreThanTheCheckpointWasMadeFor) {
  const auto small =
      ProposeConfig({Spark("spark1", '0', "1")}, {.model_path = "/m", .context_max = 8'192});
  ASSERT_TRUE(small.ok()) << small.status();
  EXPECT_EQ(small->config.limits.context_length, 8'192);
  EXPECT_EQ(small->config.profiles.at("long").context_length, 8'192);
  EXPECT_THAT(ToYaml(*small), HasSubstr("made for at most 8192 tokens"));
  const auto large =
      ProposeConfig({Spark("spark1", '0', "1")}, {.model_path = "/m", .context_max = 1'048'576});
  EXPECT_EQ(large->config.limits.context_length, 32'768);
  EXPECT_EQ(large->config.profiles.at("wide").context_length, 204'800);
  const auto unread = ProposeConfig({Spark("spark1", '0', "1")}, {.model_path = "/m"});
  EXPECT_THAT(ToYaml(*unread), HasSubstr("no checkpoint was found in model.path"));
}

TEST(ProposeConfig, WithoutAManagementNetworkTheCableCarriesBoth) {
  std::vector<NodeDescription> nodes = {Spark("spark1", '0', "1"), Spark("spark2", '0', "2")};
  nodes[1].interfaces[2].operstate = "down";
  const auto proposal = ProposeConfig(nodes, {.model_path = "/m"});
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  EXPECT_EQ(proposal->config.nodes[1].control, proposal->config.nodes[1].bootstrap);
}

TEST(ProposeConfig, ASubnetWithTwoInterfacesOfANodeIsAmbiguousAndNotUsed) {
  std::vector<NodeDescription> nodes = {Spark("spark1", '0', "1"), Spark("spark2", '0', "2")};
  nodes[0].interfaces[1].addresses = {{"enP2p1s0f0np0", {0xC0A8B10B}, 24}};
  const auto proposal = ProposeConfig(nodes, {.model_path = "/m"});
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  EXPECT_EQ(proposal->config.nodes[0].bootstrap.interface, "enP7s7");
}

TEST(ProposeConfig, NodesWithoutACommonSubnetAreListed) {
  std::vector<NodeDescription> nodes = {Spark("spark1", '0', "1"), Spark("spark2", '0', "2")};
  for (Interface& interface : nodes[1].interfaces) {
    interface.addresses.clear();
  }
  const auto proposal = ProposeConfig(nodes, {.model_path = "/m"});
  EXPECT_THAT(std::string(proposal.status().message()),
              AllOf(HasSubstr("static addresses in a subnet of their own"),
                    HasSubstr("spark2 has enp1s0f0np0 (up, 200000 Mb/s, no IPv4 address)")));
}

TEST(ProposeConfig, WhatTheFileCouldNotSayIsRefused) {
  for (const auto& [name, path] : {std::pair("a\"b", "/m"), {"a\nb", "/m"}, {"spark1", "/m\nx"}}) {
    const auto proposal = ProposeConfig({Spark(name, '0', "1")}, {.model_path = path});
    EXPECT_THAT(std::string(proposal.status().message()), testing::StartsWith("the proposal:"))
        << name << " " << path;
  }
}

TEST(ProposeConfig, RailsAreTheFabricsPortsOfEachNode) {
  ProposalOptions options{.model_path = "/m", .data = DataTransport::kRails};
  std::vector<NodeDescription> nodes = {Spark("spark1", '0', "1"), Spark("spark2", '1', "2")};
  const auto proposal = ProposeConfig(nodes, options);
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  using Names = std::vector<std::string>;
  EXPECT_EQ(proposal->config.nodes[0].rails, (Names{"enp1s0f0np0", "enP2p1s0f0np0"}));
  EXPECT_EQ(proposal->config.nodes[1].rails, (Names{"enp1s0f1np1", "enP2p1s0f1np1"}));
  const std::string text = ToYaml(*proposal);
  EXPECT_EQ(*ParseClusterConfig(text, "f"), proposal->config);
  EXPECT_THAT(text, HasSubstr("rails with the RDMA devices rocep1s0f1np1, roceP2p1s0f1np1"));
  nodes[1].interfaces[0].rdma_devices.clear();
  nodes[1].interfaces[1].rdma_devices.clear();
  EXPECT_TRUE(absl::IsFailedPrecondition(ProposeConfig(nodes, options).status()));
}

// The first node asks on each of its links who answers for the second one's address.
TEST(ProposeConfig, ALinkThatAnotherInterfaceAnswersIsLeftOut) {
  std::vector<NodeDescription> nodes = {Spark("spark1", '0', "1"), Spark("spark2", '1', "2")};
  for (std::size_t i = 0; i < nodes[1].interfaces.size(); ++i) {
    nodes[1].interfaces[i].mac = "3C:6D:66:00:00:0" + std::to_string(i);
  }
  ProposalOptions options{.model_path = "/m"};
  std::string first_half = "3c:6d:66:00:00:00";
  options.probe = [&](const fabric::DeclaredPin& pin,
                      fabric::Ipv4Address) -> absl::StatusOr<std::string> {
    if (pin.interface == "enp1s0f0np0") {
      return first_half;
    }
    if (pin.interface == "enP2p1s0f0np0") {
      return absl::DeadlineExceededError("nobody answers");
    }
    return "3c:6d:66:00:00:0" + std::string(pin.interface == "enP7s7" ? "2" : "4");
  };
  auto proposal = ProposeConfig(nodes, options);
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  EXPECT_EQ(proposal->config.nodes[0].bootstrap.interface, "enp1s0f0np0");
  EXPECT_THAT(ToYaml(*proposal), HasSubstr("# left out: 192.168.178.0/24: nobody answers"));
  first_half = "3c:6d:66:00:00:01";
  proposal = ProposeConfig(nodes, options);
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  EXPECT_EQ(proposal->config.nodes[0].bootstrap.interface, "enP7s7");
  EXPECT_THAT(ToYaml(*proposal),
              HasSubstr("3c:6d:66:00:00:01 answers for 192.168.177.2 on enp1s0f0np0, which is not "
                        "enp1s0f1np1 of spark2"));
}

TEST(ProposeConfig, PortsWithoutAddressesGetTheNetplanThatIsMissing) {
  std::vector<NodeDescription> nodes = {Spark("spark1", '0', "1"), Spark("spark2", '1', "2")};
  EXPECT_EQ(MissingNetplan(nodes), "");
  nodes[0].interfaces[0].addresses = {{"enp1s0f0np0", {0xA9FE0102}, 16}};  // link-local
  nodes[0].interfaces[1].addresses.clear();
  const std::string text = MissingNetplan(nodes);
  EXPECT_THAT(
      text,
      AllOf(HasSubstr("# spark1: /etc/netplan/60-sparkspan.yaml"),
            HasSubstr("    enp1s0f0np0: {dhcp4: no, dhcp6: no, link-local: [], mtu: 9000, "
                      "optional: true, addresses: [192.168.177.1/24]}"),
            HasSubstr("    enP2p1s0f0np0: {dhcp4: no, dhcp6: no, link-local: [], mtu: 9000, "
                      "optional: true, addresses: [192.168.178.1/24]}"),
            HasSubstr("# spark2: /etc/netplan/60-sparkspan.yaml"),
            HasSubstr("    enP2p1s0f1np1: {dhcp4: no, dhcp6: no, link-local: [], mtu: 9000, "
                      "optional: true, addresses: [192.168.178.2/24]}")));
  const auto proposal = ProposeConfig(nodes, {.model_path = "/m"});
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  EXPECT_THAT(ToYaml(*proposal), HasSubstr("#     enp1s0f0np0: {dhcp4: no"));
  EXPECT_TRUE(ParseClusterConfig(ToYaml(*proposal), "f").ok());
  for (Interface& interface : nodes[1].interfaces) {
    interface.operstate = "down";
  }
  EXPECT_EQ(MissingNetplan(nodes), "") << "there is no cable";
}

TEST(ProposeConfig, OneNodeUsesLoopback) {
  const auto proposal = ProposeConfig({Spark("spark1", '0', "1")}, {.model_path = "/models/Demo"});
  ASSERT_TRUE(proposal.ok()) << proposal.status();
  EXPECT_EQ(proposal->config.nodes[0].control.interface, "lo");
  EXPECT_EQ(proposal->config.model.served_names, std::vector<std::string>{"Demo"});
  EXPECT_EQ(*ParseClusterConfig(ToYaml(*proposal), "f"), proposal->config);
}

}  // namespace
}  // namespace sparkspan::engine::config
