#include "engine/collective/tcp_path.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "absl/strings/str_format.h"

namespace sparkspan::engine::collective {

absl::StatusOr<TcpAcknowledgement> ReadAcknowledgement(int socket) {
  tcp_info info{};
  socklen_t bytes = sizeof(info);
  if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0) {
    return absl::UnavailableError(absl::StrFormat("TCP_INFO: %s", std::strerror(errno)));
  }
  return TcpAcknowledgement{
      info.tcpi_unacked, info.tcpi_retransmits, std::chrono::milliseconds(info.tcpi_last_ack_recv)};
}

bool IsPathCut(const TcpAcknowledgement& found, Duration sending, Duration limit) {
  return found.unacknowledged > 0 && found.retransmissions > 0 &&
         std::min(found.since_last, sending) > limit;
}

}  // namespace sparkspan::engine::collective
