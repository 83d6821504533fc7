#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/unique_fd.h"
#include "engine/fabric/address.h"
#include "engine/fabric/pin.h"

namespace sparkspan::engine::doctor {

inline constexpr std::uint16_t kProbePort = 7300;
inline constexpr std::int64_t kProbeBytesMax = std::int64_t{64} << 20;  // of one transfer

// What a probe asks of the node that answers.
enum class ProbeRequest : std::uint16_t {
  kFacts = 1,     // payload: this node's facts; answered with the other's
  kEcho = 2,      // payload: bytes to send back
  kTransfer = 3,  // payload: bytes to take; answered with an empty frame
  kCallBack = 4,  // payload: a port of the asking address, in decimal, to connect to; then a frame
  kOpen = 5,      // first: payload: the token of whoever made the other side answer, or nothing
  kListen = 6     // payload: a port to listen on until the connection ends; then a frame
};

// A connection between two doctors: frames of a fixed header (magic, version, request, size) and a
// payload. Everything has a deadline, and sizes are bounded by kProbeBytesMax.
class ProbeConnection {
 public:
  explicit ProbeConnection(UniqueFd socket) : socket_(std::move(socket)) {}

  // Connects from the pin to `peer`, and proves that the connection lies there.
  static absl::StatusOr<ProbeConnection> Connect(const fabric::DeclaredPin& pin,
                                                 const fabric::Endpoint& peer,
                                                 Time deadline);

  absl::Status Send(ProbeRequest request, std::string_view payload, Time deadline);

  struct Frame {
    ProbeRequest request;
    std::string payload;
  };
  absl::StatusOr<Frame> Receive(Time deadline, std::int64_t bytes_max = kProbeBytesMax);

  // The largest packet that this side sends on it: what its own MTU, the other side's, and what the
  // way between has been found to carry, allow. TCP's packets are never fragmented. 0: not known.
  std::int64_t PacketBytes() const;

  int fd() const { return socket_.get(); }

 private:
  absl::Status SendAll(std::span<const char> bytes, Time deadline);
  absl::Status ReceiveAll(std::span<char> bytes, Time deadline);

  UniqueFd socket_;
};

// Waits for `events` (POLLIN, POLLOUT) on a socket; DeadlineExceeded when they do not come.
absl::Status WaitForSocket(int socket, short events, Time deadline);

}  // namespace sparkspan::engine::doctor
