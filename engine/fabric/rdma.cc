#include "engine/fabric/rdma.h"

#include <algorithm>
#include <charconv>
#include <system_error>

#include "absl/strings/str_format.h"
#include "engine/fabric/kernel_files.h"

namespace sparkspan::engine::fabric {
namespace {

namespace fs = std::filesystem;

constexpr int kGidsMax = 1024;  // The kernel's tables have at most 256 entries today.
constexpr std::string_view kRoceV2 = "RoCE v2";

std::vector<GidEntry> ReadGids(const fs::path& port) {
  std::vector<GidEntry> entries;
  std::error_code fault;
  for (int i = 0; i < kGidsMax; ++i) {
    const std::string slot = std::to_string(i);
    if (!fs::exists(port / "gids" / slot, fault)) {
      break;
    }
    const absl::StatusOr<Gid> gid = ParseGid(ReadLine(port / "gids" / slot));
    if (!gid.ok() || *gid == Gid{}) {
      continue;  // An empty slot, whose type and netdev refuse to be read.
    }
    entries.push_back({i,
                       *gid,
                       ReadLine(port / "gid_attrs" / "types" / slot),
                       ReadLine(port / "gid_attrs" / "ndevs" / slot)});
  }
  return entries;
}

bool IsMapped(const Gid& gid) {
  return std::all_of(gid.begin(), gid.begin() + 10, [](std::uint8_t byte) { return byte == 0; }) &&
         gid[10] == 0xFF && gid[11] == 0xFF;
}

Ipv4Address MappedAddress(const Gid& gid) {
  return {std::uint32_t{gid[12]} << 24 | std::uint32_t{gid[13]} << 16 |
          std::uint32_t{gid[14]} << 8 | gid[15]};
}

std::string Describe(std::span<const GidEntry> entries) {
  std::string text;
  for (const GidEntry& entry : entries) {
    text += absl::StrFormat("%s%d: %s (%s, %s)",
                            text.empty() ? "" : ", ",
                            entry.index,
                            ToString(entry.gid),
                            entry.type,
                            entry.netdev);
  }
  return text.empty() ? "nothing" : text;
}

std::string JoinNames(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    text += (text.empty() ? "" : ", ") + name;
  }
  return text;
}

}  // namespace

std::vector<RdmaPort> ListRdmaPorts(const fs::path& sysfs) {
  std::vector<RdmaPort> ports;
  const fs::path folder = sysfs / "class" / "infiniband";
  for (const std::string& device : EntryNames(folder)) {
    const fs::path port = folder / device / "ports" / "1";
    ports.push_back({device,
                     ReadLine(port / "state"),
                     ReadLine(port / "link_layer"),
                     EntryNames(folder / device / "device" / "net"),
                     ReadGids(port)});
  }
  return ports;
}

absl::StatusOr<Gid> ParseGid(std::string_view text) {
  const absl::Status malformed = absl::InvalidArgumentError(absl::StrFormat(
      "'%s' is no GID; expected eight groups of four hexadecimal digits", std::string(text)));
  Gid gid{};
  if (text.size() != 39) {
    return malformed;
  }
  for (std::size_t group = 0; group < 8; ++group) {
    const char* first = text.data() + 5 * group;
    std::uint16_t value = 0;
    const auto [end, fault] = std::from_chars(first, first + 4, value, 16);
    if (fault != std::errc() || end != first + 4 || (group < 7 && first[4] != ':')) {
      return malformed;
    }
    gid[2 * group] = static_cast<std::uint8_t>(value >> 8);
    gid[2 * group + 1] = static_cast<std::uint8_t>(value & 0xFF);
  }
  return gid;
}

std::string ToString(const Gid& gid) {
  if (IsMapped(gid)) {
    return "::ffff:" + ToString(MappedAddress(gid));
  }
  std::string text;
  for (std::size_t group = 0; group < 8; ++group) {
    text +=
        absl::StrFormat("%s%02x%02x", group == 0 ? "" : ":", gid[2 * group], gid[2 * group + 1]);
  }
  return text;
}

absl::StatusOr<int> FindGidIndex(const RdmaPort& port,
                                 std::string_view netdev,
                                 Ipv4Address address) {
  for (const GidEntry& entry : port.gids) {
    if (entry.type == kRoceV2 && entry.netdev == netdev && IsMapped(entry.gid) &&
        MappedAddress(entry.gid) == address) {
      return entry.index;
    }
  }
  return absl::NotFoundError(
      absl::StrFormat("no RoCE v2 GID for %s of %s on %s; its table holds %s",
                      ToString(address),
                      std::string(netdev),
                      port.device,
                      Describe(port.gids)));
}

absl::StatusOr<Rail> ResolveRail(std::string_view key,
                                 const std::string& name,
                                 std::span<const Interface> interfaces,
                                 std::span<const RdmaPort> ports) {
  std::string present;
  for (const Interface& interface : interfaces) {
    if (interface.name == name) {
      return Rail{name, name, interface.rdma_devices.empty() ? "" : interface.rdma_devices[0]};
    }
    if (!interface.rdma_devices.empty() || !interface.is_virtual()) {
      present += (present.empty() ? "" : ", ") + Describe(interface);
    }
  }
  for (const RdmaPort& port : ports) {
    if (port.device != name) {
      present += (present.empty() ? "" : ", ") + port.device;
      continue;
    }
    if (port.netdevs.size() > 1) {
      return absl::FailedPreconditionError(
          absl::StrFormat("%s: RDMA device '%s' belongs to several interfaces (%s); name the one "
                          "that is meant",
                          std::string(key),
                          name,
                          JoinNames(port.netdevs)));
    }
    return Rail{name, port.netdevs.empty() ? "" : port.netdevs[0], name};
  }
  return absl::NotFoundError(
      absl::StrFormat("%s: no interface and no RDMA device is named exactly '%s'; present: %s",
                      std::string(key),
                      name,
                      present.empty() ? "none" : present));
}

}  // namespace sparkspan::engine::fabric
