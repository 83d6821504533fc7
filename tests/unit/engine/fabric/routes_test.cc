#include "engine/fabric/routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "engine/fabric/kernel_files.h"

namespace sparkspan::engine::fabric {
namespace {

// A Spark with two rails, and Wi-Fi for everything else.
constexpr char kTable[] =
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    "wlP9s9\t00000000\t0100A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
    "enP7s7\t00000000\t0101A8C0\t0003\t0\t0\t700\t00000000\t0\t0\t0\n"
    "enp1s0f1np1\t00B1A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    "enp1s0f0np0\t00B1A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
    "tailscale0\t00B1A8C0\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    "broken line\n"
    "short\t0001\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";

TEST(Routes, TheKernelsTableIsRead) {
  const std::vector<RouteEntry> entries = ParseRouteTable(kTable);
  ASSERT_EQ(entries.size(), 5u) << "lines that are none are left out";
  EXPECT_EQ(entries[0], (RouteEntry{"wlP9s9", {0}, 0, {0xC0A80001}, 600}));
  EXPECT_TRUE(entries[0].is_default());
  EXPECT_EQ(entries[2], (RouteEntry{"enp1s0f1np1", {0xC0A8B100}, 24, {0}, 0}));
}

TEST(Routes, TheLongestPrefixThenTheLowestMetricDecides) {
  const TableRouteSource routes(ParseRouteTable(kTable));
  EXPECT_EQ(routes.RouteTo({0xC0A8B102}).value(), (Route{"enp1s0f1np1", {0}}));
  EXPECT_EQ(routes.RouteTo({0x08080808}).value(), (Route{"wlP9s9", {0xC0A80001}}));
  EXPECT_EQ(TableRouteSource({}).RouteTo({1}).status().code(), absl::StatusCode::kNotFound);
}

TEST(Routes, ThisMachineReachesItselfByLoopback) {
  const absl::StatusOr<Route> route = KernelRouteSource().RouteTo({0x7F000001});
  ASSERT_TRUE(route.ok()) << route.status();
  EXPECT_EQ(route->interface, "lo");
  EXPECT_TRUE(route->gateway.IsWildcard());
}

// The kernel's answer and its own table, for a destination that some interface is on the link of.
TEST(Routes, TheKernelsAnswerIsThatOfItsTable) {
  const auto text = ReadText("/proc/net/route");
  if (!text.has_value() || ParseRouteTable(*text).empty()) {
    GTEST_SKIP() << "this machine has no routes";
  }
  const std::vector<RouteEntry> entries = ParseRouteTable(*text);
  for (const RouteEntry& entry : entries) {
    const Ipv4Address destination{entry.destination.bits | 0x7Bu};
    const auto kernel = KernelRouteSource().RouteTo(destination);
    const auto table = TableRouteSource(entries).RouteTo(destination);
    ASSERT_TRUE(kernel.ok()) << kernel.status();
    ASSERT_TRUE(table.ok()) << table.status();
    if (kernel->interface != "lo") {  // One of this machine's own addresses.
      EXPECT_EQ(kernel->interface, table->interface) << ToString(destination);
      EXPECT_EQ(kernel->gateway, table->gateway) << ToString(destination);
    }
  }
}

}  // namespace
}  // namespace sparkspan::engine::fabric
