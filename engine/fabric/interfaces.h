#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/fabric/address.h"

namespace sparkspan::engine::fabric {

struct InterfaceAddress {
  std::string interface;
  Ipv4Address address;
  int prefix_length = 0;

  bool operator==(const InterfaceAddress&) const = default;
};

// What the kernel says of a machine's interfaces beyond sysfs. Behind an interface so that tests
// describe machines that they do not have.
class AddressSource {
 public:
  virtual ~AddressSource() = default;

  // Every IPv4 address that an interface holds.
  virtual absl::StatusOr<std::vector<InterfaceAddress>> Addresses() const = 0;

  // The kernel's own name of the interface that `name` denotes, which differs when `name` is one of
  // its alternative names; empty when there is none.
  virtual std::optional<std::string> KernelName(const std::string& name) const = 0;
};

// getifaddrs and if_nametoindex of this process's network namespace. Addresses fails with
// DeadlineExceeded after kNetlinkTimeout.
class KernelAddressSource final : public AddressSource {
 public:
  absl::StatusOr<std::vector<InterfaceAddress>> Addresses() const override;
  std::optional<std::string> KernelName(const std::string& name) const override;
};

// One network interface, from <sysfs>/class/net/NAME. A file that cannot be read (a link that is
// down answers EINVAL for some) leaves its field empty.
struct Interface {
  std::string name;
  int index = 0;          // Changes when the interface is made anew.
  std::string operstate;  // up, down, lowerlayerdown, unknown (loopback, tun), ...
  bool carrier = false;
  std::optional<std::int64_t> speed_mbps;
  std::string duplex;  // full, half
  std::int64_t mtu = 0;
  std::string driver;  // Of its PCI or USB function; empty for virtual ones.
  std::string mac;
  std::string phys_port_name;              // p0 or p1 for the cages of a ConnectX.
  std::string pci_address;                 // 0000:01:00.1; empty for virtual ones.
  std::optional<std::int64_t> pcie_width;  // Lanes in use, and the most that the slot has.
  std::optional<std::int64_t> pcie_width_max;
  std::string pcie_speed;  // "32.0 GT/s PCIe"; likewise
  std::string pcie_speed_max;
  bool is_wireless = false;
  std::vector<std::string> rdma_devices;
  std::vector<InterfaceAddress> addresses;

  bool is_virtual() const { return pci_address.empty() && driver.empty(); }

  // Can carry packets: a carrier, and operstate "up", or "unknown", which is how loopback and other
  // interfaces without link detection say it. Both: after a change of the carrier the kernel may
  // take a second to say it in operstate.
  bool is_up() const { return carrier && (operstate == "up" || operstate == "unknown"); }
};

// The interface of this name as <sysfs>/class/net has it, without its addresses. All fields are
// empty where there is none.
Interface ReadInterface(const std::filesystem::path& sysfs, const std::string& name);

// The machine's interfaces in the order of their names. `sysfs` is "/sys" or a fixture.
absl::StatusOr<std::vector<Interface>> ListInterfaces(const std::filesystem::path& sysfs,
                                                      const AddressSource& addresses);

// Which cage of its NIC an interface belongs to, the same for both halves of one: phys_port_name,
// or the function's number of its PCI address ("f1") where the kernel does not say. Empty for what
// is no ConnectX.
std::string CageOf(const Interface& interface);

// Two halves of one cage: of one name, in different PCI domains.
bool AreHalves(const Interface& a, const Interface& b);

// "enp1s0f1np1 (up, 200000 Mb/s, 192.168.177.1/24)": for messages and the status page.
std::string Describe(const Interface& interface);

}  // namespace sparkspan::engine::fabric
