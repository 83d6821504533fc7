#include "engine/fabric/link_events.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>

#include <cstring>
#include <optional>

#include "engine/base/status.h"

namespace sparkspan::engine::fabric {
namespace {

std::optional<LinkEvent> ReadLink(const NetlinkMessage& message) {
  ifinfomsg link{};
  if (message.payload.size() < sizeof(link)) {
    return std::nullopt;
  }
  std::memcpy(&link, message.payload.data(), sizeof(link));
  LinkEvent event;
  event.interface_index = link.ifi_index;
  // Running: administratively up, and its carrier as well.
  const bool is_up = (link.ifi_flags & IFF_UP) != 0 && (link.ifi_flags & IFF_RUNNING) != 0;
  event.kind = message.type == RTM_DELLINK ? LinkEvent::Kind::kLinkRemoved
               : is_up                     ? LinkEvent::Kind::kLinkUp
                                           : LinkEvent::Kind::kLinkDown;
  for (const auto& [type, value] : message.Attributes(sizeof(link))) {
    if (type == IFLA_IFNAME) {
      const auto* text = reinterpret_cast<const char*>(value.data());
      event.interface.assign(text, strnlen(text, value.size()));
    }
  }
  return event;
}

std::optional<LinkEvent> ReadAddress(const NetlinkMessage& message) {
  ifaddrmsg address{};
  if (message.payload.size() < sizeof(address)) {
    return std::nullopt;
  }
  std::memcpy(&address, message.payload.data(), sizeof(address));
  if (address.ifa_family != AF_INET) {
    return std::nullopt;
  }
  LinkEvent event;
  event.interface_index = static_cast<int>(address.ifa_index);
  event.kind = message.type == RTM_NEWADDR ? LinkEvent::Kind::kAddressAdded
                                           : LinkEvent::Kind::kAddressRemoved;
  for (const auto& [type, value] : message.Attributes(sizeof(address))) {
    std::uint32_t bits = 0;
    if (type == IFA_LOCAL && value.size() == sizeof(bits)) {
      std::memcpy(&bits, value.data(), sizeof(bits));
      event.address = Ipv4Address{ntohl(bits)};
    }
  }
  return event;
}

}  // namespace

std::vector<LinkEvent> ParseLinkEvents(std::span<const std::byte> datagram) {
  std::vector<LinkEvent> events;
  for (const NetlinkMessage& message : SplitMessages(datagram)) {
    std::optional<LinkEvent> event;
    if (message.type == RTM_NEWLINK || message.type == RTM_DELLINK) {
      event = ReadLink(message);
    } else if (message.type == RTM_NEWADDR || message.type == RTM_DELADDR) {
      event = ReadAddress(message);
    }
    if (event.has_value()) {
      events.push_back(*std::move(event));
    }
  }
  return events;
}

absl::StatusOr<LinkEvents> LinkEvents::Open() {
  ASSIGN_OR_RETURN(NetlinkSocket socket, NetlinkSocket::Open(RTMGRP_LINK | RTMGRP_IPV4_IFADDR));
  return LinkEvents(std::move(socket));
}

absl::StatusOr<std::vector<LinkEvent>> LinkEvents::Wait(Time deadline) const {
  std::vector<LinkEvent> events;
  // After the first datagram only what is there already.
  for (Time until = deadline;; until = Time()) {
    const absl::StatusOr<std::vector<std::byte>> datagram = socket_.Receive(until);
    if (absl::IsDeadlineExceeded(datagram.status())) {
      return events;
    }
    if (absl::IsDataLoss(datagram.status())) {
      events.push_back({});
      return events;
    }
    RETURN_IF_ERROR(datagram.status());
    for (LinkEvent& event : ParseLinkEvents(*datagram)) {
      events.push_back(std::move(event));
    }
  }
}

}  // namespace sparkspan::engine::fabric
