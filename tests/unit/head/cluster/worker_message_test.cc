#include "head/cluster/worker_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "proto/sparkspan/v1/worker.pb.h"

namespace sparkspan::head::cluster {
namespace {

using testing::HasSubstr;

WorkerMessage Decode(const v1::WorkerMessage& message) {
  const std::chrono::system_clock::time_point asked{std::chrono::seconds(100)};
  return DecodeWorkerMessage(message, asked, asked + std::chrono::seconds(2));
}

std::string WhyBroken(const v1::WorkerMessage& message) {
  const WorkerMessage what = Decode(message);
  const auto* end = std::get_if<LinkEnd>(&what);
  EXPECT_TRUE(end != nullptr && !end->said);
  return end == nullptr ? "" : std::string(end->why.message());
}

v1::WorkerMessage GoodFabric() {
  v1::WorkerMessage message;
  v1::Fabric& fabric = *message.mutable_fabric();
  fabric.set_sampled_ms(12'345);
  v1::Interface& interface = *fabric.add_interfaces();
  interface.set_name("enp1s0f1np1");
  interface.set_address("192.168.177.2");
  interface.set_index(5);
  interface.set_data(true);
  interface.set_net("TCP");
  v1::Link& link = *interface.mutable_link();
  link.set_mtu(9'000);
  link.set_speed_mbps(200'000);
  link.set_duplex("full");
  link.set_pcie_width(4);
  link.set_pcie_speed("32.0 GT/s PCIe");
  link.set_driver("mlx5_core");
  link.set_rdma_device("rocep1s0f0");
  link.set_gid_index(3);
  link.set_gid("::ffff:192.168.177.2");
  link.set_network_namespace("net:[4026531840]");
  interface.set_sent_bytes(1);
  interface.set_received_bytes(2);
  interface.set_errors(3);
  interface.set_dropped(4);
  interface.set_rdma_sent_bytes(5);
  interface.set_rdma_received_bytes(6);
  v1::PeerTraffic& peer = *fabric.add_peers();
  peer.set_rank(1);
  peer.set_sent_bytes(7);
  peer.set_received_bytes(8);
  fabric.mutable_memory()->set_available_bytes(9);
  fabric.mutable_memory()->set_shortage("a\nb");
  return message;
}

TEST(WorkerMessage, FabricKeepsEveryField) {
  const auto fabric = std::get<WorkerFabric>(Decode(GoodFabric()));
  EXPECT_EQ(fabric.sampled.time_since_epoch(), std::chrono::milliseconds(12'345));
  ASSERT_EQ(fabric.interfaces.size(), 1u);
  engine::fabric::PinSample expected;
  expected.declared.pin = {"enp1s0f1np1", {0xC0A8B102}};
  expected.declared.data = true;
  expected.declared.net = "TCP";
  expected.interface_index = 5;
  expected.counters = {1, 2, 3, 4, 5, 6};
  expected.link = {.mtu = 9'000,
                   .speed_mbps = 200'000,
                   .duplex = "full",
                   .pcie_width = 4,
                   .pcie_speed = "32.0 GT/s PCIe",
                   .driver = "mlx5_core",
                   .rdma_device = "rocep1s0f0",
                   .gid_index = 3,
                   .gid = "::ffff:192.168.177.2",
                   .network_namespace = "net:[4026531840]"};
  EXPECT_EQ(fabric.interfaces[0], expected);
  ASSERT_EQ(fabric.peers.size(), 1u);
  EXPECT_EQ(fabric.peers[0].rank, engine::Rank(1));
  EXPECT_EQ(fabric.peers[0].sent_bytes, 7u);
  EXPECT_EQ(fabric.peers[0].received_bytes, 8u);
  EXPECT_EQ(fabric.memory_available_bytes, 9);
  EXPECT_EQ(fabric.memory_shortage, "a b");
}

TEST(WorkerMessage, WhatMakesNoSenseEndsTheStreamByName) {
  v1::WorkerMessage message = GoodFabric();
  message.mutable_fabric()->mutable_interfaces(0)->set_address("everywhere");
  EXPECT_THAT(WhyBroken(message), HasSubstr("everywhere"));
  message = GoodFabric();
  message.mutable_fabric()->mutable_interfaces(0)->set_name(std::string(16, 'x'));
  EXPECT_THAT(WhyBroken(message), HasSubstr("xxxx"));
  message = GoodFabric();
  message.mutable_fabric()->set_sampled_ms(-1);
  EXPECT_THAT(WhyBroken(message), HasSubstr("-1 ms"));
  message = GoodFabric();
  for (int i = 0; i < 32; ++i) {
    message.mutable_fabric()->add_interfaces();
  }
  EXPECT_THAT(WhyBroken(message), HasSubstr("33 interfaces"));
  message = {};
  for (int i = 0; i < 65; ++i) {
    message.mutable_loaded()->add_phases();
  }
  EXPECT_THAT(WhyBroken(message), HasSubstr("65 phases"));
  EXPECT_THAT(WhyBroken(v1::WorkerMessage()), HasSubstr("a kind that wire version"));
  message = {};
  message.mutable_failure()->set_newest_epoch(std::numeric_limits<std::uint64_t>::max());
  EXPECT_THAT(WhyBroken(message), HasSubstr("18446744073709551615")) << "nothing comes after it";
}

// What a worker says goes into logs and pages.
TEST(WorkerMessage, TextsAreCutAndCleaned) {
  v1::WorkerMessage message;
  message.mutable_failure()->set_message("first\nsecond" + std::string(10'000, 'x'));
  message.mutable_failure()->set_blamed_rank(3);
  const auto end = std::get<LinkEnd>(Decode(message));
  EXPECT_TRUE(end.said);
  EXPECT_EQ(end.blamed, engine::Rank(3));
  EXPECT_FALSE(end.newest_epoch.has_value());
  EXPECT_THAT(std::string(end.why.message()), testing::StartsWith("first second"));
  EXPECT_EQ(end.why.message().size(), 4096u);
}

TEST(WorkerMessage, AClockIsComparedWithTheMiddleOfTheQuestion) {
  v1::WorkerMessage message;
  message.mutable_identity()->set_unix_ms(104'000);
  EXPECT_DOUBLE_EQ(std::get<WorkerIdentity>(Decode(message)).clock_ahead_seconds, 3);
  message.mutable_identity()->set_unix_ms(std::numeric_limits<std::int64_t>::min());
  EXPECT_LT(std::get<WorkerIdentity>(Decode(message)).clock_ahead_seconds, -1e15);
}

}  // namespace
}  // namespace sparkspan::head::cluster
