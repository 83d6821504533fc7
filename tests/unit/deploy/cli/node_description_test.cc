#include "deploy/cli/node_description.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace sparkspan::deploy::cli {
namespace {

using engine::config::NodeDescription;
using engine::fabric::Interface;

NodeDescription Spark() {
  Interface cage;
  cage.name = "enp1s0f1np1";
  cage.operstate = "up";
  cage.carrier = true;
  cage.speed_mbps = 200'000;
  cage.mtu = 9000;
  cage.mac = "3c:6d:66:aa:bb:cc";
  cage.phys_port_name = "p1";
  cage.pci_address = "0000:01:00.1";
  cage.rdma_devices = {"rocep1s0f1"};
  cage.addresses = {{"enp1s0f1np1", {0xC0A8B101}, 24}};
  Interface wireless;
  wireless.name = "wlP9s9";
  wireless.operstate = "down";
  wireless.driver = "mt7925e";
  wireless.is_wireless = true;
  return {"spark2", 20, {cage, wireless}};
}

TEST(NodeDescriptionTest, IsReadBackAsItWas) {
  const auto read = ParseNodeDescription(ToJson(Spark()), "f");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->name, "spark2");
  EXPECT_EQ(read->cpus, 20);
  ASSERT_EQ(read->interfaces.size(), 2u);
  const Interface& cage = read->interfaces[0];
  EXPECT_EQ(Describe(cage), Describe(Spark().interfaces[0]));
  EXPECT_EQ(cage.rdma_devices, Spark().interfaces[0].rdma_devices);
  EXPECT_EQ(cage.phys_port_name, "p1");
  EXPECT_EQ(cage.mac, "3c:6d:66:aa:bb:cc");
  EXPECT_FALSE(cage.is_virtual());
  const Interface& wireless = read->interfaces[1];
  EXPECT_TRUE(wireless.is_wireless);
  EXPECT_FALSE(wireless.is_up());
  EXPECT_FALSE(wireless.is_virtual());
  EXPECT_FALSE(wireless.speed_mbps.has_value());
}

TEST(NodeDescriptionTest, OtherFilesAreNamed) {
  for (const char* text : {"", "{}", "[1]", R"({"version": 2, "name": 5})", R"({"version": 1})"}) {
    const auto read = ParseNodeDescription(text, "spark2.json");
    EXPECT_THAT(std::string(read.status().message()), testing::StartsWith("spark2.json: ")) << text;
  }
}

TEST(NodeDescriptionTest, WhatWouldLeaveACommentOrANumbersRangeIsRefused) {
  const std::string good = ToJson(Spark());
  const std::pair<std::string, std::string> changes[] = {
      {R"("enp1s0f1np1",)", R"("enp1\nhead: x",)"},
      {R"("rocep1s0f1")", R"("roce\u007f")"},
      {R"("cpus": 20)", R"("cpus": 1e300)"},
      {R"("cpus": 20)", R"("cpus": 0)"},
      {R"("mtu": 9000)", R"("mtu": -1)"},
      {R"("prefix_length": 24)", R"("prefix_length": 33)"}};
  for (const auto& [from, to] : changes) {
    std::string bad = good;
    ASSERT_NE(bad.find(from), std::string::npos) << from;
    bad.replace(bad.find(from), from.size(), to);
    const auto read = ParseNodeDescription(bad, "f");
    EXPECT_THAT(std::string(read.status().message()), testing::HasSubstr("expected")) << to;
  }
}

}  // namespace
}  // namespace sparkspan::deploy::cli
