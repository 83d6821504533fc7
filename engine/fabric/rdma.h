#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/fabric/address.h"
#include "engine/fabric/interfaces.h"

// RDMA devices as <sysfs>/class/infiniband shows them. A device is not a netdev: the table of GIDs
// says which netdev and which address each of its entries belongs to.
namespace sparkspan::engine::fabric {

using Gid = std::array<std::uint8_t, 16>;

struct GidEntry {
  int index = 0;
  Gid gid{};
  std::string type;    // "IB/RoCE v1", "RoCE v2"
  std::string netdev;  // The interface whose address it is: a VLAN's or a bond's too.

  bool operator==(const GidEntry&) const = default;
};

// A port of an RDMA device, the first one: every device of a ConnectX-7 function has no other.
struct RdmaPort {
  std::string device;
  std::string state;                 // "4: ACTIVE"; NCCL leaves out other ports without a word
  std::string link_layer;            // "Ethernet", "InfiniBand"
  std::vector<std::string> netdevs;  // of its PCI function
  std::vector<GidEntry> gids;        // without the empty slots

  bool is_active() const { return state.find("ACTIVE") != std::string::npos; }
};

// In the order of their names; none where there is no RDMA driver.
std::vector<RdmaPort> ListRdmaPorts(const std::filesystem::path& sysfs);

// "fe80:0000:..." as sysfs writes it, into bytes.
absl::StatusOr<Gid> ParseGid(std::string_view text);

// "::ffff:192.168.177.1" for an IPv4-mapped GID, else groups of hexadecimal digits.
std::string ToString(const Gid& gid);

// The lowest index of a RoCE v2 entry of `netdev` whose GID is the IPv4-mapped `address`. It
// differs between nodes and between the functions of one, and changes with every change of
// addresses, so it is looked up whenever it is needed. NotFound says what the table holds.
absl::StatusOr<int> FindGidIndex(const RdmaPort& port,
                                 std::string_view netdev,
                                 Ipv4Address address);

// One rail of `data`: a netdev and an RDMA device on the same function, whichever was named.
struct Rail {
  std::string name;         // as declared
  std::string netdev;       // empty where the RDMA device has none
  std::string rdma_device;  // empty where the netdev has none

  bool operator==(const Rail&) const = default;
};

// The rail that `name` declares. `key` names the setting in messages. NotFound lists what there is;
// an RDMA device of several netdevs is ambiguous and refused.
absl::StatusOr<Rail> ResolveRail(std::string_view key,
                                 const std::string& name,
                                 std::span<const Interface> interfaces,
                                 std::span<const RdmaPort> ports);

}  // namespace sparkspan::engine::fabric
