#include "engine/fabric/routes.h"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <bit>
#include <chrono>
#include <cstring>
#include <optional>
#include <sstream>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/fabric/deadline_call.h"
#include "engine/fabric/netlink.h"

namespace sparkspan::engine::fabric {
namespace {

constexpr std::uint32_t kSequence = 1;  // One request a socket.

std::vector<std::byte> RouteRequest(Ipv4Address destination) {
  rtmsg route{};
  route.rtm_family = AF_INET;
  route.rtm_dst_len = 32;
  NetlinkRequest request(RTM_GETROUTE, NLM_F_REQUEST, kSequence);
  request.Append(&route, sizeof(route));
  const std::uint32_t bits = htonl(destination.bits);
  request.AppendAttribute(RTA_DST, &bits, sizeof(bits));
  return request.Finish();
}

Route ReadRoute(const NetlinkMessage& message) {
  Route route;
  for (const auto& [type, value] : message.Attributes(sizeof(rtmsg))) {
    std::uint32_t word = 0;
    if (value.size() != sizeof(word)) {
      continue;
    }
    std::memcpy(&word, value.data(), sizeof(word));
    if (type == RTA_OIF) {
      char name[IF_NAMESIZE] = {};
      route.interface = if_indextoname(word, name) == nullptr ? "" : name;
    } else if (type == RTA_GATEWAY) {
      route.gateway = Ipv4Address{ntohl(word)};
    }
  }
  return route;
}

absl::StatusOr<Route> AskKernel(Ipv4Address destination) {
  ASSIGN_OR_RETURN(const NetlinkSocket socket, NetlinkSocket::Open(/*groups=*/0));
  RETURN_IF_ERROR(socket.Send(RouteRequest(destination)));
  ASSIGN_OR_RETURN(const std::vector<std::byte> answer,
                   socket.Receive(std::chrono::steady_clock::now() + kNetlinkTimeout));
  for (const NetlinkMessage& message : SplitMessages(answer)) {
    if (message.sequence != kSequence) {
      continue;
    }
    if (message.type == NLMSG_ERROR) {
      return absl::NotFoundError(absl::StrFormat("the kernel has no route to %s: %s",
                                                 ToString(destination),
                                                 std::strerror(message.ErrorNumber())));
    }
    if (message.type == RTM_NEWROUTE) {
      return ReadRoute(message);
    }
  }
  return absl::UnavailableError("the kernel's answer on a route has no route in it");
}

// Addresses in /proc/net/route are in network order, printed as a number of this machine.
std::optional<Ipv4Address> TableAddress(const std::string& text) {
  if (text.size() != 8 || text.find_first_not_of("0123456789ABCDEFabcdef") != std::string::npos) {
    return std::nullopt;
  }
  return Ipv4Address{ntohl(static_cast<std::uint32_t>(std::stoul(text, nullptr, 16)))};
}

}  // namespace

absl::StatusOr<Route> KernelRouteSource::RouteTo(Ipv4Address destination) const {
  return CallWithDeadline<Route>("asking for the route to " + ToString(destination),
                                 kNetlinkTimeout,
                                 [destination] { return AskKernel(destination); });
}

std::vector<RouteEntry> ParseRouteTable(std::string_view text) {
  std::vector<RouteEntry> entries;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    RouteEntry entry;
    std::string destination, gateway, flags, references, uses, mask;
    if (!(fields >> entry.interface >> destination >> gateway >> flags >> references >> uses >>
          entry.metric >> mask)) {
      continue;
    }
    const auto network = TableAddress(destination);
    const auto next = TableAddress(gateway);
    const auto bits = TableAddress(mask);
    if (network.has_value() && next.has_value() && bits.has_value()) {
      entry.destination = *network;
      entry.gateway = *next;
      entry.prefix_length = std::popcount(bits->bits);
      entries.push_back(std::move(entry));
    }
  }
  return entries;
}

absl::StatusOr<Route> TableRouteSource::RouteTo(Ipv4Address destination) const {
  const RouteEntry* best = nullptr;
  for (const RouteEntry& entry : entries_) {
    if (NetworkOf(destination, entry.prefix_length) != entry.destination) {
      continue;
    }
    if (best == nullptr || entry.prefix_length > best->prefix_length ||
        (entry.prefix_length == best->prefix_length && entry.metric < best->metric)) {
      best = &entry;
    }
  }
  if (best == nullptr) {
    return absl::NotFoundError(absl::StrFormat("no route to %s", ToString(destination)));
  }
  return Route{best->interface, best->gateway};
}

}  // namespace sparkspan::engine::fabric
