#include "engine/config/propose_netplan.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "engine/fabric/interfaces.h"

namespace sparkspan::engine::config {
namespace {

using fabric::Interface;

constexpr int kFirstSubnet = 177;  // 192.168.177.0/24, then .178 and on
constexpr std::size_t kSubnetsMax = 8;

// 169.254/16: netplan's link-local addresses change, and no node knows the other's.
bool IsLinkLocal(const fabric::InterfaceAddress& held) {
  constexpr fabric::Ipv4Address kNetwork{0xA9FE0000};
  return NetworkOf(held.address, 16) == kNetwork;
}

// The ports of the first cage that is cabled, in the order of their PCI addresses, so that equal
// places are equal halves.
std::vector<const Interface*> CabledPorts(const NodeDescription& node) {
  std::vector<const Interface*> ports;
  for (const Interface& interface : node.interfaces) {
    if (IsFabric(interface) && interface.is_up()) {
      ports.push_back(&interface);
    }
  }
  std::sort(ports.begin(), ports.end(), [](const Interface* a, const Interface* b) {
    return a->pci_address < b->pci_address;
  });
  if (!ports.empty()) {
    const std::string cage = CageOf(*ports[0]);
    std::erase_if(ports, [&](const Interface* port) { return CageOf(*port) != cage; });
  }
  ports.resize(std::min(ports.size(), kSubnetsMax));
  return ports;
}

bool HasStaticAddress(const Interface& interface) {
  return std::any_of(interface.addresses.begin(), interface.addresses.end(), [](const auto& held) {
    return !IsLinkLocal(held);
  });
}

}  // namespace

std::string MissingNetplan(const std::vector<NodeDescription>& nodes) {
  bool is_missing = false;
  std::string text;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const std::vector<const Interface*> ports = CabledPorts(nodes[i]);
    if (ports.empty()) {
      return "";  // Without a cable at every node there is nothing to give addresses to.
    }
    text += absl::StrFormat(
        "# %s: /etc/netplan/60-sparkspan.yaml, mode 600, then `netplan apply`\n"
        "network:\n  version: 2\n  ethernets:\n",
        nodes[i].name);
    for (std::size_t j = 0; j < ports.size(); ++j) {
      is_missing = is_missing || !HasStaticAddress(*ports[j]);
      text += absl::StrFormat(
          "    %s: {dhcp4: no, dhcp6: no, link-local: [], mtu: 9000, optional: true, "
          "addresses: [192.168.%d.%d/24]}\n",
          ports[j]->name,
          kFirstSubnet + static_cast<int>(j),
          static_cast<int>(i) + 1);
    }
  }
  return is_missing ? text : "";
}

}  // namespace sparkspan::engine::config
