#include "engine/fabric/link_facts.h"

#include <algorithm>
#include <vector>

#include "engine/fabric/interfaces.h"
#include "engine/fabric/kernel_files.h"
#include "engine/fabric/rdma.h"

namespace sparkspan::engine::fabric {
namespace {

void ReadGid(const RdmaPort& port, const DeclaredPin& pin, LinkFacts* facts) {
  const absl::StatusOr<int> index = FindGidIndex(port, pin.interface, pin.address);
  if (!index.ok()) {
    return;
  }
  facts->gid_index = *index;
  const auto entry = std::find_if(
      port.gids.begin(), port.gids.end(), [&](const GidEntry& one) { return one.index == *index; });
  facts->gid = entry == port.gids.end() ? "" : ToString(entry->gid);
}

}  // namespace

LinkFacts ReadLinkFacts(const std::filesystem::path& sysfs, const DeclaredPin& pin) {
  const Interface interface = ReadInterface(sysfs, pin.interface);
  LinkFacts facts;
  facts.mtu = interface.mtu;
  facts.speed_mbps = interface.speed_mbps.value_or(0);
  facts.duplex = interface.duplex;
  facts.pcie_width = interface.pcie_width.value_or(0);
  facts.pcie_speed = interface.pcie_speed;
  facts.driver = interface.driver;
  facts.network_namespace = LinkName("/proc/thread-self/ns/net");
  if (interface.rdma_devices.empty()) {
    return facts;
  }
  facts.rdma_device = interface.rdma_devices[0];
  for (const RdmaPort& port : ListRdmaPorts(sysfs)) {
    if (port.device == facts.rdma_device) {
      ReadGid(port, pin, &facts);
    }
  }
  return facts;
}

}  // namespace sparkspan::engine::fabric
