#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/base/unique_fd.h"
#include "engine/fabric/address.h"
#include "engine/fabric/interfaces.h"
#include "engine/fabric/pin.h"

// TCP sockets that cannot stray from a declared interface (docs/decisions/0009). All are
// non-blocking and close on exec. Errors name the interface and the addresses.
namespace sparkspan::engine::fabric {

// What keeps a socket's packets on its interface, from the strongest on.
enum class Binding : std::uint8_t {
  kDevice,         // SO_BINDTODEVICE: packets leave and arrive by the interface or not at all.
  kSourceAddress,  // The kernel refused SO_BINDTODEVICE: only the source address is fixed.
  kSameMachine,    // The peer's address is this machine's: the kernel delivers through loopback.
};

std::string_view ToString(Binding binding);

// Where a connected socket was found to lie.
struct SocketPath {
  Endpoint local;
  Endpoint peer;
  std::string interface;  // Holds the local address.
  Binding binding = Binding::kSourceAddress;
};

// Whether peers of a listening socket may be other processes of this machine. Then the socket is
// bound to the address only, since a device-bound one never hears them, and each accepted
// connection is bound by BindToPath.
enum class LocalPeers : std::uint8_t { kNone, kSome };

// Listens on the pinned address and `port` (0: any free one), never on a wildcard.
absl::StatusOr<UniqueFd> ListenPinned(const DeclaredPin& pin,
                                      std::uint16_t port,
                                      LocalPeers local_peers,
                                      int backlog);

// A socket that will connect to `peer` from the pinned address; the connection itself is the
// caller's, as is waiting for it.
absl::StatusOr<UniqueFd> OpenPinned(const DeclaredPin& pin, Ipv4Address peer);

// Binds an accepted connection to the pin's interface, unless its peer is on this machine.
absl::Status BindToPath(int socket, const DeclaredPin& pin);

// After a connection is made: proves by getsockname, the interfaces' addresses and a read back of
// SO_BINDTODEVICE that the socket lies on the pin and ends at `peer`'s address.
absl::StatusOr<SocketPath> ProvePath(int socket,
                                     const DeclaredPin& pin,
                                     Ipv4Address peer,
                                     const AddressSource& addresses);

// The same two for a connection of this process whose socket belongs to a library that has no hook
// for it, as gRPC's server has none: binds the connection that `peer` has made to the pin's
// address, so that the kernel cannot send its answers by another way when the interface loses its
// link, and proves it. NotFound when this process has no such connection. Call while it is in use.
absl::StatusOr<SocketPath> HoldConnection(const DeclaredPin& pin,
                                          const Endpoint& peer,
                                          const AddressSource& addresses);

absl::StatusOr<Endpoint> LocalEndpoint(int socket);
absl::StatusOr<Endpoint> PeerEndpoint(int socket);

}  // namespace sparkspan::engine::fabric
