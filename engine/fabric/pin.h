#pragma once

#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/fabric/address.h"
#include "engine/fabric/interfaces.h"

namespace sparkspan::engine::fabric {

// An interface and the address on it that a plane of the cluster is declared to use.
struct DeclaredPin {
  std::string interface;  // The kernel's exact name.
  Ipv4Address address;

  bool operator==(const DeclaredPin&) const = default;
};

// A declared pin that was found to be so.
struct VerifiedPin {
  DeclaredPin declared;
  int interface_index = 0;  // To notice later that the interface was made anew.
  int prefix_length = 0;

  bool operator==(const VerifiedPin&) const = default;
};

// The interface with exactly this name. Anything else that a person may have meant (an alternative
// name, other case, a prefix, an address, a MAC, an RDMA device) is refused with the candidates and
// their state: a pin that guesses is none. `key` names the setting in messages, such as
// "nodes[1].control.interface".
absl::StatusOr<const Interface*> FindInterface(std::string_view key,
                                               const std::string& name,
                                               std::span<const Interface> interfaces,
                                               const AddressSource& addresses);

// That the declared interface exists, is up and holds the declared address, which no other
// interface holds. Unavailable: it only lacks its link or its address, which may come, as when the
// machine at the cable's other end is switched on. Other errors last until a person changes
// something.
absl::StatusOr<VerifiedPin> VerifyPin(std::string_view key,
                                      const DeclaredPin& declared,
                                      std::span<const Interface> interfaces,
                                      const AddressSource& addresses);

}  // namespace sparkspan::engine::fabric
