#include "engine/fabric/netlink.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_format.h"

namespace sparkspan::engine::fabric {
namespace {

constexpr std::size_t kAlignment = 4;             // NLMSG_ALIGNTO and RTA_ALIGNTO.
constexpr std::size_t kDatagramBytes = 32 << 10;  // The kernel sends no larger ones.

std::size_t Aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

absl::Status SystemError(const char* what) {
  return absl::UnavailableError(absl::StrFormat("netlink: %s: %s", what, std::strerror(errno)));
}

}  // namespace

std::vector<NetlinkMessage::Attribute> NetlinkMessage::Attributes(std::size_t fixed_bytes) const {
  std::vector<Attribute> attributes;
  std::size_t at = Aligned(fixed_bytes);
  while (at + sizeof(rtattr) <= payload.size()) {
    rtattr header{};
    std::memcpy(&header, payload.data() + at, sizeof(header));
    if (header.rta_len < sizeof(header) || header.rta_len > payload.size() - at) {
      break;
    }
    attributes.emplace_back(header.rta_type & NLA_TYPE_MASK,
                            payload.subspan(at + sizeof(header), header.rta_len - sizeof(header)));
    at += Aligned(header.rta_len);
  }
  return attributes;
}

int NetlinkMessage::ErrorNumber() const {
  std::int32_t error = 0;
  if (payload.size() >= sizeof(error)) {
    std::memcpy(&error, payload.data(), sizeof(error));
  }
  return -error;
}

std::vector<NetlinkMessage> SplitMessages(std::span<const std::byte> bytes) {
  std::vector<NetlinkMessage> messages;
  while (bytes.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header{};
    std::memcpy(&header, bytes.data(), sizeof(header));
    if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > bytes.size()) {
      break;
    }
    messages.push_back({header.nlmsg_type,
                        header.nlmsg_seq,
                        bytes.subspan(sizeof(header), header.nlmsg_len - sizeof(header))});
    bytes = bytes.subspan(std::min(bytes.size(), Aligned(header.nlmsg_len)));
  }
  return messages;
}

NetlinkRequest::NetlinkRequest(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence) {
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = flags;
  header.nlmsg_seq = sequence;
  Append(&header, sizeof(header));
}

void NetlinkRequest::Append(const void* data, std::size_t bytes) {
  const std::size_t at = bytes_.size();
  bytes_.resize(at + Aligned(bytes));
  std::memcpy(bytes_.data() + at, data, bytes);
}

void NetlinkRequest::AppendAttribute(std::uint16_t type, const void* data, std::size_t bytes) {
  rtattr header{};
  header.rta_type = type;
  header.rta_len = static_cast<std::uint16_t>(sizeof(header) + bytes);
  Append(&header, sizeof(header));
  Append(data, bytes);
}

std::vector<std::byte> NetlinkRequest::Finish() {
  nlmsghdr header{};
  std::memcpy(&header, bytes_.data(), sizeof(header));
  header.nlmsg_len = static_cast<std::uint32_t>(bytes_.size());
  std::memcpy(bytes_.data(), &header, sizeof(header));
  return std::move(bytes_);
}

absl::StatusOr<NetlinkSocket> NetlinkSocket::Open(std::uint32_t groups) {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!socket.valid()) {
    return SystemError("cannot open a socket");
  }
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = groups;
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return SystemError("cannot bind a socket");
  }
  return NetlinkSocket(std::move(socket));
}

absl::Status NetlinkSocket::Send(std::span<const std::byte> message) const {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const ssize_t sent = sendto(socket_.get(),
                              message.data(),
                              message.size(),
                              0,
                              reinterpret_cast<const sockaddr*>(&kernel),
                              sizeof(kernel));
  return sent == static_cast<ssize_t>(message.size()) ? absl::OkStatus()
                                                      : SystemError("cannot send");
}

absl::StatusOr<std::vector<std::byte>> NetlinkSocket::Receive(Time deadline) const {
  while (true) {
    std::vector<std::byte> bytes(kDatagramBytes);
    sockaddr_nl sender{};
    socklen_t sender_bytes = sizeof(sender);
    const ssize_t got = recvfrom(socket_.get(),
                                 bytes.data(),
                                 bytes.size(),
                                 0,
                                 reinterpret_cast<sockaddr*>(&sender),
                                 &sender_bytes);
    if (got >= 0 && sender.nl_pid == 0) {  // Only the kernel's word counts.
      bytes.resize(static_cast<std::size_t>(got));
      return bytes;
    }
    if (got < 0 && errno == ENOBUFS) {
      return absl::DataLossError("netlink: news were lost");
    }
    if (got < 0 && errno != EAGAIN && errno != EINTR) {
      return SystemError("cannot receive");
    }
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      return absl::DeadlineExceededError("netlink: no answer in time");
    }
    pollfd polled{socket_.get(), POLLIN, 0};
    poll(&polled, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 3'600'000)));
  }
}

}  // namespace sparkspan::engine::fabric
