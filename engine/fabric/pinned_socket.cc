#include "engine/fabric/pinned_socket.h"

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/fabric/kernel_files.h"

namespace sparkspan::engine::fabric {
namespace {

std::string Name(const DeclaredPin& pin) {
  return absl::StrFormat("%s on interface %s", ToString(pin.address), pin.interface);
}

absl::Status SystemError(const char* what, const std::string& where) {
  return absl::UnavailableError(absl::StrFormat("%s %s: %s", what, where, std::strerror(errno)));
}

sockaddr_in ToSockaddr(const Endpoint& endpoint) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(endpoint.port);
  address.sin_addr.s_addr = htonl(endpoint.address.bits);
  return address;
}

absl::StatusOr<Endpoint> EndpointOf(int socket, decltype(&getsockname) read, const char* what) {
  sockaddr_storage storage{};
  socklen_t bytes = sizeof(storage);
  if (read(socket, reinterpret_cast<sockaddr*>(&storage), &bytes) != 0) {
    return SystemError("cannot read a socket's", what);
  }
  sockaddr_in6 ipv6{};
  std::memcpy(&ipv6, &storage, sizeof(ipv6));
  if (storage.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr)) {
    // An IPv6 socket that speaks IPv4, as gRPC makes them.
    std::uint32_t bits = 0;
    std::memcpy(&bits, ipv6.sin6_addr.s6_addr + 12, sizeof(bits));
    return Endpoint{Ipv4Address{ntohl(bits)}, ntohs(ipv6.sin6_port)};
  }
  if (storage.ss_family != AF_INET) {
    return absl::FailedPreconditionError(
        absl::StrFormat("a socket's %s is not of IPv4 but of family %d", what, storage.ss_family));
  }
  sockaddr_in address{};
  std::memcpy(&address, &storage, sizeof(address));
  return Endpoint{Ipv4Address{ntohl(address.sin_addr.s_addr)}, ntohs(address.sin_port)};
}

// Whether packets to `peer` stay inside this machine and so never reach the pin's interface. A node
// has one address per plane (engine/config checks it), so that a peer on this machine has the pin's
// own. Loopback peers of the loopback interface do travel on the pin.
bool BypassesInterface(const DeclaredPin& pin, Ipv4Address peer) {
  return peer == pin.address && !pin.address.IsLoopback();
}

absl::Status BindToDevice(int socket, const std::string& interface) {
  if (interface.empty() || interface.size() >= IFNAMSIZ) {
    return absl::InvalidArgumentError(
        absl::StrFormat("'%s' is no interface: a name has 1 to %d bytes", interface, IFNAMSIZ - 1));
  }
  if (setsockopt(socket,
                 SOL_SOCKET,
                 SO_BINDTODEVICE,
                 interface.c_str(),
                 static_cast<socklen_t>(interface.size() + 1)) == 0) {
    return absl::OkStatus();
  }
  // Not permitted: the source address still holds the socket, and ProvePath reports which it was.
  return errno == EPERM ? absl::OkStatus()
                        : SystemError("cannot bind a socket to interface", interface);
}

absl::StatusOr<UniqueFd> OpenSocket() {
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) {
    return SystemError("cannot open", "a socket");
  }
  return socket;
}

absl::Status BindToAddress(int socket, const DeclaredPin& pin, std::uint16_t port) {
  if (pin.address.IsWildcard()) {
    return absl::InvalidArgumentError(
        "0.0.0.0 is every interface; declare the address of the pinned one");
  }
  const sockaddr_in address = ToSockaddr({pin.address, port});
  if (bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return SystemError("cannot bind to", absl::StrFormat("%s, port %d", Name(pin), port));
  }
  return absl::OkStatus();
}

}  // namespace

std::string_view ToString(Binding binding) {
  switch (binding) {
    case Binding::kDevice:
      return "device";
    case Binding::kSourceAddress:
      return "source address";
    case Binding::kSameMachine:
      return "same machine";
  }
  return "?";
}

absl::StatusOr<UniqueFd> ListenPinned(const DeclaredPin& pin,
                                      std::uint16_t port,
                                      LocalPeers local_peers,
                                      int backlog) {
  ASSIGN_OR_RETURN(UniqueFd listener, OpenSocket());
  // A restarted daemon takes its port again while old connections drain; a live listener on it is
  // still an error.
  const int on = 1;
  setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (local_peers == LocalPeers::kNone) {
    RETURN_IF_ERROR(BindToDevice(listener.get(), pin.interface));
  }
  RETURN_IF_ERROR(BindToAddress(listener.get(), pin, port));
  if (listen(listener.get(), backlog) != 0) {
    return SystemError("cannot listen on", absl::StrFormat("%s, port %d", Name(pin), port));
  }
  return listener;
}

