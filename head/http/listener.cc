#include "head/http/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"

namespace sparkspan::head::http {
namespace {

constexpr int kBacklog = 1024;  // Bursts of clients wait here instead of in SYN retries of seconds.
constexpr int kFaultPause_ms = 20;

absl::Status SystemError(const char* what, const std::string& address, int port) {
  return absl::UnavailableError(
      absl::StrFormat("%s %s port %d: %s", what, address, port, std::strerror(errno)));
}

}  // namespace

absl::StatusOr<engine::UniqueFd> Listen(const std::string& address, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV | (address == "localhost" ? 0 : AI_NUMERICHOST);
  addrinfo* found = nullptr;
  const int fault = getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (fault != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("'%s' is no address to listen on: %s; give a numeric one such as 127.0.0.1",
                        address,
                        gai_strerror(fault)));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  engine::UniqueFd listener(
      socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.valid()) {
    return SystemError("cannot open a socket for", address, port);
  }
  const int on = 1;
  setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(listener.get(), found->ai_addr, found->ai_addrlen) != 0) {
    return SystemError("cannot bind to", address, port);
  }
  if (listen(listener.get(), kBacklog) != 0) {
    return SystemError("cannot listen on", address, port);
  }
  return listener;
}

int BoundPort(int socket) {
  sockaddr_storage storage{};
  socklen_t bytes = sizeof(storage);
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &bytes) != 0) {
    return 0;
  }
  // The port lies at the same place in both families.
  sockaddr_in address{};
  std::memcpy(&address, &storage, sizeof(address));
  return ntohs(address.sin_port);
}

void AcceptLoop(int listener, int stop, const std::function<void(engine::UniqueFd)>& accepted) {
  constexpr int kForever = -1;
  while (true) {
    std::array<pollfd, 2> entries = {{{listener, POLLIN, 0}, {stop, POLLIN, 0}}};
    if (poll(entries.data(), entries.size(), kForever) < 0 && errno != EINTR) {
      LOG(ERROR) << "poll on the listening socket: " << std::strerror(errno);
      return;
    }
    if (entries[1].revents != 0) {
      return;
    }
    engine::UniqueFd socket(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (socket.valid()) {
      const int on = 1;
      setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      accepted(std::move(socket));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      LOG(WARNING) << "cannot accept a connection: " << std::strerror(errno);
      pollfd wake{stop, POLLIN, 0};
      poll(&wake, 1, kFaultPause_ms);
    }
  }
}

}  // namespace sparkspan::head::http
