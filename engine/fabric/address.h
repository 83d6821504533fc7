#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace sparkspan::engine::fabric {

// An IPv4 address. The fabric has no other: RoCE v2 is chosen by its IPv4-mapped GID, and IPv6
// link-local addresses are what pinning keeps out.
struct Ipv4Address {
  std::uint32_t bits = 0;  // In host order: 127.0.0.1 is 0x7F000001.

  bool operator==(const Ipv4Address&) const = default;
  auto operator<=>(const Ipv4Address&) const = default;

  bool IsLoopback() const { return bits >> 24 == 127; }
  bool IsWildcard() const { return bits == 0; }
};

// The address that dotted-quad `text` names. No host names, no leading zeros.
absl::StatusOr<Ipv4Address> ParseIpv4(std::string_view text);

std::string ToString(Ipv4Address address);

// Whether `text` is an IPv4 or IPv6 address and no host name: what the API may listen on.
bool IsNumericAddress(const std::string& text);

// The address's network with `prefix_length` (0 to 32) leading bits.
Ipv4Address NetworkOf(Ipv4Address address, int prefix_length);

// Where a socket listens or what it connects to.
struct Endpoint {
  Ipv4Address address;
  std::uint16_t port = 0;

  bool operator==(const Endpoint&) const = default;
};

std::string ToString(const Endpoint& endpoint);

// Of "192.168.177.1:7100".
absl::StatusOr<Endpoint> ParseEndpoint(std::string_view text);

}  // namespace sparkspan::engine::fabric