absl::StatusOr<UniqueFd> OpenPinned(const DeclaredPin& pin, Ipv4Address peer) {
  ASSIGN_OR_RETURN(UniqueFd socket, OpenSocket());
  if (!BypassesInterface(pin, peer)) {
    RETURN_IF_ERROR(BindToDevice(socket.get(), pin.interface));
  }
  // The port is chosen at connect, so that many connections may share the address.
  const int on = 1;
  setsockopt(socket.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
  RETURN_IF_ERROR(BindToAddress(socket.get(), pin, 0));
  return socket;
}

absl::Status BindToPath(int socket, const DeclaredPin& pin) {
  ASSIGN_OR_RETURN(const Endpoint peer, PeerEndpoint(socket));
  return BypassesInterface(pin, peer.address) ? absl::OkStatus()
                                              : BindToDevice(socket, pin.interface);
}

absl::StatusOr<SocketPath> ProvePath(int socket,
                                     const DeclaredPin& pin,
                                     Ipv4Address peer,
                                     const AddressSource& addresses) {
  SocketPath path;
  ASSIGN_OR_RETURN(path.local, LocalEndpoint(socket));
  ASSIGN_OR_RETURN(path.peer, PeerEndpoint(socket));
  if (path.peer.address != peer) {
    return absl::PermissionDeniedError(absl::StrFormat(
        "the peer's address is %s, declared is %s", ToString(path.peer.address), ToString(peer)));
  }
  ASSIGN_OR_RETURN(const std::vector<InterfaceAddress> held, addresses.Addresses());
  for (const InterfaceAddress& one : held) {
    // 127.0.0.0/8 belongs to loopback as a whole, whichever address of it is used.
    const int bits = one.address.IsLoopback() ? one.prefix_length : 32;
    if (NetworkOf(one.address, bits) == NetworkOf(path.local.address, bits)) {
      path.interface = one.interface;
    }
  }
  if (path.local.address != pin.address || path.interface != pin.interface) {
    return absl::FailedPreconditionError(
        absl::StrFormat("the connection to %s leaves from %s on interface '%s', but %s is declared",
                        ToString(path.peer),
                        ToString(path.local.address),
                        path.interface,
                        Name(pin)));
  }
  char device[IFNAMSIZ] = {};
  socklen_t bytes = sizeof(device);
  if (getsockopt(socket, SOL_SOCKET, SO_BINDTODEVICE, device, &bytes) == 0 && device[0] != '\0') {
    if (pin.interface != device) {
      return absl::FailedPreconditionError(
          absl::StrFormat("the connection to %s is bound to interface '%s', but %s is declared",
                          ToString(path.peer),
                          device,
                          Name(pin)));
    }
    path.binding = Binding::kDevice;
    return path;
  }
  path.binding =
      BypassesInterface(pin, path.peer.address) ? Binding::kSameMachine : Binding::kSourceAddress;
  return path;
}

absl::StatusOr<SocketPath> HoldConnection(const DeclaredPin& pin,
                                          const Endpoint& peer,
                                          const AddressSource& addresses) {
  for (const std::string& name : EntryNames("/proc/self/fd")) {
    // A copy, since the owner may close its own at any time, and its number be used again.
    const UniqueFd socket(fcntl(std::stoi(name), F_DUPFD_CLOEXEC, 0));
    if (!socket.valid()) {
      continue;
    }
    const absl::StatusOr<Endpoint> its_peer = PeerEndpoint(socket.get());
    const absl::StatusOr<Endpoint> its_own = LocalEndpoint(socket.get());
    if (its_peer.ok() && *its_peer == peer && its_own.ok() && its_own->address == pin.address) {
      RETURN_IF_ERROR(BindToPath(socket.get(), pin));
      return ProvePath(socket.get(), pin, peer.address, addresses);
    }
  }
  return absl::NotFoundError(
      absl::StrFormat("this process has no connection of %s to %s", ToString(peer), Name(pin)));
}

absl::StatusOr<Endpoint> LocalEndpoint(int socket) {
  return EndpointOf(socket, &getsockname, "local address");
}

absl::StatusOr<Endpoint> PeerEndpoint(int socket) {
  return EndpointOf(socket, &getpeername, "peer address");
}

}  // namespace sparkspan::engine::fabric
