#include <algorithm>
#include <string>

#include "absl/strings/str_format.h"
#include "engine/doctor/examination.h"

namespace sparkspan::engine::doctor {
namespace {

constexpr std::int64_t kStrict = 1;  // rp_filter: what comes in must be what would go out.

// Whether an address of `other` lies in the subnet of an address of `interface`.
bool ShareSubnet(const fabric::Interface& interface, const fabric::Interface& other) {
  for (const fabric::InterfaceAddress& own : interface.addresses) {
    for (const fabric::InterfaceAddress& held : other.addresses) {
      if (own.prefix_length > 0 &&
          NetworkOf(held.address, own.prefix_length) == NetworkOf(own.address, own.prefix_length)) {
        return true;
      }
    }
  }
  return false;
}

void CheckRouteTo(const NodeFacts& facts,
                  const char* plane,
                  const fabric::DeclaredPin& own,
                  const std::string& peer,
                  fabric::Ipv4Address destination,
                  Report* report) {
  const auto found = facts.routes_to_peers.find(destination);
  if (found == facts.routes_to_peers.end()) {
    return;
  }
  const std::string subject =
      absl::StrFormat("%s, node %s (%s)", plane, peer, ToString(destination));
  const absl::StatusOr<fabric::Route>& route = found->second;
  if (route.ok() && route->interface == own.interface) {
    report->Pass("route.peer", subject, "leaves by " + route->interface);
    return;
  }
  report->Fail(
      "route.peer",
      subject,
      route.ok() ? "would leave by " + route->interface : std::string(route.status().message()),
      "to leave by " + own.interface,
      "put both ends of the link into one subnet that no other interface has");
}

void CheckDefaultRoutes(const Examination& examination, Report* report) {
  const NodeFacts& facts = examination.facts;
  bool on_fabric = false;
  bool on_wireless = false;
  for (const fabric::RouteEntry& route : facts.routes) {
    if (!route.is_default()) {
      continue;
    }
    const fabric::Interface* interface = FindByName(facts, route.interface);
    const auto& rails = ResolvedRails(examination);
    const bool is_rail = std::any_of(rails.begin(), rails.end(), [&](const fabric::Rail& rail) {
      return rail.netdev == route.interface;
    });
    const bool is_cage = interface != nullptr && !CageOf(*interface).empty();
    if (is_rail || is_cage) {
      on_fabric = true;
      report->Warn("route.default",
                   route.interface,
                   "the default route leaves by a fabric interface",
                   "no default route there",
                   "take the gateway out of that interface's configuration");
    }
    if (interface != nullptr && interface->is_wireless) {
      on_wireless = true;
      report->Warn("route.wireless",
                   route.interface,
                   "the default route leaves by Wi-Fi",
                   "a wired one, or none",
                   "connect the management port and give its route the lower metric");
    }
  }
  if (!on_fabric) {
    report->Pass("route.default", "", "no default route leaves by a fabric interface");
  }
  for (const DeclaredUse& use : DeclaredUses(examination)) {
    const fabric::Interface* declared = FindByName(facts, use.interface);
    for (const fabric::Interface& other : facts.interfaces) {
      if (declared != nullptr && other.is_wireless && other.name != use.interface &&
          ShareSubnet(*declared, other)) {
        on_wireless = true;
        report->Warn("route.wireless",
                     other.name,
                     "it is Wi-Fi in the subnet of " + use.subject(),
                     "Wi-Fi in a subnet of its own, or off",
                     "take it out of that network: nmcli radio wifi off");
      }
    }
  }
  if (!on_wireless) {
    report->Pass("route.wireless", "", "neither a default route nor a declared subnet is Wi-Fi's");
  }
}

// A cable to the other Sparks leads to no name server: whoever asks there waits for nothing.
void CheckNameServers(const Examination& examination, Report* report) {
  for (const NameServer& server : examination.facts.name_servers) {
    const fabric::Interface* interface = FindByName(examination.facts, server.interface);
    if (interface != nullptr && !CageOf(*interface).empty()) {
      report->Warn("route.name-server",
                   server.interface,
                   absl::StrFormat("%s says that name server %s is reached by a fabric interface",
                                   server.file,
                                   server.address),
                   "name servers on the management network only",
                   "take the name server out of that interface's configuration");
      return;
    }
  }
  report->Pass("route.name-server", "", "none is reached by a fabric interface");
}

void CheckReversePath(const Examination& examination, Report* report) {
  const NodeFacts& facts = examination.facts;
  const auto value = [&](const std::string& name) {
    const auto found = facts.rp_filters.find(name);
    return found == facts.rp_filters.end() ? std::int64_t{0} : found->second;
  };
  for (const DeclaredUse& use : DeclaredUses(examination)) {
    // The kernel takes the larger of the two.
    const std::int64_t filter = std::max(value("all"), value(use.interface));
    const fabric::Interface* interface = FindByName(facts, use.interface);
    const bool is_shared =
        interface != nullptr &&
        std::any_of(facts.interfaces.begin(), facts.interfaces.end(), [&](const auto& other) {
          return other.name != use.interface && ShareSubnet(*interface, other);
        });
    if (filter == kStrict && is_shared) {
      report->Warn("route.reverse-path",
                   use.subject(),
                   "rp_filter 1 and a subnet that another interface has too: answers are dropped",
                   "rp_filter 2, or a subnet of its own",
                   "give each interface its own subnet");
    } else {
      report->Pass("route.reverse-path", use.subject(), absl::StrFormat("rp_filter %d", filter));
    }
  }
}

}  // namespace

void CheckRoutes(const Examination& examination, Report* report) {
  const config::NodeConfig& node = examination.node;
  if (examination.config.nodes.size() == 1) {
    report->Skip("route.peer", "there is one node only");
  }
  for (const config::NodeConfig& peer : examination.config.nodes) {
    if (peer.name == node.name) {
      continue;
    }
    CheckRouteTo(
        examination.facts, "control", node.control, peer.name, peer.control.address, report);
    if (!node.ranks.empty() && !peer.ranks.empty() &&
        peer.bootstrap.address != peer.control.address) {
      CheckRouteTo(examination.facts,
                   "bootstrap",
                   node.bootstrap,
                   peer.name,
                   peer.bootstrap.address,
                   report);
    }
  }
  CheckDefaultRoutes(examination, report);
  CheckNameServers(examination, report);
  CheckReversePath(examination, report);
}

}  // namespace sparkspan::engine::doctor
