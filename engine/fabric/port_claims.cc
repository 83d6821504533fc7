#include "engine/fabric/port_claims.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/fabric/pinned_socket.h"

namespace sparkspan::engine::fabric {
namespace {

// Held while the port is; no descriptor where another process holds it. tests/integration/
// local_server.py claims by the same name.
UniqueFd Claim(std::uint16_t port) {
  UniqueFd claim(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // An abstract name: a zero, and no file.
  const std::string name = '\0' + absl::StrFormat("sparkspan/port/%d", port);
  std::copy(name.begin(), name.end(), address.sun_path);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  if (bind(claim.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    claim.Reset();
  }
  return claim;
}

bool IsFree(const DeclaredPin& pin, std::uint16_t port) {
  return ListenPinned(pin, port, LocalPeers::kSome, /*backlog=*/1).ok();
}

}  // namespace

absl::StatusOr<PortClaims> PortClaims::Make(const DeclaredPin& pin,
                                            std::size_t count,
                                            std::uint16_t except) {
  constexpr std::uint16_t kPorts = kLast - kFirst + 1;
  // From anywhere on, so that a port that has just been let go is seldom the next to be given.
  const auto start = static_cast<std::uint16_t>(std::random_device()() % kPorts);
  PortClaims claims;
  for (std::uint16_t i = 0; i < kPorts && claims.ports_.size() < count; ++i) {
    const auto port = static_cast<std::uint16_t>(kFirst + (start + i) % kPorts);
    if (port == except) {
      continue;
    }
    UniqueFd claim = Claim(port);
    if (claim.valid() && IsFree(pin, port)) {
      claims.ports_.push_back(port);
      claims.claims_.push_back(std::move(claim));
    }
  }
  if (claims.ports_.size() < count) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("found %d free ports of interface %s between %d and %d, expected %d: end "
                        "what listens there, or declare ports in a cluster.yaml",
                        claims.ports_.size(),
                        pin.interface,
                        kFirst,
                        kLast,
                        count));
  }
  return claims;
}

}  // namespace sparkspan::engine::fabric
