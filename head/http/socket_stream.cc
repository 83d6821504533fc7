#include "head/http/socket_stream.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sparkspan::head::http {

SocketStream::SocketStream(engine::UniqueFd socket,
                           std::chrono::milliseconds read_timeout,
                           std::chrono::milliseconds write_timeout)
    : socket_(std::move(socket)), read_timeout_(read_timeout), write_timeout_(write_timeout) {}

bool SocketStream::Wait(short events, std::chrono::milliseconds timeout) const {
  pollfd entry{.fd = socket_.get(), .events = events, .revents = 0};
  int ready = 0;
  do {
    ready = poll(&entry, 1, static_cast<int>(timeout.count()));
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

bool SocketStream::WaitReadable(std::chrono::milliseconds timeout) {
  return begin_ < end_ || Wait(POLLIN, timeout);
}

ssize_t SocketStream::Read(char* out, std::size_t bytes_max) {
  if (read_budget_ == 0) {
    return -1;
  }
  if (begin_ == end_) {
    if (!Wait(POLLIN, read_timeout_)) {
      return -1;
    }
    const ssize_t bytes = recv(socket_.get(), buffer_.data(), buffer_.size(), 0);
    if (bytes <= 0) {
      return bytes;
    }
    begin_ = 0;
    end_ = static_cast<std::size_t>(bytes);
  }
  const std::size_t bytes = std::min({bytes_max, end_ - begin_, read_budget_});
  std::memcpy(out, buffer_.data() + begin_, bytes);
  begin_ += bytes;
  read_budget_ -= bytes;
  return static_cast<ssize_t>(bytes);
}

bool SocketStream::Write(std::string_view bytes) {
  while (!bytes.empty() && !broken_) {
    const ssize_t sent =
        send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      broken_ = !Wait(POLLOUT, write_timeout_);
    } else if (sent >= 0 || errno != EINTR) {
      broken_ = true;
    }
  }
  return !broken_;
}

bool SocketStream::alive() const {
  if (broken_) {
    return false;
  }
  char byte = 0;
  const ssize_t bytes = recv(socket_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  // Bytes waiting are a next request of the same client; an orderly end is a client that left.
  return bytes > 0 || (bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR));
}

}  // namespace sparkspan::head::http
