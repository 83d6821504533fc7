#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/fabric/address.h"

namespace sparkspan::engine::fabric {

// How a packet would leave this machine.
struct Route {
  std::string interface;
  Ipv4Address gateway;  // 0.0.0.0: none, the destination is on the link

  bool operator==(const Route&) const = default;
};

// The kernel's decision for a destination, for a socket that is bound to nothing. Behind an
// interface so that tests describe machines that they do not have.
class RouteSource {
 public:
  virtual ~RouteSource() = default;
  // NotFound: the kernel has no route.
  virtual absl::StatusOr<Route> RouteTo(Ipv4Address destination) const = 0;
};

// RTM_GETROUTE over rtnetlink, what `ip route get` asks. DeadlineExceeded after kNetlinkTimeout.
class KernelRouteSource final : public RouteSource {
 public:
  absl::StatusOr<Route> RouteTo(Ipv4Address destination) const override;
};

// A line of the main routing table.
struct RouteEntry {
  std::string interface;
  Ipv4Address destination;
  int prefix_length = 0;
  Ipv4Address gateway;  // 0.0.0.0: none
  int metric = 0;

  bool operator==(const RouteEntry&) const = default;

  bool is_default() const { return prefix_length == 0; }
};

// Of the text of /proc/net/route. Lines that it does not understand are left out.
std::vector<RouteEntry> ParseRouteTable(std::string_view text);

// What the table alone decides, by the longest prefix, then the lowest metric: how a fixture, which
// has no kernel, answers.
class TableRouteSource final : public RouteSource {
 public:
  explicit TableRouteSource(std::vector<RouteEntry> entries) : entries_(std::move(entries)) {}
  absl::StatusOr<Route> RouteTo(Ipv4Address destination) const override;

 private:
  std::vector<RouteEntry> entries_;
};

}  // namespace sparkspan::engine::fabric
