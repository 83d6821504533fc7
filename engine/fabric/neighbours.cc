#include "engine/fabric/neighbours.h"

#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <sstream>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/base/unique_fd.h"
#include "engine/fabric/kernel_files.h"
#include "engine/fabric/netlink.h"

namespace sparkspan::engine::fabric {
namespace {

constexpr std::uint16_t kDiscardPort = 9;
constexpr unsigned kAnswered = 0x2;  // ATF_COM

sockaddr_in SocketAddress(Ipv4Address address, std::uint16_t port) {
  sockaddr_in socket_address{};
  socket_address.sin_family = AF_INET;
  socket_address.sin_port = htons(port);
  socket_address.sin_addr.s_addr = htonl(address.bits);
  return socket_address;
}

absl::Status SendOne(const DeclaredPin& pin, Ipv4Address peer) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const sockaddr_in own = SocketAddress(pin.address, 0);
  const sockaddr_in other = SocketAddress(peer, kDiscardPort);
  const char byte = 0;
  if (!socket.valid() ||
      setsockopt(socket.get(),
                 SOL_SOCKET,
                 SO_BINDTODEVICE,
                 pin.interface.c_str(),
                 static_cast<socklen_t>(pin.interface.size() + 1)) != 0 ||
      bind(socket.get(), reinterpret_cast<const sockaddr*>(&own), sizeof(own)) != 0 ||
      sendto(socket.get(),
             &byte,
             1,
             MSG_NOSIGNAL,
             reinterpret_cast<const sockaddr*>(&other),
             sizeof(other)) < 0) {
    return absl::UnavailableError(absl::StrFormat(
        "cannot send to %s by %s: %s", ToString(peer), pin.interface, std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<Neighbour> ParseNeighbours(std::string_view table) {
  std::vector<Neighbour> neighbours;
  std::istringstream lines{std::string(table)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string address, kind, flags, mac, mask, interface;
    if (!(fields >> address >> kind >> flags >> mac >> mask >> interface)) {
      continue;
    }
    const absl::StatusOr<Ipv4Address> ipv4 = ParseIpv4(address);
    unsigned bits = 0;
    if (ipv4.ok() && std::istringstream(flags) >> std::hex >> bits && (bits & kAnswered) != 0) {
      neighbours.push_back({*ipv4, std::move(mac), std::move(interface)});
    }
  }
  return neighbours;
}

absl::StatusOr<std::string> FindNeighbour(const DeclaredPin& pin, Ipv4Address peer, Time deadline) {
  ASSIGN_OR_RETURN(const NetlinkSocket news, NetlinkSocket::Open(RTMGRP_NEIGH));
  RETURN_IF_ERROR(SendOne(pin, peer));
  absl::Status waited;
  while (waited.ok() || absl::IsDataLoss(waited)) {
    for (const Neighbour& neighbour : ParseNeighbours(ReadText("/proc/net/arp").value_or(""))) {
      if (neighbour.address == peer && neighbour.interface == pin.interface) {
        return neighbour.mac;
      }
    }
    waited = news.Receive(deadline).status();
  }
  return absl::DeadlineExceededError(
      absl::StrFormat("nobody answers for %s on %s", ToString(peer), pin.interface));
}

}  // namespace sparkspan::engine::fabric
