#include "engine/fabric/interfaces.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/fabric/deadline_call.h"
#include "engine/fabric/kernel_files.h"

namespace sparkspan::engine::fabric {
namespace {

namespace fs = std::filesystem;

std::uint32_t Ipv4Bits(const sockaddr* address) {
  sockaddr_in ipv4{};
  std::memcpy(&ipv4, address, sizeof(ipv4));
  return ntohl(ipv4.sin_addr.s_addr);
}

}  // namespace

Interface ReadInterface(const fs::path& sysfs, const std::string& name) {
  const fs::path folder = sysfs / "class" / "net" / name;
  Interface interface;
  interface.name = name;
  interface.index = static_cast<int>(ReadNumber(folder / "ifindex").value_or(0));
  interface.operstate = ReadLine(folder / "operstate");
  interface.carrier = ReadNumber(folder / "carrier").value_or(0) == 1;
  // Drivers say -1 for "unknown".
  interface.speed_mbps = ReadNumber(folder / "speed");
  if (interface.speed_mbps.value_or(0) <= 0) {
    interface.speed_mbps.reset();
  }
  interface.duplex = ReadLine(folder / "duplex");
  interface.mtu = ReadNumber(folder / "mtu").value_or(0);
  interface.mac = ReadLine(folder / "address");
  interface.phys_port_name = ReadLine(folder / "phys_port_name");
  interface.driver = LinkName(folder / "device" / "driver");
  if (LinkName(folder / "device" / "subsystem") == "pci") {
    interface.pci_address = LinkName(folder / "device");
  }
  interface.rdma_devices = EntryNames(folder / "device" / "infiniband");
  interface.pcie_width = ReadNumber(folder / "device" / "current_link_width");
  interface.pcie_width_max = ReadNumber(folder / "device" / "max_link_width");
  interface.pcie_speed = ReadLine(folder / "device" / "current_link_speed");
  interface.pcie_speed_max = ReadLine(folder / "device" / "max_link_speed");
  std::error_code fault;
  interface.is_wireless =
      fs::exists(folder / "wireless", fault) || fs::exists(folder / "phy80211", fault);
  return interface;
}

namespace {

absl::StatusOr<std::vector<InterfaceAddress>> ListAddresses() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) {
    return absl::UnavailableError(
        absl::StrFormat("cannot list the interfaces' addresses: %s", std::strerror(errno)));
  }
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, freeifaddrs);
  std::vector<InterfaceAddress> addresses;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET) {
      continue;
    }
    // A second address of one interface may carry a label, "eth0:1", which is no name.
    std::string name = entry->ifa_name;
    name = name.substr(0, name.find(':'));
    const std::uint32_t mask = entry->ifa_netmask == nullptr ? ~0u : Ipv4Bits(entry->ifa_netmask);
    addresses.push_back(
        {std::move(name), Ipv4Address{Ipv4Bits(entry->ifa_addr)}, std::popcount(mask)});
  }
  return addresses;
}

}  // namespace

absl::StatusOr<std::vector<InterfaceAddress>> KernelAddressSource::Addresses() const {
  // getifaddrs asks by netlink.
  return CallWithDeadline<std::vector<InterfaceAddress>>(
      "listing the interfaces' addresses", kNetlinkTimeout, ListAddresses);
}

std::optional<std::string> KernelAddressSource::KernelName(const std::string& name) const {
  char kernel_name[IF_NAMESIZE] = {};
  const unsigned index = if_nametoindex(name.c_str());
  if (index == 0 || if_indextoname(index, kernel_name) == nullptr) {
    return std::nullopt;
  }
  return kernel_name;
}

absl::StatusOr<std::vector<Interface>> ListInterfaces(const fs::path& sysfs,
                                                      const AddressSource& addresses) {
  const fs::path folder = sysfs / "class" / "net";
  std::error_code fault;
  if (!fs::is_directory(folder, fault)) {
    return absl::NotFoundError(
        absl::StrFormat("no interfaces under %s; is sysfs mounted?", folder.string()));
  }
  ASSIGN_OR_RETURN(const std::vector<InterfaceAddress> held, addresses.Addresses());
  std::vector<Interface> interfaces;
  for (const std::string& name : EntryNames(folder)) {
    // bonding_masters lies beside the interfaces and is a plain file.
    if (!fs::is_directory(folder / name, fault)) {
      continue;
    }
    Interface interface = ReadInterface(sysfs, name);
    std::copy_if(held.begin(),
                 held.end(),
                 std::back_inserter(interface.addresses),
                 [&](const InterfaceAddress& address) { return address.interface == name; });
    interfaces.push_back(std::move(interface));
  }
  return interfaces;
}

std::string CageOf(const Interface& interface) {
  if (!interface.phys_port_name.empty()) {
    return interface.phys_port_name;
  }
  const std::size_t dot = interface.pci_address.rfind('.');
  return interface.driver != "mlx5_core" || dot == std::string::npos
             ? ""
             : "f" + interface.pci_address.substr(dot + 1);
}

bool AreHalves(const Interface& a, const Interface& b) {
  return a.name != b.name && !CageOf(a).empty() && CageOf(a) == CageOf(b) &&
         a.pci_address.substr(0, 4) != b.pci_address.substr(0, 4);
}

std::string Describe(const Interface& interface) {
  std::string text = absl::StrFormat("%s (%s", interface.name, interface.is_up() ? "up" : "down");
  if (!interface.is_up() && !interface.operstate.empty() && interface.operstate != "down") {
    text += interface.operstate == "up" ? ": no carrier" : ": " + interface.operstate;
  }
  if (interface.speed_mbps.has_value()) {
    text += absl::StrFormat(", %d Mb/s", *interface.speed_mbps);
  }
  if (interface.addresses.empty()) {
    text += ", no IPv4 address";
  }
  for (const InterfaceAddress& held : interface.addresses) {
    text += absl::StrFormat(", %s/%d", ToString(held.address), held.prefix_length);
  }
  return text + ")";
}

}  // namespace sparkspan::engine::fabric
