#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/unique_fd.h"

// rtnetlink's framing: messages with a header, a fixed part and attributes. What a message is cut
// into is checked against its sizes, as anything that comes from outside.
namespace sparkspan::engine::fabric {

// A message that points into the bytes it was split from.
struct NetlinkMessage {
  std::uint16_t type = 0;
  std::uint32_t sequence = 0;
  std::span<const std::byte> payload;  // after the header

  using Attribute = std::pair<std::uint16_t, std::span<const std::byte>>;

  // Those after a fixed part of `fixed_bytes`; none when the payload is shorter.
  std::vector<Attribute> Attributes(std::size_t fixed_bytes) const;

  // Of an NLMSG_ERROR: an errno, or 0 for an acknowledgement.
  int ErrorNumber() const;
};

// The whole messages in `bytes`; what follows a malformed one is left out.
std::vector<NetlinkMessage> SplitMessages(std::span<const std::byte> bytes);

// A message in the making.
class NetlinkRequest {
 public:
  NetlinkRequest(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence);
  void Append(const void* data, std::size_t bytes);
  void AppendAttribute(std::uint16_t type, const void* data, std::size_t bytes);
  // The bytes, with their number in the header.
  std::vector<std::byte> Finish();

 private:
  std::vector<std::byte> bytes_;
};

// A socket to rtnetlink of this process's network namespace.
class NetlinkSocket {
 public:
  // `groups`: RTMGRP_* whose news it gets.
  static absl::StatusOr<NetlinkSocket> Open(std::uint32_t groups);

  int fd() const { return socket_.get(); }

  absl::Status Send(std::span<const std::byte> message) const;

  // The next datagram. DeadlineExceeded when none came; DataLoss when the kernel had more news than
  // the socket could hold, so that some are lost.
  absl::StatusOr<std::vector<std::byte>> Receive(Time deadline) const;

 private:
  explicit NetlinkSocket(UniqueFd socket) : socket_(std::move(socket)) {}

  UniqueFd socket_;
};

}  // namespace sparkspan::engine::fabric
