#include <fnmatch.h>
#include <strings.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/doctor/examination.h"

namespace sparkspan::engine::doctor {
namespace {

using fabric::Interface;
using fabric::InterfaceAddress;

constexpr std::int64_t kFabricMtu = 9000;
constexpr std::int64_t kCageMbps = 200'000;        // of a ConnectX-7 cage
constexpr std::int64_t kUselessCageMbps = 25'000;  // Slower than this is another kind of link.

// Whether the interface is a function of a NIC with cages, as a ConnectX has them.
bool IsCage(const Interface& interface) {
  return !CageOf(interface).empty();
}

std::string Others(const NodeFacts& facts, const std::string& except, bool only_up) {
  std::string text;
  for (const Interface& interface : facts.interfaces) {
    if (interface.name != except && interface.name != "lo" && (!only_up || interface.is_up())) {
      text += (text.empty() ? "" : ", ") + Describe(interface);
    }
  }
  return text.empty() ? "none" : text;
}

void CheckLink(const NodeFacts& facts,
               const DeclaredUse& use,
               const Interface& interface,
               Report* report) {
  if (!interface.is_up()) {
    report->Fail("interface.link",
                 use.subject(),
                 "no link; with a link: " + Others(facts, use.interface, /*only_up=*/true),
                 "a link",
                 "check the cable at both ends, or declare the interface that has the link");
    return;
  }
  report->Pass("interface.link", use.subject(), "up");
  if (!IsCage(interface) || !interface.speed_mbps.has_value()) {
    return;
  }
  const std::string found = absl::StrFormat("%d Mb/s", *interface.speed_mbps);
  const std::string expected = absl::StrFormat("%d Mb/s", kCageMbps);
  const char* remedy = "set the switch port to 200G instead of autonegotiation";
  if (*interface.speed_mbps < kUselessCageMbps) {
    report->Fail("interface.speed", use.subject(), found, expected, remedy);
  } else if (*interface.speed_mbps < kCageMbps) {
    report->Warn("interface.speed", use.subject(), found, expected, remedy);
  } else {
    report->Pass("interface.speed", use.subject(), found);
  }
}

void CheckMtu(const DeclaredUse& use, const Interface& interface, Report* report) {
  if (!IsCage(interface)) {
    return;
  }
  const std::string found = absl::StrFormat("MTU %d", interface.mtu);
  if (interface.mtu < kFabricMtu) {
    report->Warn("interface.mtu",
                 use.subject(),
                 found,
                 absl::StrFormat("MTU %d", kFabricMtu),
                 "set mtu: 9000 for it on both nodes, and on a switch between them");
  } else {
    report->Pass("interface.mtu", use.subject(), found);
  }
}

void CheckAddress(const NodeFacts& facts,
                  const DeclaredUse& use,
                  const Interface& interface,
                  Report* report) {
  if (interface.addresses.empty()) {
    report->Fail("interface.address",
                 use.subject(),
                 "no IPv4 address",
                 use.addresses.empty() ? "a static one" : ToString(use.addresses[0]),
                 "give it a static address in the network configuration");
    return;
  }
  for (const fabric::Ipv4Address& declared : use.addresses) {
    std::string holder;
    for (const Interface& other : facts.interfaces) {
      for (const InterfaceAddress& held : other.addresses) {
        if (held.address == declared && (holder.empty() || other.name != use.interface)) {
          holder = other.name;
        }
      }
    }
    if (holder != use.interface) {
      report->Fail("interface.address",
                   use.subject(),
                   holder.empty() ? "no interface holds " + ToString(declared)
                                  : ToString(declared) + " is held by " + holder,
                   "it on " + use.interface + " alone",
                   "correct the interface or the address in cluster.yaml");
      return;
    }
  }
  report->Pass("interface.address", use.subject(), Describe(interface));
}

bool Matches(const std::string& pattern, const std::string& text) {
  return pattern.empty() || fnmatch(pattern.c_str(), text.c_str(), 0) == 0;
}

bool Matches(const NetworkProfile& profile, const Interface& interface) {
  return Matches(profile.interface, interface.name) && Matches(profile.driver, interface.driver) &&
         (profile.mac.empty() || strcasecmp(profile.mac.c_str(), interface.mac.c_str()) == 0);
}

void CheckProfiles(const NodeFacts& facts,
                   const DeclaredUse& use,
                   const Interface& interface,
                   Report* report) {
  const bool has_own =
      std::any_of(facts.profiles.begin(), facts.profiles.end(), [&](const auto& profile) {
        return profile.is_named() && profile.interface == interface.name;
      });
  for (const NetworkProfile& profile : facts.profiles) {
    // One for any interface at all takes those only that have no other.
    const bool is_for_any =
        profile.interface.empty() && profile.mac.empty() && profile.driver.empty();
    if (profile.uses_dhcp && Matches(profile, interface) && !(is_for_any && has_own)) {
      report->Warn("interface.profile",
                   use.subject(),
                   profile.file + " asks for an address by DHCP, and may drop a static one",
                   "a profile with a static address only",
                   "delete that profile, or make its address static");
      return;
    }
  }
  report->Pass("interface.profile", use.subject(), "no stored profile uses DHCP on it");
}

}  // namespace

void CheckInterfaces(const Examination& examination, Report* report) {
  const NodeFacts& facts = examination.facts;
  for (const DeclaredUse& use : DeclaredUses(examination)) {
    const Interface* interface = FindByName(facts, use.interface);
    if (interface == nullptr) {
      report->Fail("interface.present",
                   use.subject(),
                   "no such interface; present: " + Others(facts, "", /*only_up=*/false),
                   "an interface of exactly this name",
                   "check the cable, whose absence can remove the interface, or correct the name "
                   "in cluster.yaml");
      continue;
    }
    report->Pass("interface.present", use.subject(), Describe(*interface));
    CheckLink(facts, use, *interface, report);
    CheckMtu(use, *interface, report);
    CheckAddress(facts, use, *interface, report);
    if (interface->name != "lo") {
      CheckProfiles(facts, use, *interface, report);
    }
  }
}

void CheckSubnets(const Examination& examination, Report* report) {
  std::vector<InterfaceAddress> held;
  for (const DeclaredUse& use : DeclaredUses(examination)) {
    const Interface* interface = FindByName(examination.facts, use.interface);
    if (interface != nullptr && !interface->addresses.empty()) {
      held.push_back(interface->addresses[0]);
    }
  }
  bool is_shared = false;
  for (std::size_t i = 0; i < held.size(); ++i) {
    for (std::size_t j = i + 1; j < held.size(); ++j) {
      const int bits = std::min(held[i].prefix_length, held[j].prefix_length);
      if (NetworkOf(held[i].address, bits) == NetworkOf(held[j].address, bits)) {
        is_shared = true;
        report->Fail(
            "subnet.distinct",
            held[i].interface + " and " + held[j].interface,
            absl::StrFormat("both are in %s/%d", ToString(NetworkOf(held[i].address, bits)), bits),
            "a subnet of its own for each",
            "give each rail its own /24");
      }
    }
  }
  if (!is_shared) {
    report->Pass("subnet.distinct", "", "every declared interface has a subnet of its own");
  }
  // What this node declares against what the file says of the others.
  const auto check = [&](const char* plane,
                         const fabric::DeclaredPin& own,
                         const config::NodeConfig& peer,
                         const fabric::DeclaredPin& other) {
    for (const InterfaceAddress& address : held) {
      if (address.interface != own.interface || address.prefix_length == 0) {
        continue;
      }
      const std::string subject = absl::StrFormat("%s, node %s", plane, peer.name);
      const std::string found = absl::StrFormat("%s/%d here, %s there",
                                                ToString(own.address),
                                                address.prefix_length,
                                                ToString(other.address));
      if (NetworkOf(own.address, address.prefix_length) ==
          NetworkOf(other.address, address.prefix_length)) {
        report->Pass("subnet.peers", subject, found);
      } else {
        report->Fail("subnet.peers",
                     subject,
                     found,
                     "one subnet",
                     "correct the addresses of this link on one of the nodes");
      }
    }
  };
  for (const config::NodeConfig& peer : examination.config.nodes) {
    if (peer.name != examination.node.name) {
      check("control", examination.node.control, peer, peer.control);
      if (!peer.ranks.empty() && !examination.node.ranks.empty()) {
        check("bootstrap", examination.node.bootstrap, peer, peer.bootstrap);
      }
    }
  }
}

}  // namespace sparkspan::engine::doctor
