#include "engine/fabric/link_events.h"

#include <gtest/gtest.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>

#include <cstring>
#include <string>

namespace sparkspan::engine::fabric {
namespace {

using Kind = LinkEvent::Kind;

std::vector<std::byte> LinkMessage(std::uint16_t type, unsigned flags, const std::string& name) {
  ifinfomsg link{};
  link.ifi_index = 7;
  link.ifi_flags = flags;
  NetlinkRequest message(type, 0, 0);
  message.Append(&link, sizeof(link));
  const std::uint32_t mtu = 9000;
  message.AppendAttribute(IFLA_MTU, &mtu, sizeof(mtu));
  message.AppendAttribute(IFLA_IFNAME, name.c_str(), name.size() + 1);
  return message.Finish();
}

std::vector<std::byte> AddressMessage(std::uint16_t type, std::uint8_t family) {
  ifaddrmsg address{};
  address.ifa_family = family;
  address.ifa_index = 7;
  NetlinkRequest message(type, 0, 0);
  message.Append(&address, sizeof(address));
  const std::uint8_t bytes[] = {192, 168, 177, 1};
  message.AppendAttribute(IFA_LOCAL, bytes, sizeof(bytes));
  return message.Finish();
}

TEST(LinkEvents, LinksAreUpWhenTheyRun) {
  const std::pair<std::vector<std::byte>, Kind> cases[] = {
      {LinkMessage(RTM_NEWLINK, IFF_UP | IFF_RUNNING, "enp1s0f1np1"), Kind::kLinkUp},
      {LinkMessage(RTM_NEWLINK, IFF_UP, "enp1s0f1np1"), Kind::kLinkDown},
      {LinkMessage(RTM_NEWLINK, IFF_RUNNING, "enp1s0f1np1"), Kind::kLinkDown},
      {LinkMessage(RTM_DELLINK, IFF_UP | IFF_RUNNING, "enp1s0f1np1"), Kind::kLinkRemoved}};
  for (const auto& [datagram, kind] : cases) {
    EXPECT_EQ(ParseLinkEvents(datagram), (std::vector<LinkEvent>{{kind, 7, "enp1s0f1np1", {}}}));
  }
}

TEST(LinkEvents, AddressesAreThoseOfIpv4) {
  EXPECT_EQ(ParseLinkEvents(AddressMessage(RTM_NEWADDR, AF_INET)),
            (std::vector<LinkEvent>{{Kind::kAddressAdded, 7, "", {0xC0A8B101}}}));
  EXPECT_EQ(ParseLinkEvents(AddressMessage(RTM_DELADDR, AF_INET)),
            (std::vector<LinkEvent>{{Kind::kAddressRemoved, 7, "", {0xC0A8B101}}}));
  EXPECT_TRUE(ParseLinkEvents(AddressMessage(RTM_NEWADDR, AF_INET6)).empty());
}

// Every cut of a datagram of two messages, and every single byte changed: no crash, no read outside
// (the sanitizers see it), and whole messages before the damage are still read.
TEST(LinkEvents, DamagedDatagramsAreReadAsFarAsTheyAreWhole) {
  std::vector<std::byte> datagram = LinkMessage(RTM_NEWLINK, IFF_UP | IFF_RUNNING, "a");
  const std::size_t first = datagram.size();
  const std::vector<std::byte> second = AddressMessage(RTM_NEWADDR, AF_INET);
  datagram.insert(datagram.end(), second.begin(), second.end());
  ASSERT_EQ(ParseLinkEvents(datagram).size(), 2u);
  for (std::size_t bytes = 0; bytes < datagram.size(); ++bytes) {
    const std::vector<std::byte> cut(datagram.begin(),
                                     datagram.begin() + static_cast<std::ptrdiff_t>(bytes));
    EXPECT_EQ(ParseLinkEvents(cut).size(), bytes < first ? 0u : 1u) << bytes;
  }
  for (std::size_t at = 0; at < datagram.size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      std::vector<std::byte> damaged = datagram;
      damaged[at] = static_cast<std::byte>(value);
      EXPECT_LE(ParseLinkEvents(damaged).size(), 2u);
    }
  }
}

TEST(LinkEvents, AQuietMachineSaysNothing) {
  const auto events = LinkEvents::Open();
  ASSERT_TRUE(events.ok()) << events.status();
  EXPECT_TRUE(events->Wait(Time()).ok());
}

}  // namespace
}  // namespace sparkspan::engine::fabric
