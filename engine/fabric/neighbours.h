#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/fabric/address.h"
#include "engine/fabric/pin.h"

namespace sparkspan::engine::fabric {

// Who answered for an address on an interface.
struct Neighbour {
  Ipv4Address address;
  std::string mac;  // lower case
  std::string interface;

  bool operator==(const Neighbour&) const = default;
};

// Those of /proc/net/arp that have answered.
std::vector<Neighbour> ParseNeighbours(std::string_view table);

// The MAC that answers for `peer` on the pin's interface. No program has to run there: a packet to
// the discard port makes the kernel ask for the address (ARP), on this interface and no other.
// DeadlineExceeded: nobody answered.
absl::StatusOr<std::string> FindNeighbour(const DeclaredPin& pin, Ipv4Address peer, Time deadline);

}  // namespace sparkspan::engine::fabric
