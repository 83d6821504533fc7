#include "engine/doctor/probe_connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/fabric/pinned_socket.h"

namespace sparkspan::engine::doctor {
namespace {

constexpr std::uint32_t kMagic = 0x42505353;  // "SSPB", little-endian as all of the header
constexpr std::uint16_t kVersion = 2;
constexpr std::uint64_t kRequestMax = static_cast<std::uint64_t>(ProbeRequest::kListen);
constexpr std::size_t kHeaderBytes = 16;
constexpr std::int64_t kHeadersBytes = 40;  // IPv4's and TCP's, without options
constexpr std::int64_t kTimestampBytes = 12;

using Header = std::array<char, kHeaderBytes>;

void Put(Header* header, std::size_t at, std::size_t bytes, std::uint64_t value) {
  for (std::size_t i = 0; i < bytes; ++i) {
    (*header)[at + i] = static_cast<char>(value >> (8 * i) & 0xFF);
  }
}

std::uint64_t Get(const Header& header, std::size_t at, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    value |= std::uint64_t{static_cast<unsigned char>(header[at + i])} << (8 * i);
  }
  return value;
}

absl::Status SystemError(const char* what) {
  return absl::UnavailableError(absl::StrFormat("%s: %s", what, std::strerror(errno)));
}

}  // namespace

absl::Status WaitForSocket(int socket, short events, Time deadline) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  pollfd polled{socket, events, 0};
  if (left.count() <= 0 ||
      poll(&polled, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 3'600'000))) == 0) {
    return absl::DeadlineExceededError("no answer in time");
  }
  return absl::OkStatus();
}

absl::StatusOr<ProbeConnection> ProbeConnection::Connect(const fabric::DeclaredPin& pin,
                                                         const fabric::Endpoint& peer,
                                                         Time deadline) {
  ASSIGN_OR_RETURN(UniqueFd socket, fabric::OpenPinned(pin, peer.address));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(peer.port);
  address.sin_addr.s_addr = htonl(peer.address.bits);
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 &&
      errno != EINPROGRESS) {
    return SystemError("cannot connect");
  }
  RETURN_IF_ERROR(WaitForSocket(socket.get(), POLLOUT, deadline));
  int fault = 0;
  socklen_t bytes = sizeof(fault);
  getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &fault, &bytes);
  if (fault != 0) {
    return absl::UnavailableError(std::strerror(fault));
  }
  RETURN_IF_ERROR(
      fabric::ProvePath(socket.get(), pin, peer.address, fabric::KernelAddressSource()).status());
  const int on = 1;
  setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return ProbeConnection(std::move(socket));
}

absl::Status ProbeConnection::SendAll(std::span<const char> bytes, Time deadline) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == EINTR) {
      RETURN_IF_ERROR(WaitForSocket(socket_.get(), POLLOUT, deadline));
    } else {
      return SystemError("cannot send");
    }
  }
  return absl::OkStatus();
}

absl::Status ProbeConnection::ReceiveAll(std::span<char> bytes, Time deadline) {
  while (!bytes.empty()) {
    const ssize_t got = recv(socket_.get(), bytes.data(), bytes.size(), 0);
    if (got > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(got));
    } else if (got == 0) {
      return absl::UnavailableError("the other side ended the connection");
    } else if (errno == EAGAIN || errno == EINTR) {
      RETURN_IF_ERROR(WaitForSocket(socket_.get(), POLLIN, deadline));
    } else {
      return SystemError("cannot receive");
    }
  }
  return absl::OkStatus();
}

absl::Status ProbeConnection::Send(ProbeRequest request, std::string_view payload, Time deadline) {
  Header header{};
  Put(&header, 0, 4, kMagic);
  Put(&header, 4, 2, kVersion);
  Put(&header, 6, 2, static_cast<std::uint16_t>(request));
  Put(&header, 8, 8, payload.size());
  RETURN_IF_ERROR(SendAll(header, deadline));
  return SendAll(payload, deadline);
}

absl::StatusOr<ProbeConnection::Frame> ProbeConnection::Receive(Time deadline,
                                                                std::int64_t bytes_max) {
  Header header{};
  RETURN_IF_ERROR(ReceiveAll(header, deadline));
  const std::uint64_t request = Get(header, 6, 2);
  const std::uint64_t bytes = Get(header, 8, 8);
  if (Get(header, 0, 4) != kMagic || Get(header, 4, 2) != kVersion || request < 1 ||
      request > kRequestMax || bytes > static_cast<std::uint64_t>(bytes_max)) {
    return absl::InvalidArgumentError(
        "what answers is no doctor of this release; is the probe's port used by another program?");
  }
  Frame frame{static_cast<ProbeRequest>(request), std::string(bytes, '\0')};
  RETURN_IF_ERROR(ReceiveAll(frame.payload, deadline));
  return frame;
}

std::int64_t ProbeConnection::PacketBytes() const {
  tcp_info info{};
  socklen_t bytes = sizeof(info);
  if (getsockopt(socket_.get(), IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0) {
    return 0;
  }
  const bool has_timestamps = (info.tcpi_options & TCPI_OPT_TIMESTAMPS) != 0;
  return std::int64_t{info.tcpi_snd_mss} + kHeadersBytes + (has_timestamps ? kTimestampBytes : 0);
}

}  // namespace sparkspan::engine::doctor
