#include "engine/fabric/address.h"

#include <gtest/gtest.h>

namespace sparkspan::engine::fabric {
namespace {

TEST(Address, ReadsDottedQuadsOnly) {
  EXPECT_EQ(ParseIpv4("192.168.177.1")->bits, 0xC0A8B101u);
  EXPECT_EQ(ToString(*ParseIpv4("255.0.10.9")), "255.0.10.9");
  for (const char* text :
       {"", "1.2.3", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "::1", "spark1", "1"}) {
    EXPECT_FALSE(ParseIpv4(text).ok()) << text;
  }
  EXPECT_FALSE(ParseIpv4(std::string_view("1.2.3.4\0x", 9)).ok());
  EXPECT_EQ(ParseIpv4("spark1").status().message(),
            "'spark1' is no IPv4 address; give a numeric one such as 192.168.177.1");
}

TEST(Address, KnowsLoopbackWildcardAndNetworks) {
  EXPECT_TRUE(ParseIpv4("127.9.9.9")->IsLoopback());
  EXPECT_FALSE(ParseIpv4("128.0.0.1")->IsLoopback());
  EXPECT_TRUE(ParseIpv4("0.0.0.0")->IsWildcard());
  const Ipv4Address address = *ParseIpv4("192.168.177.130");
  EXPECT_EQ(ToString(NetworkOf(address, 24)), "192.168.177.0");
  EXPECT_EQ(ToString(NetworkOf(address, 25)), "192.168.177.128");
  EXPECT_EQ(NetworkOf(address, 32), address);
  EXPECT_EQ(ToString(NetworkOf(address, 0)), "0.0.0.0");
}

TEST(Address, ReadsEndpoints) {
  EXPECT_EQ(*ParseEndpoint("192.168.177.1:7100"), (Endpoint{{0xC0A8B101}, 7100}));
  for (const char* text :
       {"", ":", "1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:7x", "[::1]:1"}) {
    EXPECT_FALSE(ParseEndpoint(text).ok()) << text;
  }
}

TEST(Address, TellsNumericAddressesFromNames) {
  EXPECT_TRUE(IsNumericAddress("0.0.0.0"));
  EXPECT_TRUE(IsNumericAddress("fe80::1"));
  EXPECT_FALSE(IsNumericAddress("localhost"));
  EXPECT_FALSE(IsNumericAddress(""));
}

}  // namespace
}  // namespace sparkspan::engine::fabric
